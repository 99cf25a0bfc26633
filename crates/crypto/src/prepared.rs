//! Pseudorandom keys that are prepared for many short derivations: a server derives one hint for each of
//! many keys, to refuse a stranger.

use std::fmt;
use std::hint::black_box;

use crate::kdf::Prk;

/// A [`Prk`] of which the state of HMAC is kept, so that a short output takes half the work.
///
/// It stays at its place in memory when it is moved, is wiped when dropped, and printed as
/// `PreparedPrk(..)`.
pub struct PreparedPrk(Box<State>);

#[cfg(feature = "ring")]
type State = ring::hmac::Key;
#[cfg(not(feature = "ring"))]
type State = orion::hazardous::mac::hmac::sha512::HmacSha512;

/// What is derived from each of many keys: `Derive(prk, label, ctx, N)` of `docs/protocol.md` §1.2, with
/// `N` up to 64.
pub struct Expansion<const N: usize> {
    info: Vec<u8>,
}

impl<const N: usize> Expansion<N> {
    /// Prepares what does not depend on the key: `label` and `ctx` have at most 255 bytes.
    #[must_use]
    pub fn new(label: &str, ctx: &[u8]) -> Self {
        const { assert!(N <= 64, "HKDF makes more in several steps") };
        let mut info = crate::kdf::info::<N>(label, ctx);
        info.push(1); // the number of HKDF-Expand's only step
        Self { info }
    }
}

impl PreparedPrk {
    /// Prepares a key.
    #[must_use]
    pub fn new(key: &Prk) -> Self {
        crate::stack::cleared(|| Self(Box::new(state(key.expose_bytes()))))
    }

    /// Derives `N` bytes, which are the same as those of [`Prk::derive`]. They are not wiped.
    #[must_use]
    pub fn expand<const N: usize>(&self, expansion: &Expansion<N>) -> [u8; N] {
        let mut output = [0; N];
        mac(&self.0, &expansion.info, &mut output);
        output
    }
}

impl Drop for PreparedPrk {
    /// Overwrites the state by that of another key, in its place.
    fn drop(&mut self) {
        *self.0 = state(&[0; 64]);
        black_box(&self.0);
    }
}

impl fmt::Debug for PreparedPrk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedPrk(..)")
    }
}

impl<const N: usize> fmt::Debug for Expansion<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expansion(..)")
    }
}

#[cfg(feature = "ring")]
fn state(key: &[u8]) -> State {
    ring::hmac::Key::new(ring::hmac::HMAC_SHA512, key)
}

#[cfg(feature = "ring")]
fn mac<const N: usize>(state: &State, info: &[u8], output: &mut [u8; N]) {
    let tag = ring::hmac::sign(state, info);
    output.copy_from_slice(&tag.as_ref()[..N]);
}

#[cfg(not(feature = "ring"))]
#[expect(clippy::expect_used, reason = "HMAC accepts a key of 64 bytes")]
fn state(key: &[u8]) -> State {
    let key = orion::hazardous::mac::hmac::sha512::SecretKey::try_from(key);
    State::new(&key.expect("HMAC accepts a key of 64 bytes"))
}

#[cfg(not(feature = "ring"))]
#[expect(clippy::expect_used, reason = "the state is finalized once")]
fn mac<const N: usize>(state: &State, info: &[u8], output: &mut [u8; N]) {
    let mut state = state.clone();
    state.update(info).expect("the state is not finalized yet");
    let tag = state.finalize().expect("the state is finalized once");
    output.copy_from_slice(&tag.unprotected_as_ref()[..N]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_key_derives_the_same() {
        for secret in [&b"one"[..], b"another"] {
            let prk = Prk::extract(b"salt", &[secret]);
            let prepared = PreparedPrk::new(&prk);
            for ctx in [&b""[..], &[7; 64], &[9; 255]] {
                let derived = prk.derive::<16>("hint", ctx);
                assert_eq!(prepared.expand(&Expansion::<16>::new("hint", ctx)), *derived);
                let derived = prk.derive::<64>("next", ctx);
                assert_eq!(prepared.expand(&Expansion::<64>::new("next", ctx)), *derived);
            }
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let prepared = PreparedPrk::new(&Prk::extract(b"", &[b"x"]));
        assert_eq!(format!("{prepared:?}"), "PreparedPrk(..)");
    }
}
