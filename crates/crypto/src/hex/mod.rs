//! The double envelope of the `hex` encoding, bit-exact with the original paddington.
//!
//! Implements `docs/protocol.md` §11.1. One layer turns JSON into hexadecimal text:
//!
//! ```text
//! enc(K, V)            = hex( N ‖ C )       N: 24 random bytes
//!                        C = XChaCha20-Poly1305(K, N, JSON(V)), its 16-byte tag at the end
//! env(V, inner, outer) = enc(outer, enc(inner, V))
//! ```
//!
//! The inner text is itself a JSON string for the outer layer, so it is put in quotes. An envelope
//! of J bytes of JSON is 244 + 4·J characters long; it is built and opened in one buffer.

pub(crate) mod codec;
mod envelope;
mod json;
mod layer;

pub use envelope::{
    Nonces, OuterNonce, open, open_key, outer_nonce, seal, seal_key, sealed_len, sealed_text_len,
};
