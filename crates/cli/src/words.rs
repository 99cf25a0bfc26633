//! Words that two people compare by phone: the same words on both sides mean the same keys.

use bip39::Language;

/// The number of words: 66 bits, which nobody finds a second invitation for.
const COUNT: usize = 6;
/// Bits of a word: the list has 2048 of them.
const BITS: usize = 11;

/// Returns the words for a fingerprint of at least 9 bytes, of which they show the first 66 bits.
pub(crate) fn of(fingerprint: &[u8]) -> String {
    let list = Language::English.word_list();
    let bit = |at: usize| (fingerprint.get(at / 8).copied().unwrap_or(0) >> (7 - at % 8)) & 1;
    let index = |word: usize| {
        let bits = (word * BITS)..((word + 1) * BITS);
        bits.fold(0, |index, at| index << 1 | usize::from(bit(at)))
    };
    (0..COUNT).map(|word| list[index(word)]).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eleven_bits_choose_a_word() {
        assert_eq!(of(&[0; 16]), ["abandon"; 6].join(" "));
        assert_eq!(of(&[0xff; 16]), ["zoo"; 6].join(" "));
        // 0000 0000 001 is the second word, then zeros.
        let mut second = [0; 16];
        second[1] = 0b0010_0000;
        assert!(of(&second).starts_with("ability abandon"));
    }

    #[test]
    fn another_bit_within_the_first_66_is_another_phrase() {
        let phrases = (0..66).map(|at| {
            let mut fingerprint = [0; 16];
            fingerprint[at / 8] = 0x80 >> (at % 8);
            of(&fingerprint)
        });
        let phrases: std::collections::HashSet<_> = phrases.collect();
        assert_eq!(phrases.len(), 66);
        assert!(!phrases.contains(&of(&[0; 16])));
    }
}
