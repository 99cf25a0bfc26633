//! A window for systems that drop messages which the other side does not take in time.

/// Maximum number of messages in flight, as between two paddington services.
pub(crate) const WINDOW_MESSAGES: u64 = 4_096;
/// Maximum number of bytes in flight, as between two paddington services.
const WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Maximum number of messages of `size` bytes in flight.
pub(crate) fn window(size: usize) -> u64 {
    (WINDOW_BYTES / size.max(1) as u64).clamp(4, WINDOW_MESSAGES)
}
