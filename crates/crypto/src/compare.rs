//! Comparison that takes the same time wherever the difference is.

use orion::util::secure_cmp;

/// Whether `left` and `right` hold the same bytes. The time depends on their lengths only.
#[must_use]
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    secure_cmp(left, right).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_means_equal() {
        assert!(equal(b"", b"") && equal(b"ab", b"ab"));
        assert!(!equal(b"ab", b"aB") && !equal(b"ab", b"a") && !equal(b"", b"a"));
    }
}
