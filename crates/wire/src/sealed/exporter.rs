//! The secrets of a session from which both sides derive the link's next keys. Implements
//! `docs/protocol.md` §3.3 and §5.5.

use std::fmt;
use std::sync::Arc;

use paddington_crypto::kdf::Prk;
use paddington_crypto::{KeyError, KeyPair};

/// The secrets of a session from which the link's next keys are derived: `xi` and `xo`. They are the
/// same on both sides, and wiped when dropped.
pub struct Exporter {
    inner: Prk,
    outer: Prk,
}

impl Exporter {
    pub(super) fn new(inner: Prk, outer: Prk) -> Self {
        Self { inner, outer }
    }

    /// Derives the keys of `generation`, as often as it is called the same ones.
    ///
    /// # Errors
    ///
    /// [`KeyError::Equal`], which does not happen: the two are independent.
    pub fn keys(&self, generation: u64) -> Result<KeyPair, KeyError> {
        let derive = |secret: &Prk| Arc::new(secret.derive_key("key", &generation.to_be_bytes()));
        KeyPair::new(derive(&self.inner), derive(&self.outer))
    }

    /// Goes on to the next renewal of the session: keys that were derived before cannot be derived
    /// from what is left.
    pub fn advance(&mut self) {
        self.inner = self.inner.derive_prk("next", &[]);
        self.outer = self.outer.derive_prk("next", &[]);
    }
}

/// Only a model checker copies a session.
#[cfg(feature = "fuzzing")]
impl Clone for Exporter {
    #[expect(clippy::expect_used, reason = "a key has the length of a key")]
    fn clone(&self) -> Self {
        let copy = |secret: &Prk| Prk::from_slice(secret.expose_bytes()).expect("64 bytes");
        Self { inner: copy(&self.inner), outer: copy(&self.outer) }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exporter() -> Exporter {
        Exporter::new(Prk::extract(b"", &[b"inner"]), Prk::extract(b"", &[b"outer"]))
    }

    #[test]
    fn keys_depend_on_the_generation_and_on_the_renewals_before() {
        let (mut ours, mut theirs) = (exporter(), exporter());
        let first = ours.keys(1).unwrap();
        assert_eq!(first, theirs.keys(1).unwrap());
        assert_eq!(first, ours.keys(1).unwrap(), "the same however often");
        assert_ne!(first, ours.keys(2).unwrap());
        ours.advance();
        assert_ne!(first, ours.keys(1).unwrap());
        theirs.advance();
        assert_eq!(ours.keys(1).unwrap(), theirs.keys(1).unwrap());
        let keys = ours.keys(1).unwrap();
        assert!(keys.inner() != first.inner() && keys.outer() != first.outer());
    }

    #[test]
    fn debug_does_not_show_the_secrets() {
        assert_eq!(format!("{:?}", exporter()), "Exporter(..)");
    }
}
