//! A scan of this process's own memory for secrets.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use orion::hazardous::stream::chacha20::{self, ChaCha20};
use zeroize::Zeroizing;

/// The length of the pieces that are looked for, in bytes. A secret is not gone if half of it is
/// left.
const PIECE: usize = 16;
/// The byte that is XORed with each byte of a secret that is kept here.
const MASK: u8 = 0xa5;
/// The length of the blocks in which memory is read, in bytes.
const BLOCK: usize = 1024 * 1024;

/// Makes one scan wait for another: its block holds whatever it has read.
static SCANNING: Mutex<()> = Mutex::new(());

/// Secrets that are looked for. The bytes of none of them are in here.
#[derive(Debug, Default)]
pub struct WantedSecrets {
    /// The names and the masked bytes of the pieces, by their first eight bytes.
    pieces: HashMap<u64, Vec<(String, Vec<u8>)>>,
}

impl WantedSecrets {
    /// Adds a secret: each of its whole pieces of 16 bytes that is not a part of `public`, which is
    /// known to be in memory.
    pub fn add(&mut self, name: &str, secret: &[u8], public: &[u8]) {
        for piece in secret.chunks_exact(PIECE) {
            if public.windows(PIECE).any(|part| part == piece) {
                continue;
            }
            let masked: Vec<u8> = piece.iter().map(|byte| byte ^ MASK).collect();
            self.pieces.entry(first_word(&masked)).or_default().push((name.to_owned(), masked));
        }
    }

    /// Returns the names of the secrets of which a piece is in this process's writable memory.
    ///
    /// # Panics
    ///
    /// If the process cannot read its own memory, as on systems without `/proc`.
    #[must_use]
    pub fn found(&self) -> BTreeSet<&str> {
        let _alone = SCANNING.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = File::open("/proc/self/mem").unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut block = vec![0; BLOCK];
        let own = block.as_ptr() as u64..block.as_ptr() as u64 + BLOCK as u64;
        let mut found = BTreeSet::new();
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let end = u64::from_str_radix(end, 16).unwrap();
            let mut at = u64::from_str_radix(start, 16).unwrap();
            while at < end {
                if own.contains(&at) {
                    at = own.end;
                    continue;
                }
                let limit = if at < own.start { end.min(own.start) } else { end };
                let len = BLOCK.min(usize::try_from(limit - at).unwrap());
                let Ok(len @ 1..) = memory.read_at(&mut block[..len], at) else { break };
                self.find_in(&block[..len], &mut found);
                // A piece that crosses the end of a block is found in the next one.
                let is_last = at + len as u64 == limit || len <= PIECE;
                at += if is_last { len } else { len - PIECE } as u64;
            }
        }
        block.fill(0);
        std::hint::black_box(&block);
        found
    }

    fn find_in<'a>(&'a self, block: &[u8], found: &mut BTreeSet<&'a str>) {
        for window in block.windows(PIECE) {
            let word = first_word(window) ^ u64::from_ne_bytes([MASK; 8]);
            for (name, piece) in self.pieces.get(&word).into_iter().flatten() {
                if window.iter().zip(piece).all(|(byte, masked)| byte ^ MASK == *masked) {
                    found.insert(name);
                }
            }
        }
    }
}

/// Derives the key with which XChaCha20 runs ChaCha20: HChaCha20 with a nonce of zeros.
///
/// # Panics
///
/// If the key is not of 32 bytes.
#[must_use]
pub fn subkey(key: &[u8]) -> Zeroizing<Vec<u8>> {
    let key = chacha20::SecretKey::try_from(key).unwrap();
    let nonce = chacha20::Nonce::from([0; 12]);
    let mut block = Zeroizing::new(vec![0; 64]);
    ChaCha20::new(&key, &nonce).xor_keystream_into(&mut block).unwrap();
    // A block of the keystream is the permuted state plus the initial one.
    let initial = [b"expand 32-byte k".as_slice(), &[0; 16]].concat();
    let rows = block[..16].chunks(4).chain(block[48..].chunks(4));
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    let subkey = rows
        .zip(initial.chunks(4))
        .flat_map(|(row, initial)| word(row).wrapping_sub(word(initial)).to_le_bytes());
    Zeroizing::new(subkey.collect())
}

/// Derives the round keys of AES-256, 15 of 16 bytes each (FIPS 197 §5.2). The first two are the key.
///
/// # Panics
///
/// If the key is not of 32 bytes.
#[must_use]
pub fn round_keys(key: &[u8]) -> Zeroizing<Vec<u8>> {
    const WORDS: usize = 60;
    assert_eq!(key.len(), 32);
    let mut keys = Zeroizing::new(Vec::with_capacity(4 * WORDS));
    keys.extend_from_slice(key);
    let mut constant = 1;
    for index in 8..WORDS {
        let mut word: [u8; 4] = keys[4 * (index - 1)..].try_into().unwrap();
        if index % 8 == 0 {
            word.rotate_left(1);
        }
        if index % 4 == 0 {
            word = word.map(substituted);
        }
        if index % 8 == 0 {
            word[0] ^= constant;
            constant = product(constant, 2);
        }
        for (at, byte) in word.iter().enumerate() {
            let earlier = keys[4 * (index - 8) + at];
            keys.push(byte ^ earlier);
        }
    }
    keys
}

/// The S-box of AES: the inverse of a byte, and an affine map of that.
fn substituted(byte: u8) -> u8 {
    let inverse = (0..=255).find(|other| product(byte, *other) == 1).unwrap_or_default();
    (1..5).fold(inverse ^ 0x63, |sum, by| sum ^ inverse.rotate_left(by))
}

/// The product of two bytes in the field of AES.
fn product(left: u8, right: u8) -> u8 {
    (0..8).rev().fold(0, |sum, bit| {
        let doubled = (sum << 1) ^ (0x1b * (sum >> 7));
        doubled ^ (left * (right >> bit & 1))
    })
}

fn first_word(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes[..8].try_into().unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix A.3.
    #[test]
    fn the_round_keys_are_those_of_the_standard() {
        let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
        let keys = round_keys(&hex::decode(key).unwrap());
        assert_eq!(keys.len(), 240);
        assert_eq!(hex::encode(&keys[..32]), key);
        assert_eq!(hex::encode(&keys[32..48]), "9ba354118e6925afa51a8b5f2067fcde");
        assert_eq!(hex::encode(&keys[48..64]), "a8b09c1a93d194cdbe49846eb75d5b9a");
        assert_eq!(hex::encode(&keys[224..]), "fe4890d1e6188d0b046df344706c631e");
    }
}
