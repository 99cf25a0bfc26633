//! A bounded memory of nonces, for replay protection. Implements `docs/protocol.md` §11.3.

use std::collections::{HashSet, VecDeque};

use paddington_crypto::hex::OuterNonce;

/// The number of nonces that are remembered.
const CAPACITY: usize = 65_536;

/// The outer nonces that were seen last. It keeps 8 bytes of each, which is enough: honest nonces
/// are random and do not collide, and an attacker can only repeat a whole nonce.
#[derive(Debug, Default)]
pub(super) struct NonceMemory {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl NonceMemory {
    /// Remembers `nonce` and forgets the oldest one if full. Returns whether `nonce` is new.
    pub(super) fn insert(&mut self, nonce: &OuterNonce) -> bool {
        let key = key(nonce);
        if !self.known.insert(key) {
            return false;
        }
        if self.order.len() == CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(key);
        true
    }
}

fn key(nonce: &OuterNonce) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *nonce;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(number: usize) -> OuterNonce {
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&(number as u64).to_be_bytes());
        nonce
    }

    #[test]
    fn a_nonce_is_new_once_and_memory_is_bounded() {
        let mut memory = NonceMemory::default();
        assert!(memory.insert(&nonce(0)));
        assert!(!memory.insert(&nonce(0)));
        for number in 1..CAPACITY {
            assert!(memory.insert(&nonce(number)));
        }
        assert!(!memory.insert(&nonce(0)), "still remembered when full");
        assert!(memory.insert(&nonce(CAPACITY)));
        assert!(memory.insert(&nonce(0)), "the oldest made room");
        assert_eq!((memory.known.len(), memory.order.len()), (CAPACITY, CAPACITY));
    }
}
