//! The WebSocket frames of an established `sealed` connection (RFC 6455). Why they have code of their own
//! is in `docs/decisions/0026-frames-without-copies.md`.

mod head;
mod reader;
mod socket;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use reader::Arrival;
pub(crate) use socket::{FrameError, FrameSocket};
