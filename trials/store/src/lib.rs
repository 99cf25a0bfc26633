//! Puts the store to the test: power cuts, flipped bits, failing disks, and how fast it is.
//!
//! Each trial is a function that returns its figures; the tests run short forms of them, and the
//! program `store-trials` the long ones. The changes of the store's files are recorded with
//! `strace` in a process that uses it as a service would; without `strace` those trials are
//! skipped.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a trial stops at the first surprise"
)]

pub mod bit_flips;
pub mod disk;
pub mod drained;
pub mod facts;
pub mod faults;
pub mod power_cuts;
pub mod rate;
pub mod recording;
pub mod workload;
