//! A client of the local API, over its Unix socket.

mod connection;
mod error;
mod events;

pub use connection::Client;
pub use error::ClientError;
pub use events::{Events, ServerEvent};
