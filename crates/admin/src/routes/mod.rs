//! The routes.

mod changes;
mod content;
mod health;
mod incoming;
mod letters;
mod messages;
mod openapi;
mod outbox;
mod page;
mod peers;
mod query;
mod requests;
mod router;
mod status;
mod streams;
mod table;

pub(crate) use page::is_page;
pub(crate) use router::router;
#[cfg(test)]
pub(crate) use router::table;
pub(crate) use table::Table;
