//! The messages of a measurement: the first byte says what they ask for.

/// Number of requests or messages that are under way at any time, where it is not one.
pub const IN_FLIGHT: usize = 64;
/// The first byte of a message that is sent back.
pub const PING: u8 = b'p';
/// The first byte of a message that is only counted.
pub const COUNT: u8 = b's';
/// The first byte of a message that is answered with the number of messages counted.
pub const END: u8 = b'e';

/// A message of `size` bytes that asks for `what`.
#[must_use]
pub fn message(what: u8, size: usize) -> String {
    let mut message = "x".repeat(size.max(16));
    message.replace_range(..1, char::from(what).encode_utf8(&mut [0; 4]));
    message
}

/// The answer to the end of a stream.
#[must_use]
pub fn done(count: u64) -> String {
    format!("d{count:019}")
}
