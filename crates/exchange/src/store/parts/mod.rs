//! Parts that stores have in common, for whoever writes one.

mod answers;
mod commit_times;
mod lazy;
mod moments;

pub use answers::{Waiter, ask, failed, stopped};
pub use commit_times::CommitTimes;
pub use lazy::{CursorChange, Waiters, raise};
pub use moments::{from_unix_millis, unix_millis};
