//! The behaviour that users of a store rely on, with a real PostgreSQL.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod backlog;
mod claims;
mod convert;
mod crash;
mod directory;
mod epoch;
mod examine;
mod failover;
mod fence;
mod first_seal;
mod keeps;
mod lease;
mod letters;
mod mailboxes;
mod numbers;
mod refusals;
mod replicas;
mod requests;
mod several;
mod signals;
mod support;
mod survey;
mod undecided;
