//! Replays the corpus of every fuzz target, on any toolchain. The seeds of frames are made by the codec
//! and compared, so that they cannot be left behind by the format:
//! `UPDATE_SEEDS=1 cargo test -p paddington-test-support --test corpus` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use bytes::BytesMut;
use paddington_crypto::sealed::OVERHEAD;
use paddington_models::attack::{Attempt, attack};
use paddington_test_support::fuzz::{PARSERS, read_frame, read_ready};
use paddington_test_support::{Random, empty_ready};
use paddington_wire::sealed::fuzzing::encode;
use paddington_wire::{
    Ack, Batch, CallBody, CallItem, Calls, CallsState, CloseCode, Completed, CursorState, Data,
    FailureCode, Features, Frame, HEADER_LEN, Instance, Messages, Payload, Ready, RejectCode,
    RejectText, Rejection, Skip, StreamState, Violation,
};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

fn is_update() -> bool {
    env::var_os("UPDATE_SEEDS").is_some()
}

#[test]
fn the_corpus_of_every_fuzz_target_is_survived() {
    for (name, parse) in PARSERS {
        let mut inputs: Vec<_> =
            fs::read_dir(corpus().join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            parse(&bytes);
            for cut in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
                parse(&bytes[..cut]);
            }
        }
    }
}

/// A seed: its name, its bytes, and the violation for which they are refused.
type Seed = (&'static str, Vec<u8>, Option<Violation>);
/// A fuzz target that reads frames.
type Read = fn(&[u8]) -> Result<Frame, Violation>;

/// The plaintext of a frame with its padding.
fn padded(frame: &Frame) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    encode(frame, &mut buffer).unwrap();
    buffer.truncate(buffer.len() - OVERHEAD);
    buffer.to_vec()
}

/// The plaintext of a frame without padding: a fuzzer gets further with short inputs.
fn bare(frame: &Frame) -> Vec<u8> {
    let mut plaintext = padded(frame);
    let len = u32::from_be_bytes(plaintext[4..8].try_into().unwrap());
    plaintext.truncate(HEADER_LEN + len as usize);
    plaintext
}

/// The plaintext of a frame with other bytes from one place on.
fn with(frame: &Frame, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut plaintext = bare(frame);
    plaintext[at..at + bytes.len()].copy_from_slice(bytes);
    plaintext
}

fn instance(first: u8) -> Instance {
    Instance::from(std::array::from_fn(|index| first.wrapping_add(index as u8)))
}

fn ack(number: u64) -> Completed {
    Completed { stream: 0, number }
}

fn data(again: bool, payload: Payload) -> Frame {
    Frame::Data(Data { stream: 0, again, number: 1, ack: ack(0), payload })
}

fn batch(payloads: &[Payload]) -> Frame {
    let messages = Messages::new(payloads.iter()).unwrap();
    Frame::Batch(Batch { stream: 0, again: true, first: 1, ack: ack(7), messages })
}

fn rejected(texts: [&str; 2]) -> Frame {
    let rejection = |number, code, text: &str| Rejection {
        number,
        code: RejectCode(code),
        text: RejectText::cut(text),
    };
    let rejected = vec![rejection(6, 2, texts[0]), rejection(7, 1, texts[1])];
    Frame::Ack(Ack { ack: ack(7), credit: 4_096, rejected })
}

/// A CALLS with an item of each kind.
fn calls() -> Frame {
    let request = |depth, left, payload| CallBody::Request { depth, left, payload };
    let failure = |text: &str| CallBody::Failure { code: FailureCode::FAILED, text: text.into() };
    let items = [
        (1, request(0, Some(1_500), Payload::text("21.5 °C?"))),
        (2, request(7, None, Payload::bytes(vec![0, 0xff]))),
        (9, CallBody::Reply { payload: Payload::text("") }),
        (10, CallBody::Reply { payload: Payload::bytes(vec![0x80]) }),
        (11, failure("no such sensor")),
        (12, failure("")),
        (1, CallBody::Cancel),
    ];
    let items = items.map(|(call, body)| CallItem { call, body }).to_vec();
    Frame::Calls(Calls { first: 1, ack: ack(0), received: 5, items })
}

/// A READY with so many streams in both lists.
fn ready(streams: u8) -> Ready {
    let own = (0..streams).map(|older| instance(1 + (streams - 1 - older)));
    let state = |instance| StreamState { instance, base: 1, next: 1 };
    let cursor = |it| CursorState { instance: instance(0x81 + it), received: 5, completed: 3 };
    Ready {
        mine: own.map(state).collect(),
        yours: (0..streams).map(cursor).collect(),
        software: "paddington/vectors".parse().unwrap(),
        ..empty_ready(instance(1))
    }
}

fn ready_with_calls() -> Ready {
    let (requests, request_window) = (128, 2 * 1024 * 1024);
    let calls = CallsState { requests, request_window, of: Some(instance(0x11)), received: 5 };
    Ready { features: Features::BATCH.with(Features::CALLS), calls, ..ready(1) }
}

fn frames() -> Vec<Seed> {
    let messages = ["1000", "", "-23"].map(Payload::text);
    let of_bytes = [Payload::bytes("1000"), Payload::text(""), Payload::text("-23")];
    let empty = vec![Payload::text(""); 250];
    let good = [
        ("ready", bare(&Frame::Ready(ready(1)))),
        ("ready_calls", bare(&Frame::Ready(ready_with_calls()))),
        ("data", padded(&data(true, "1000".into()))),
        ("bytes", bare(&data(false, Payload::bytes(vec![0xff, 0, 0x80, 1])))),
        ("batch", padded(&batch(&messages))),
        ("batch_bytes", bare(&batch(&of_bytes))),
        ("batch_empty_messages", bare(&batch(&empty))),
        ("ack", bare(&rejected(["", ""]))),
        ("ack_text", bare(&rejected(["", "hé \"q\" ✓"]))),
        ("ack_longest_text", bare(&rejected([&"é".repeat(200), "\u{1b}[2J"]))),
        ("ack_credit", bare(&Frame::Ack(Ack { credit: 4_096, ..Ack::default() }))),
        ("calls", padded(&calls())),
        ("calls_ack", bare(&Frame::Calls(Calls { received: 5, ..no_calls() }))),
        ("ping", padded(&Frame::Ping(7))),
        ("pong", bare(&Frame::Pong(7))),
        ("close", bare(&Frame::Close(CloseCode::Shutdown))),
        ("close_removed", bare(&Frame::Close(CloseCode::Removed))),
        ("close_unknown", bare(&Frame::Close(CloseCode::Other(1 << 40)))),
        ("skip", bare(&Frame::Skip(Skip { stream: 0, to: 9, ack: ack(3) }))),
        ("drain", bare(&Frame::Drain)),
        ("renew", bare(&Frame::Renew(2))),
        ("renewed", bare(&Frame::Renewed(2))),
    ];
    let text = rejected(["", "x"]);
    let last = bare(&text).len() - 1;
    let bad = [
        // The length of the first message is a byte more than there is.
        ("batch_beyond", with(&batch(&messages), 27, &[16]), Violation::BadPayload),
        ("batch_unknown_flag", with(&batch(&messages), 24, &[2]), Violation::NotZero),
        ("ack_text_beyond", with(&text, last - 1, &[2]), Violation::BadPayload),
        ("ack_not_text", with(&text, last, &[0xff]), Violation::BadPayload),
        ("calls_depth", with(&calls(), 39, &[8]), Violation::BadPayload),
        ("calls_unknown_flag", with(&calls(), 37, &[2]), Violation::NotZero),
        ("unknown_kind", with(&Frame::Drain, 0, &[13]), Violation::UnknownKind(13)),
        ("drain_stream", with(&Frame::Drain, 1, &[1]), Violation::NotZero),
    ];
    let good = good.map(|(name, bytes)| (name, bytes, None));
    let bad = bad.map(|(name, bytes, violation)| (name, bytes, Some(violation)));
    good.into_iter().chain(bad).collect()
}

fn no_calls() -> Calls {
    Calls { first: 0, ack: ack(0), received: 0, items: Vec::new() }
}

/// The payloads of READY.
fn readies() -> Vec<Seed> {
    let payload = |ready: Ready| bare(&Frame::Ready(ready)).split_off(HEADER_LEN);
    let silent = Ready { software: Default::default(), ..ready(1) };
    let longest = Ready { software: "~".repeat(64).parse().unwrap(), ..ready(1) };
    let nobody = CallsState { of: None, received: 0, ..ready_with_calls().calls };
    let good = [
        ("one", payload(ready(1))),
        ("many", payload(ready(64))),
        ("longer", [&payload(ready(1))[..], b"later"].concat()),
        ("silent", payload(silent)),
        ("longest_software", payload(longest)),
        ("calls", payload(ready_with_calls())),
        ("calls_of_nobody", payload(Ready { calls: nobody, ..ready_with_calls() })),
    ];
    let mut unprintable = payload(ready(1));
    let last = unprintable.len() - 1;
    unprintable[last] = 0x7f;
    let mut twice = ready(2);
    twice.yours[1] = twice.yours[0];
    let mut cut = payload(ready_with_calls());
    cut.pop();
    let is_odd = "the name of its software is too long or not printable";
    let bad = [
        ("unprintable", unprintable, Violation::BadReady(is_odd)),
        ("twice", payload(twice), Violation::BadReady("a stream is listed twice")),
        ("calls_cut", cut, Violation::Truncated),
    ];
    let good = good.map(|(name, bytes)| (name, bytes, None));
    let bad = bad.map(|(name, bytes, violation)| (name, bytes, Some(violation)));
    good.into_iter().chain(bad).collect()
}

#[test]
fn the_seeds_of_frames_are_those_of_the_codec() {
    let targets: [(&str, Vec<Seed>, Read); 2] =
        [("frame", frames(), read_frame), ("ready", readies(), read_ready)];
    for (target, seeds, read) in targets {
        for (name, bytes, refused) in seeds {
            let path = corpus().join(target).join(name);
            if is_update() {
                fs::write(&path, &bytes).unwrap();
            }
            let found = fs::read(&path).unwrap_or_default();
            assert_eq!(read(&bytes).err(), refused, "{target}/{name}");
            assert!(
                found == bytes,
                "{target}/{name} is not up to date: UPDATE_SEEDS=1 cargo test -p \
                 paddington-test-support --test corpus"
            );
        }
    }
}

/// What an attack is to get to, as often as possible.
type Goals = fn(&Attempt) -> [u64; 3];

/// Returns how often an attack gets to the goal that it gets to least.
fn least(attempt: &Attempt, goals: Goals) -> u64 {
    goals(attempt).into_iter().min().unwrap_or_default()
}

/// Returns the attack that gets furthest, of many random ones that begin with one byte.
fn liveliest(first: u8, goals: Goals) -> Vec<u8> {
    let random = |seed| {
        let mut bytes = vec![0; 480];
        Random::new(seed).fill(&mut bytes);
        bytes[0] = first;
        bytes
    };
    (0..20_000).map(random).max_by_key(|bytes| least(&attack(bytes), goals)).unwrap()
}

/// From an attack that is refused at once, a fuzzer learns little.
#[test]
fn the_lively_attacks_get_far() {
    let messages: Goals = |it| [it.sessions, it.delivered, it.obtained];
    let calls: Goals = |it| [it.sessions, it.asked, it.answered];
    let rejections: Goals = |it| [it.sessions, it.obtained, it.rejected];
    for (goals, name) in
        [(messages, "lively"), (calls, "lively_calls"), (rejections, "lively_rejections")]
    {
        // The first byte says whether the service has a store.
        for (first, place) in [(0, "memory"), (1, "store")] {
            let path = corpus().join("link").join(format!("{name}_{place}"));
            if is_update() {
                fs::write(&path, liveliest(first, goals)).unwrap();
            }
            let attempt = attack(&fs::read(&path).unwrap());
            assert!(
                least(&attempt, goals) > 0,
                "{} is not up to date: {attempt:?}",
                path.display()
            );
        }
    }
}
