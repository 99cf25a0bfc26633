//! Comparison in constant time.

use orion::util::secure_cmp;

/// Returns whether `left` and `right` are equal. The time depends only on their lengths.
#[must_use]
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    secure_cmp(left, right).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_bytes_are_equal() {
        assert!(equal(b"", b"") && equal(b"ab", b"ab"));
        assert!(!equal(b"ab", b"aB") && !equal(b"ab", b"a") && !equal(b"", b"a"));
    }
}
