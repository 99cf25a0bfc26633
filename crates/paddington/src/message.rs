//! Messages, under the path that the original paddington has for them.

pub use paddington_wire::{Control, Message, MessageId};
