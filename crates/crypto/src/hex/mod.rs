//! The double envelope of the `hex` encoding, bit for bit that of the original implementation.
//!
//! Implements `docs/protocol.md` §11.1. One layer turns JSON into hexadecimal text:
//!
//! ```text
//! enc(K, V)            = hex( N ‖ C )       N: 24 random bytes
//!                        C = XChaCha20-Poly1305(K, N, JSON(V)), its 16-byte tag at the end
//! env(V, inner, outer) = enc(outer, enc(inner, V))
//! ```
//!
//! For the outer layer the inner text is itself a JSON string, so it is put in quotes. An envelope
//! around J bytes of JSON has 244 + 4·J characters; it is sealed and opened in one buffer.

pub(crate) mod codec;
mod envelope;
mod json;
mod layer;

pub use envelope::{
    Nonces, OuterNonce, open, open_key, outer_nonce, seal, seal_key, sealed_len, sealed_text_len,
};
