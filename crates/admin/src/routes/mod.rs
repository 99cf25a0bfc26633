//! The routes.

mod changes;
mod content;
mod incoming;
mod messages;
mod outbox;
mod peers;
mod query;
mod requests;
mod router;
mod status;
mod table;

pub(crate) use router::{is_page, router};
pub(crate) use table::Table;
