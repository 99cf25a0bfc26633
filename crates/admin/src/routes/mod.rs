//! The routes.

mod changes;
mod outbox;
mod peers;
mod router;
mod status;
mod table;

pub(crate) use router::{is_page, router};
pub(crate) use table::Table;
