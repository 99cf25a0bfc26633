//! Salvage of a damaged store. Implements `docs/delivery.md`, "A damaged file".
//!
//! The pages of the file are read one by one, without SQLite, which gives up at the first damaged
//! one. Whatever is found goes into a new store, and only rows whose checksums hold stay there.

mod copy;
mod pages;
mod records;
mod report;
mod run;
mod verify;

pub use report::{SalvageError, SalvageReport, SalvagedMailbox};
pub use run::salvage;
