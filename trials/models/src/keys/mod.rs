//! The keys of one link at both sides, through every order of renewals, invitations, lost connections,
//! failed stores, crashes and restored copies. It drives the real `KeyRing` and `Renewal`.
//!
//! Three promises are checked in every state: there are keys that both sides have, keys of one number
//! are the same on both sides, and once keys were used, older ones are gone and recognised.

mod act;
mod explore;
mod world;

pub use act::{Act, Budget, Dialled};
pub use explore::{Breach, Found, budgets, explore, hunt};
