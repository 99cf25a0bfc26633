//! Parts that stores have in common, for whoever writes one.

mod answers;
mod commit_times;
mod lazy;
mod moments;
mod several;

pub use answers::{Waiter, ask, failed, stopped};
pub use commit_times::CommitTimes;
pub use lazy::{CursorChange, Waiters, raise};
pub use moments::{from_unix_millis, unix_millis};
pub use several::of_those_that_answer;
