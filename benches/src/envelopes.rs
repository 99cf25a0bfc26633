//! Double envelopes, sealed and opened once: the original's wire format, written as the original
//! writes it; paddington's; and the passes of a cipher alone.

use std::hint::black_box;
use std::sync::Arc;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use anyhow::{Context, Result, anyhow};
use orion::hazardous::aead::xchacha20poly1305::{
    Nonce as OrionNonce, SecretKey, XChaCha20Poly1305,
};
use paddington_crypto::hex::{self, Nonces};
use paddington_crypto::sealed::{Layers, OVERHEAD};
use paddington_crypto::{KeyPair, SecretKey as Key};
use ring::aead::{
    AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey,
};

/// One kind of envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// The original's: serde_json, orion and hexadecimal digits, twice.
    Reference,
    /// The same bytes, as `paddington-crypto` makes them.
    Hex,
    /// The two layers of a frame of the `sealed` encoding.
    Sealed,
    /// One pass of each of ring's two ciphers over the same bytes.
    RingTwice,
    /// The same ciphers without ring: one pass of orion, one of aes-gcm.
    Portable,
}

/// Seals and opens one envelope.
pub type Work = Box<dyn FnMut() -> Result<()>>;

impl Envelope {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Reference, Self::Hex, Self::Sealed, Self::RingTwice, Self::Portable];

    /// The lengths of the messages, in bytes.
    pub const SIZES: [usize; 5] = [16, 256, 4 * 1024, 64 * 1024, 1024 * 1024];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Hex => "hex",
            Self::Sealed => "sealed",
            Self::RingTwice => "ring twice",
            Self::Portable => "orion, aes-gcm",
        }
    }

    /// Returns the work with messages of `size` bytes.
    ///
    /// # Errors
    ///
    /// If there are no keys.
    pub fn work(self, size: usize) -> Result<Work> {
        Ok(match self {
            Self::Reference => {
                let (naive, text) = (Naive::new()?, "x".repeat(size));
                Box::new(move || naive.open(&naive.seal(black_box(&text))?).map(drop))
            }
            Self::Hex => hex_work(size)?,
            Self::Sealed => sealed_work(size)?,
            Self::RingTwice => ring_work(size)?,
            Self::Portable => portable_work(size),
        })
    }
}

/// The original's wire format: a text as JSON, encrypted, as hexadecimal digits; twice.
#[derive(Debug)]
pub struct Naive {
    keys: [orion::aead::SecretKey; 2],
}

impl Naive {
    /// Creates one with fixed keys.
    ///
    /// # Errors
    ///
    /// Never: the keys have the right length.
    pub fn new() -> Result<Self> {
        let key = |byte| orion::aead::SecretKey::try_from(&[byte; 32][..]);
        Ok(Self { keys: [key(1)?, key(2)?] })
    }

    /// Seals a text.
    ///
    /// # Errors
    ///
    /// If orion gives no random bytes.
    pub fn seal(&self, text: &str) -> Result<String> {
        encrypt(&self.keys[1], &encrypt(&self.keys[0], text)?)
    }

    /// Opens the result of [`seal`](Self::seal).
    ///
    /// # Errors
    ///
    /// If it is anything else.
    pub fn open(&self, envelope: &str) -> Result<String> {
        decrypt(&self.keys[0], &decrypt(&self.keys[1], envelope)?)
    }
}

fn encrypt(key: &orion::aead::SecretKey, value: &str) -> Result<String> {
    let json = serde_json::to_string(value)?;
    Ok(::hex::encode(orion::aead::seal(key, json.as_bytes())?))
}

fn decrypt(key: &orion::aead::SecretKey, text: &str) -> Result<String> {
    let json = orion::aead::open(key, &::hex::decode(text)?)?;
    Ok(serde_json::from_str(&String::from_utf8(json)?)?)
}

fn key(byte: u8) -> Result<Key> {
    Ok(Key::from_slice(&[byte; 32])?)
}

fn hex_work(size: usize) -> Result<Work> {
    let pair = KeyPair::new(Arc::new(key(1)?), Arc::new(key(2)?))?;
    let text = "x".repeat(size);
    Ok(Box::new(move || {
        let envelope = hex::seal(&pair, black_box(&text), &Nonces::random()?)?;
        black_box(hex::open(&pair, &envelope)?);
        Ok(())
    }))
}

fn sealed_work(size: usize) -> Result<Work> {
    let layers = Layers::new(&key(1)?, &key(2)?);
    let (mut number, mut buffer) = (0, vec![0; size + OVERHEAD]);
    Ok(Box::new(move || {
        number += 1;
        layers.seal(number, &[], black_box(&mut buffer))?;
        layers.open(number, &[], black_box(&mut buffer))?;
        Ok(())
    }))
}

fn ring_work(size: usize) -> Result<Work> {
    let key = |algorithm: &'static Algorithm, byte| {
        UnboundKey::new(algorithm, &[byte; 32]).map(LessSafeKey::new).ok().context("a key")
    };
    let (inner, outer) = (key(&CHACHA20_POLY1305, 1)?, key(&AES_256_GCM, 2)?);
    let nonce = || Nonce::assume_unique_for_key([7; 12]);
    let seal = move |key: &LessSafeKey, buffer: &mut [u8]| {
        let sealed = key.seal_in_place_separate_tag(nonce(), Aad::empty(), buffer);
        sealed.ok().context("ring seals")
    };
    let open = move |key: &LessSafeKey, tag: Tag, buffer: &mut [u8]| {
        let opened = key.open_in_place_separate_tag(nonce(), Aad::empty(), tag, buffer, 0..);
        opened.ok().map(drop).context("ring opens")
    };
    let mut buffer = vec![0; size];
    Ok(Box::new(move || {
        let buffer = black_box(&mut buffer[..]);
        let (first, second) = (seal(&inner, buffer)?, seal(&outer, buffer)?);
        open(&outer, second, buffer)?;
        open(&inner, first, buffer)
    }))
}

fn portable_work(size: usize) -> Work {
    let inner = SecretKey::from([1; 32]);
    let outer = Aes256Gcm::new(&[2; 32].into());
    let (inner_nonce, outer_nonce) = (OrionNonce::from([7; 24]), [7; 12].into());
    let mut buffer = vec![0; size];
    Box::new(move || {
        let buffer = black_box(&mut buffer[..]);
        let first = XChaCha20Poly1305::seal_inplace(&inner, &inner_nonce, None, buffer)?;
        let second = outer
            .encrypt_inout_detached(&outer_nonce, b"", (&mut *buffer).into())
            .map_err(|_| anyhow!("aes-gcm does not seal"))?;
        outer
            .decrypt_inout_detached(&outer_nonce, b"", (&mut *buffer).into(), &second)
            .map_err(|_| anyhow!("aes-gcm does not open"))?;
        Ok(XChaCha20Poly1305::open_inplace(&inner, &inner_nonce, &first, None, buffer)?)
    })
}
