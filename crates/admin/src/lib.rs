//! What operates a service: the local API, its health, its metrics and its status page.

pub mod model;
