//! Messages that say when they were sent.

use std::time::{SystemTime, UNIX_EPOCH};

use paddington_instructions::message;

/// The place of the stamp.
const STAMP: std::ops::Range<usize> = 1..21;

/// Makes a message of `size` bytes that begins with `what` and a stamp.
pub(crate) fn stamped(what: u8, size: usize, stamp: u64) -> String {
    let mut message = message(what, size.max(32));
    message.replace_range(STAMP, &format!("{stamp:020}"));
    message
}

/// Returns the stamp of a message.
pub(crate) fn stamp(message: &[u8]) -> Option<u64> {
    std::str::from_utf8(message.get(STAMP)?).ok()?.parse().ok()
}

/// Returns the nanoseconds since 1970, which all processes of a machine agree about.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        for number in [0, 7, now(), u64::MAX] {
            let message = stamped(b'p', 256, number);
            assert_eq!((message.len(), stamp(message.as_bytes())), (256, Some(number)));
        }
        assert_eq!((stamp(b"p"), stamp(&[b'x'; 64])), (None, None));
    }
}
