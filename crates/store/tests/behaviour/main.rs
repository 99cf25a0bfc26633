//! The behaviour that users of a store rely on.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test prints what it measures")]

mod failing;
mod keeps;
mod mailboxes;
mod marks;
mod moved;
mod order;
mod owner;
mod quiet;
mod rewrite;
mod salvage;
mod size;
mod strangers;
mod support;
