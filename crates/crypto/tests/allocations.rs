//! Counts memory allocations: sealing and opening a `hex` envelope allocates only the result, and
//! sealing and opening a frame of the `sealed` encoding allocates nothing.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use paddington_crypto::hex::{self, Nonces};
use paddington_crypto::sealed::{Layers, OVERHEAD};
use paddington_crypto::{KeyPair, SecretKey};

/// Message sizes in bytes, from empty to larger than any block that is processed at once.
const SIZES: [usize; 6] = [0, 16, 256, 4 * 1024, 64 * 1024, 1024 * 1024];

fn key(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

fn pair() -> KeyPair {
    KeyPair::new(Arc::new(key(1)), Arc::new(key(2))).unwrap()
}

/// Counts the allocations of the second run of `work`, so that a setup once per process is not
/// counted.
fn allocations<T>(mut work: impl FnMut() -> T) -> AllocationInfo {
    drop(work());
    let mut result = None;
    let info = measure(|| result = Some(work()));
    drop(result);
    info
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocations(|| vec![7_u8; 100]).count_total, 1);
    assert_eq!(allocations(|| [7_u8; 100]).count_total, 0);
}

#[test]
fn sealing_in_hex_allocates_its_result_and_nothing_else() {
    let pair = pair();
    for size in SIZES {
        for text in ["x".repeat(size), "\n".repeat(size), "é\"".repeat(size / 3)] {
            let info = allocations(|| hex::seal(&pair, &text, &Nonces::random().unwrap()).unwrap());
            let len = hex::sealed_text_len(&text) as u64;
            assert_eq!((info.count_total, info.bytes_total), (1, len), "{size}");
        }
    }
    let key = key(3);
    let info = allocations(|| hex::seal_key(&pair, &key, &Nonces::random().unwrap()).unwrap());
    assert_eq!((info.count_total, info.bytes_total), (1, 544));
}

/// The text that is returned is in the buffer in which it was opened.
#[test]
fn opening_hex_allocates_its_result_and_nothing_else() {
    let pair = pair();
    for size in SIZES {
        let text = "x".repeat(size);
        let envelope = hex::seal(&pair, &text, &Nonces::random().unwrap()).unwrap();
        let info = allocations(|| hex::open(&pair, &envelope).unwrap());
        assert_eq!(info.count_total, 1, "{size}");
    }
}

#[test]
fn frames_are_sealed_and_opened_without_allocating() {
    let layers = Layers::new(&key(1), &key(2));
    for size in SIZES {
        let mut buffer = vec![7; size + OVERHEAD];
        let sealing = allocations(|| layers.seal(1, &[], &mut buffer).unwrap());
        assert_eq!(sealing.count_total, 0, "seal {size}");

        buffer[..size].fill(7);
        layers.seal(2, &[], &mut buffer).unwrap();
        let mut opened = buffer.clone();
        let opening = allocations(|| {
            opened.copy_from_slice(&buffer);
            layers.open(2, &[], &mut opened).unwrap().len()
        });
        assert_eq!(opening.count_total, 0, "open {size}");
        assert_eq!(opened[..size], vec![7; size]);
    }
}

#[test]
fn forged_frames_and_short_envelopes_allocate_nothing() {
    let (layers, pair) = (Layers::new(&key(1), &key(2)), pair());
    let mut forged = vec![7; 1000];
    let info = allocations(|| layers.open(0, &[], &mut forged).is_err());
    assert_eq!(info.count_total, 0);
    let short = "0".repeat(100);
    let info = allocations(|| hex::open(&pair, &short).is_err());
    assert_eq!(info.count_total, 0);
}
