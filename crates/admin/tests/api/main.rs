//! The local API of a service: what it says, what it changes, and whom it refuses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod access;
mod health;
mod listening;
mod local_api;
mod no_token_in_logs;
mod support;
