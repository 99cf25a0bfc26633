//! A window of the benchmark's own, for who drops what the other side does not take in time.

/// How many messages are under way at most, as between two paddington services.
pub(crate) const WINDOW_MESSAGES: u64 = 4_096;
/// How many bytes are under way at most, as between two paddington services.
const WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// How many messages of `size` bytes are under way at most.
pub(crate) fn window(size: usize) -> u64 {
    (WINDOW_BYTES / size.max(1) as u64).clamp(4, WINDOW_MESSAGES)
}
