//! Operation of a service: the local API, its health, its metrics and its status page.
//!
//! [`Admin`] listens on a Unix socket and, if that is switched on, on loopback TCP. [`model`] has the
//! types of everything that it says and takes, and [`client`] asks it.

mod absences;
mod access;
mod admin;
mod app;
mod body;
pub mod client;
mod connections;
mod exposition;
mod failure;
mod feed;
mod history;
mod inbox;
mod listen;
mod metrics;
pub mod model;
mod owners;
mod readiness;
mod reload;
mod routes;
mod segment;
mod settings;
mod sse;
mod stalling;
mod token;
mod view;
mod watching;

pub use admin::{Admin, Serving};
pub use inbox::{CONCURRENCY, HANDLERS, Inbox};
pub use listen::BindError;
pub use reload::Reload;
pub use settings::Settings;
pub use token::{Token, TokenError};
