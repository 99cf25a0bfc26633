//! Models of the exchange between two services. They drive the real [`Link`] and [`Slot`] of
//! `paddington-wire`, not a copy, through the events that a network, a disk and a crash can cause,
//! and judge them by what really happened (see [`ledger`]).
//!
//! * [`check`](mod@check) explores every order of events of small [`scenarios`];
//! * [`mutants`] breaks one rule at a time: the scenarios have to notice each;
//! * [`replicas`] does the same with two replicas of a service and their database;
//! * [`walk`](mod@walk) takes long random walks through large scenarios;
//! * [`attack`](mod@attack) is a hostile peer.
//!
//! [`Link`]: paddington_wire::link::Link
//! [`Slot`]: paddington_wire::Slot

pub mod action;
pub mod attack;
pub mod bound;
pub mod calls;
#[cfg(feature = "checker")]
pub mod check;
pub mod connection;
pub mod disk;
pub mod keys;
pub mod ledger;
#[cfg(feature = "checker")]
pub mod mutants;
pub mod random;
#[cfg(feature = "checker")]
pub mod replicas;
pub mod scenario;
pub mod scenarios;
pub mod side;
mod step;
mod storing;
pub mod walk;
pub mod world;
