//! The routes.

mod changes;
mod health;
mod letters;
mod openapi;
mod outbox;
mod page;
mod peers;
mod router;
mod status;
mod streams;
mod table;

pub(crate) use page::is_page;
pub(crate) use router::router;
#[cfg(test)]
pub(crate) use router::table;
pub(crate) use table::Table;
