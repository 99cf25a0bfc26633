//! The behaviour that users of a store rely on, with a real PostgreSQL.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod backlog;
mod claims;
mod crash;
mod epoch;
mod fence;
mod keeps;
mod lease;
mod mailboxes;
mod numbers;
mod refusals;
mod several;
mod signals;
mod support;
mod undecided;
