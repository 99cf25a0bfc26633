//! Envelope throughput: seal and open once, by payload size.
//!
//! * `reference`: the original's wire format written naively, serde_json + orion + hex, twice.
//! * `hex`: the same bytes, as `paddington-crypto` makes them.
//! * `sealed`: a frame of the `sealed` encoding, as a session makes it.
//! * `ring x2`, `orion x2`: nothing but two passes of the cipher over the same bytes.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orion::aead;
use orion::hazardous::aead::xchacha20poly1305 as xchacha;
use paddington_crypto::hex::Nonces;
use paddington_crypto::sealed::{Layers, OVERHEAD};
use paddington_crypto::{KeyPair, SecretKey};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

const SIZES: [usize; 5] = [16, 256, 4 * 1024, 64 * 1024, 1024 * 1024];

/// The original's wire format, written as the original writes it.
mod reference {
    use super::aead;

    pub(super) fn seal(keys: &[aead::SecretKey; 2], payload: &str) -> String {
        encrypt(&keys[1], &encrypt(&keys[0], payload))
    }

    pub(super) fn open(keys: &[aead::SecretKey; 2], envelope: &str) -> String {
        decrypt(&keys[0], &decrypt(&keys[1], envelope))
    }

    fn encrypt(key: &aead::SecretKey, value: &str) -> String {
        let json = serde_json::to_string(value).unwrap();
        hex::encode(aead::seal(key, json.as_bytes()).unwrap())
    }

    fn decrypt(key: &aead::SecretKey, text: &str) -> String {
        let json = aead::open(key, &hex::decode(text).unwrap()).unwrap();
        serde_json::from_str(&String::from_utf8(json).unwrap()).unwrap()
    }
}

fn key(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

fn ring_key(byte: u8) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[byte; 32]).unwrap())
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([7; 12])
}

/// Two passes of ring over `buffer` and back, the tags left out of the buffer.
fn ring_twice(keys: &[LessSafeKey; 2], buffer: &mut [u8]) {
    let seal = |key: &LessSafeKey, buffer: &mut [u8]| {
        key.seal_in_place_separate_tag(nonce(), Aad::empty(), buffer).unwrap()
    };
    let open = |key: &LessSafeKey, tag, buffer: &mut [u8]| {
        key.open_in_place_separate_tag(nonce(), Aad::empty(), tag, buffer, 0..).unwrap();
    };
    let inner = seal(&keys[0], buffer);
    let outer = seal(&keys[1], buffer);
    open(&keys[1], outer, buffer);
    open(&keys[0], inner, buffer);
}

/// The same with orion.
fn orion_twice(keys: &[xchacha::SecretKey; 2], buffer: &mut [u8]) {
    let nonce = xchacha::Nonce::from([7; 24]);
    let seal = xchacha::XChaCha20Poly1305::seal_inplace;
    let open = xchacha::XChaCha20Poly1305::open_inplace;
    let inner = seal(&keys[0], &nonce, None, buffer).unwrap();
    let outer = seal(&keys[1], &nonce, None, buffer).unwrap();
    open(&keys[1], &nonce, &outer, None, buffer).unwrap();
    open(&keys[0], &nonce, &inner, None, buffer).unwrap();
}

fn envelope(criterion: &mut Criterion) {
    let pair = KeyPair::new(Arc::new(key(1)), Arc::new(key(2))).unwrap();
    let layers = Layers::new(&key(1), &key(2));
    let orion_high = [(); 2].map(|()| aead::SecretKey::generate().unwrap());
    let orion_low = [1, 2].map(|byte| xchacha::SecretKey::from([byte; 32]));
    let ring = [1, 2].map(ring_key);
    let mut group = criterion.benchmark_group("envelope seal+open");
    for size in SIZES {
        let payload = "x".repeat(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::new("reference", size), &payload, |bench, payload| {
            bench.iter(|| reference::open(&orion_high, &reference::seal(&orion_high, payload)));
        });
        group.bench_with_input(BenchmarkId::new("hex", size), &payload, |bench, payload| {
            bench.iter(|| {
                let nonces = Nonces::random().unwrap();
                let envelope = paddington_crypto::hex::seal(&pair, payload, &nonces).unwrap();
                paddington_crypto::hex::open(&pair, &envelope).unwrap()
            });
        });
        let mut buffer = vec![0; size + OVERHEAD];
        group.bench_function(BenchmarkId::new("sealed", size), |bench| {
            let mut number = 0;
            bench.iter(|| {
                number += 1;
                layers.seal(number, &[], black_box(&mut buffer)).unwrap();
                layers.open(number, &[], black_box(&mut buffer)).unwrap().len()
            });
        });
        let mut buffer = vec![0; size];
        group.bench_function(BenchmarkId::new("ring x2", size), |bench| {
            bench.iter(|| ring_twice(&ring, black_box(&mut buffer)));
        });
        group.bench_function(BenchmarkId::new("orion x2", size), |bench| {
            bench.iter(|| orion_twice(&orion_low, black_box(&mut buffer)));
        });
    }
    group.finish();
}

criterion_group!(benches, envelope);
criterion_main!(benches);
