//! The functions that the fuzzer calls: one for each parser that sees bytes of peers or of files,
//! and one for a hostile peer. The corpus of each is replayed by the ordinary tests.

use paddington::{Invite, ServiceConfig};
use paddington_crypto::hex;
use paddington_models::attack::attack;
use paddington_wire::sealed::fuzzing::{Target, decode};
use paddington_wire::{Frame, Violation};

/// A parser under test.
pub type Parser = fn(&[u8]);

/// Every parser, by the name of its fuzz target.
pub const PARSERS: [(&str, Parser); 9] = [
    ("frame", frame),
    ("ready", ready),
    ("hello", hello),
    ("request", request),
    ("proxy_header", proxy_header),
    ("hex_text", hex_text),
    ("invitation", invitation),
    ("service", service),
    ("link", link),
];

/// Parses a decrypted frame.
pub fn frame(bytes: &[u8]) {
    // Any result is fine, but no panic, and no more memory than there are bytes.
    let _ = read_frame(bytes);
}

/// Does the same, and says what it is.
///
/// # Errors
///
/// The violation for which it is refused.
pub fn read_frame(bytes: &[u8]) -> Result<Frame, Violation> {
    decode(bytes, 1024)
}

/// Parses the payload of a decrypted READY.
pub fn ready(bytes: &[u8]) {
    let _ = read_ready(bytes);
}

/// Does the same, and says what it is.
///
/// # Errors
///
/// The violation for which it is refused.
pub fn read_ready(bytes: &[u8]) -> Result<Frame, Violation> {
    let mut plaintext = vec![1, 0, 0, 0];
    plaintext.extend((bytes.len() as u32).to_be_bytes());
    plaintext.extend([0; 16]);
    plaintext.extend(bytes);
    decode(&plaintext, 1 << 20)
}

/// Answers a HELLO that was changed before it was sealed, then one that was changed after it.
pub fn hello(bytes: &[u8]) {
    let target = Target::new();
    let mut body = [0x5a; 1264];
    let len = bytes.len().min(body.len());
    body[..len].copy_from_slice(&bytes[..len]);
    let mut sealed = target.seal_hello(&body);
    let _ = target.answer(&sealed);
    for (at, byte) in bytes.iter().enumerate().skip(body.len()).take(sealed.len()) {
        sealed[(at * 31) % 1344] ^= byte;
    }
    let _ = target.answer(&sealed);
    let _ = target.answer(bytes);
}

/// Answers the request of a stranger.
pub fn request(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(paddington_transport::fuzzing::request(bytes));
}

/// Reads the header of a proxy.
pub fn proxy_header(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(paddington_transport::fuzzing::proxy_header(bytes));
}

/// Opens texts of the `hex` encoding.
pub fn hex_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let key =
        |byte| std::sync::Arc::new(paddington_crypto::SecretKey::from_slice(&[byte; 32]).unwrap());
    let keys = paddington_crypto::KeyPair::new(key(1), key(2)).unwrap();
    let _ = hex::open(&keys, text);
    let _ = hex::open_key(&keys, text);
    let _ = hex::outer_nonce(text);
    let nonces = hex::Nonces::fixed([1; 24], [2; 24]);
    let sealed = hex::seal(&keys, text, &nonces).unwrap();
    assert_eq!(hex::open(&keys, &sealed).unwrap(), text);
}

/// Parses an invitation.
pub fn invitation(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Invite::from_toml(text);
    }
}

/// Parses a service's configuration.
pub fn service(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = ServiceConfig::from_toml(text);
    }
}

/// Plays a hostile peer that has the right keys, without the encryption.
pub fn link(bytes: &[u8]) {
    // However far it gets, a broken promise panics.
    let _ = attack(bytes);
}
