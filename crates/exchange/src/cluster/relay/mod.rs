//! Requests that one replica makes and another one answers, because that one has the peer: they go
//! through the store. Implements `docs/cluster.md`, "Requests".

mod asking;
mod ending;
mod questions;
mod serving;

pub(crate) use asking::Asking;
pub(crate) use serving::Serving;
