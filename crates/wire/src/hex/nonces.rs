//! A bounded memory of what has been seen. Implements `docs/protocol.md` §11.3.

use std::collections::{HashSet, VecDeque};

use paddington_crypto::hex::OuterNonce;

/// How many nonces are remembered.
const CAPACITY: usize = 65_536;

/// The outer nonces that were seen last. 8 bytes of each are kept: they are random, so that two
/// honest ones are never taken for each other, and an attacker can only repeat them whole.
#[derive(Debug, Default)]
pub(super) struct NonceMemory {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl NonceMemory {
    /// Remembers `nonce`, forgetting the oldest if need be. Returns whether it is new.
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
