//! Replays the corpus of every fuzz target, on any toolchain.

use std::path::Path;

use paddington_test_support::fuzz::PARSERS;

#[test]
fn the_corpus_of_every_fuzz_target_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, parse) in PARSERS {
        let mut inputs: Vec<_> = std::fs::read_dir(corpus.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let bytes = std::fs::read(&input).unwrap();
            parse(&bytes);
            for cut in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
                parse(&bytes[..cut]);
            }
        }
    }
}
