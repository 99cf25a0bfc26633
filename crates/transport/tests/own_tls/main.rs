//! TLS of a listener itself: links over it, files that are replaced, starts that are refused, and
//! strangers.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod certificates;
mod client_certificates;
mod links;
mod renewal;
mod starts;
mod strangers;
