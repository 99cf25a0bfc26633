//! Pieces of work whose instructions are counted: an envelope, a frame, and messages between two
//! services in one process. This is a crate of its own because counting is part of `make check`, and
//! the load harness has far more dependencies to build.

mod count;
mod pair;
mod payload;

pub use count::{WORKS, count};
pub use pair::Pair;
pub use payload::{COUNT, END, IN_FLIGHT, PING, done, message};
