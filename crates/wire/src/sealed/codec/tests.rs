//! Every frame is read back as it was written, and what no frame may be is refused.

use proptest::prelude::*;

use super::*;
use crate::call_items::{CallBody, FailureCode};
use crate::frame::{CallsState, CursorState, Features, MAX_PAYLOAD, Ready, StreamState};
use crate::{Instance, RejectCode, RejectText, Software};

fn plaintext(frame: &Frame, padding: Padding) -> Bytes {
    let mut buffer = BytesMut::new();
    encode(frame, padding, 0, &mut buffer).unwrap();
    buffer.freeze()
}

fn completed() -> impl Strategy<Value = Completed> {
    (any::<u8>(), any::<u64>()).prop_map(|(stream, number)| Completed { stream, number })
}

fn readies() -> impl Strategy<Value = Ready> {
    let stream = (any::<[u8; 16]>(), 1..u64::MAX, any::<u64>()).prop_map(|(id, base, more)| {
        StreamState { instance: id.into(), base, next: base.saturating_add(more) }
    });
    let cursor = (any::<[u8; 16]>(), any::<u64>(), any::<u64>()).prop_map(|(id, a, b)| {
        CursorState { instance: id.into(), received: a.max(b), completed: a.min(b) }
    });
    (
        proptest::collection::vec(stream, 1..64),
        proptest::collection::vec(cursor, 0..64),
        (1..=MAX_PAYLOAD, any::<u32>(), any::<u64>(), "[ -~]{0,64}"),
        (any::<u16>(), 1..u8::MAX, any::<u64>()),
    )
        .prop_map(|(mine, yours, (max_payload, window, features, software), calls)| Ready {
            instance: mine.last().unwrap().instance,
            max_payload,
            window,
            features: Features(features),
            mine,
            yours,
            software: software.parse().unwrap(),
            calls: if Features(features).has(Features::CALLS) {
                CallsState {
                    requests: calls.0,
                    request_window: u32::MAX,
                    of: Some(Instance::from([calls.1; 16])),
                    received: calls.2,
                }
            } else {
                CallsState::default()
            },
        })
}

fn calls() -> impl Strategy<Value = Frame> {
    let payload = (any::<bool>(), any::<Vec<u8>>())
        .prop_map(|(is_bytes, payload)| Payload::flagged(is_bytes, payload.into()));
    let body = prop_oneof![
        (0..8_u8, any::<u32>(), payload.clone()).prop_map(|(depth, left, payload)| {
            let left = Some(left).filter(|left| *left != u32::MAX);
            CallBody::Request { depth, left, payload }
        }),
        payload.prop_map(|payload| CallBody::Reply { payload }),
        (any::<u16>(), any::<String>()).prop_map(|(code, text)| {
            CallBody::Failure { code: FailureCode(code), text: text.into() }
        }),
        Just(CallBody::Cancel),
    ];
    let item = (any::<u64>(), body).prop_map(|(call, body)| CallItem { call, body });
    (1..u64::MAX, completed(), any::<u64>(), proptest::collection::vec(item, 0..20)).prop_map(
        |(first, ack, received, items)| {
            let first = if items.is_empty() { 0 } else { first };
            Frame::Calls(Calls { first, ack, received, items })
        },
    )
}

fn frames() -> impl Strategy<Value = Frame> {
    let payload = || {
        any::<(bool, Vec<u8>)>()
            .prop_map(|(is_bytes, bytes)| Payload::flagged(is_bytes, bytes.into()))
    };
    let data = (any::<(u8, bool, u64)>(), completed(), payload()).prop_map(
        |((stream, again, number), ack, payload)| {
            Frame::Data(Data { stream, again, number, ack, payload })
        },
    );
    let rejection = (any::<(u64, u16)>(), any::<String>()).prop_map(|((number, code), text)| {
        Rejection { number, code: RejectCode(code), text: RejectText::cut(&text) }
    });
    let ack = (completed(), any::<u64>(), proptest::collection::vec(rejection, 0..20))
        .prop_map(|(ack, credit, rejected)| Frame::Ack(Ack { ack, credit, rejected }));
    let skip = (any::<u8>(), any::<u64>(), completed())
        .prop_map(|(stream, to, ack)| Frame::Skip(Skip { stream, to, ack }));
    let payloads = proptest::collection::vec(payload(), 1..20);
    let batch = (any::<(u8, bool, u64)>(), completed(), payloads).prop_map(
        |((stream, again, first), ack, payloads)| {
            let messages = Messages::new(payloads.iter()).unwrap();
            Frame::Batch(Batch { stream, again, first, ack, messages })
        },
    );
    prop_oneof![
        readies().prop_map(Frame::Ready),
        data,
        batch,
        ack,
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
        any::<u64>().prop_map(|code| Frame::Close(CloseCode::from(code))),
        skip,
        Just(Frame::Drain),
        calls(),
        any::<u64>().prop_map(Frame::Renew),
        any::<u64>().prop_map(Frame::Renewed),
    ]
}

proptest! {
    #[test]
    fn encoded_then_decoded_is_equal(frame in frames(), padded in any::<bool>()) {
        let padding = if padded { Padding::Padme } else { Padding::None };
        prop_assert_eq!(decode(plaintext(&frame, padding), MAX_PAYLOAD), Ok(frame));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(bytes.into(), 100);
    }

    #[test]
    fn any_kind_with_any_bytes_decodes_or_is_refused(
        kind in 0..14_u8,
        mut bytes in proptest::collection::vec(any::<u8>(), 24..300),
    ) {
        bytes[0] = kind;
        bytes[3] &= 7;
        bytes[4..6].fill(0);
        let _ = decode(bytes.into(), 1_000);
    }
}

#[test]
fn bytes_that_must_be_zero_are_checked() {
    let ping = plaintext(&Frame::Ping(7), Padding::Padme);
    for at in [1, 2, 3, 16, 23, 24, 127] {
        let mut changed = ping.to_vec();
        changed[at] = 1;
        assert_eq!(decode(changed.into(), 100), Err(Violation::NotZero), "{at}");
    }
    let data = Frame::Data(Data {
        stream: 0,
        again: true,
        number: 1,
        ack: Completed::default(),
        payload: "1000".into(),
    });
    for (at, value) in [(3, 5), (3, 8), (3, 128), (28, 1)] {
        let mut changed = plaintext(&data, Padding::Padme).to_vec();
        changed[at] = value;
        assert_eq!(decode(changed.into(), 100), Err(Violation::NotZero), "{at}");
    }
}

#[test]
fn only_data_and_entries_of_a_batch_say_that_they_are_bytes() {
    for kind in 0..=u8::MAX {
        let mut bytes = vec![0; 128];
        (bytes[0], bytes[3]) = (kind, BYTES);
        let decoded = decode(bytes.into(), 100);
        match kind {
            DATA => {
                let Ok(Frame::Data(data)) = decoded else { panic!("{decoded:?}") };
                assert!(data.payload.is_bytes() && !data.again);
            }
            READY..=RENEWED => assert_eq!(decoded, Err(Violation::NotZero), "{kind}"),
            kind => assert_eq!(decoded, Err(Violation::UnknownKind(kind))),
        }
    }
}

#[test]
fn malformed_frames_are_refused() {
    let header = |kind: u8, len: u32| {
        let mut bytes = BytesMut::new();
        Header { len, ..Header::bare(kind, 0) }.write(&mut bytes);
        bytes.resize(128, 0);
        bytes.freeze()
    };
    assert_eq!(decode(Bytes::new(), 100), Err(Violation::Truncated));
    assert_eq!(decode(header(DATA, 0).slice(..23), 100), Err(Violation::Truncated));
    assert_eq!(decode(header(DATA, 105), 200), Err(Violation::Truncated));
    assert_eq!(
        decode(header(DATA, u32::MAX), 100),
        Err(Violation::TooLong { len: u32::MAX, max: 100 })
    );
    assert_eq!(decode(header(0, 0), 100), Err(Violation::UnknownKind(0)));
    assert_eq!(decode(header(13, 0), 100), Err(Violation::UnknownKind(13)));
    for kind in [RENEW, RENEWED] {
        assert_eq!(decode(header(kind, 8), 100), Err(Violation::BadPayload));
        for at in [1, 2, 3, 16, 23, 24] {
            let mut changed = header(kind, 0).to_vec();
            changed[at] = 1;
            assert_eq!(decode(changed.into(), 100), Err(Violation::NotZero), "{kind} {at}");
        }
    }
    assert_eq!(decode(header(CALLS, 7), 100), Err(Violation::BadPayload));
    let long = Err(Violation::TooLong { len: 129, max: 100 });
    assert_eq!(decode(header(CALLS, 129).repeat(2).into(), 100), long.clone());
    assert_eq!(decode(header(BATCH, 0), 100), Err(Violation::BadPayload));
    assert_eq!(decode(header(BATCH, 7), 100), Err(Violation::BadPayload));
    assert_eq!(decode(header(BATCH, 101), 100), Err(Violation::TooLong { len: 101, max: 100 }));
    assert_eq!(decode(header(PING, 8), 100), Err(Violation::BadPayload));
    assert_eq!(decode(header(ACK, 10), 100), Err(Violation::BadPayload));
    assert_eq!(decode(header(ACK, 12), 100), Err(Violation::BadPayload), "a second entry");
    assert_eq!(decode(header(READY, 35), 100), Err(Violation::Truncated));
}

#[test]
fn a_ready_with_an_odd_name_of_its_software_is_refused() {
    let instance = Instance::from([1; 16]);
    let ready = Ready {
        instance,
        max_payload: 1,
        window: 0,
        features: Features::NONE,
        mine: vec![StreamState { instance, base: 1, next: 1 }],
        yours: Vec::new(),
        software: Software::default(),
        calls: CallsState::default(),
    };
    let good = plaintext(&Frame::Ready(ready), Padding::None);
    let with = |software: &[u8]| {
        let mut bytes = [&good[..good.len() - 1], software].concat();
        let len = (bytes.len() - HEADER_LEN) as u32;
        bytes[4..8].copy_from_slice(&len.to_be_bytes());
        decode(bytes.into(), MAX_PAYLOAD).map(drop)
    };
    let longest = [b"\x40".as_slice(), &[b'~'; 64]].concat();
    let good: [&[u8]; 4] = [b"\0", b"\x03a b", &longest, b"\x01a later version"];
    good.iter().for_each(|software| assert_eq!(with(software), Ok(())));
    let too_long = [b"\x41".as_slice(), &[b'~'; 65]].concat();
    let bad: [&[u8]; 5] = [&too_long, b"\x01\n", b"\x01\x7f", b"\x02\xc3\xa9", b"\x01\xff"];
    for software in bad {
        assert!(matches!(with(software), Err(Violation::BadReady(_))), "{software:?}");
    }
    for cut in [&b""[..], b"\x01", b"\x40a", b"\xffa"] {
        assert_eq!(with(cut), Err(Violation::Truncated), "{cut:?}");
    }
}

#[test]
fn an_inconsistent_ready_is_refused() {
    let instance = Instance::from([1; 16]);
    let good = Ready {
        instance,
        max_payload: 1,
        window: 0,
        features: Features(u64::MAX),
        mine: vec![StreamState { instance, base: 1, next: 1 }],
        yours: Vec::new(),
        software: Software::default(),
        calls: CallsState { requests: 1, request_window: 25, of: None, received: 0 },
    };
    let check = |change: &dyn Fn(&mut Ready)| {
        let mut ready = good.clone();
        change(&mut ready);
        decode(plaintext(&Frame::Ready(ready), Padding::None), MAX_PAYLOAD).map(drop)
    };
    assert_eq!(check(&|_| {}), Ok(()));
    let cursor = CursorState { instance, received: 1, completed: 2 };
    let wrong: [&dyn Fn(&mut Ready); 9] = [
        &|ready| ready.max_payload = 0,
        &|ready| ready.max_payload = MAX_PAYLOAD + 1,
        &|ready| ready.mine.clear(),
        &|ready| ready.mine = vec![ready.mine[0]; 65],
        &|ready| ready.mine = vec![ready.mine[0]; 2],
        &|ready| ready.mine[0].base = 0,
        &|ready| ready.mine[0].base = 2,
        &|ready| ready.instance = Instance::from([2; 16]),
        &|ready| ready.yours = vec![cursor],
    ];
    for (index, change) in wrong.iter().enumerate() {
        assert!(matches!(check(change), Err(Violation::BadReady(_))), "{index}");
    }
}

#[test]
fn additions_of_later_versions_to_ready_are_ignored() {
    let instance = Instance::from([1; 16]);
    let ready = Ready {
        instance,
        max_payload: 1,
        window: 1,
        features: Features::NONE,
        mine: vec![StreamState { instance, base: 1, next: 1 }],
        yours: Vec::new(),
        software: "x".parse().unwrap(),
        calls: CallsState::default(),
    };
    let frame = Frame::Ready(ready);
    let mut bytes = plaintext(&frame, Padding::None).to_vec();
    bytes.extend([1, 2, 3]);
    bytes[7] += 3;
    assert_eq!(decode(bytes.into(), 1_000), Ok(frame));
}

#[test]
fn calls_are_read_as_the_vectors_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/calls.json");
    let v: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let read = |digits: &serde_json::Value| {
        decode(const_hex::decode(digits.as_str().unwrap()).unwrap().into(), 1 << 20)
    };
    let Frame::Ready(ready) = read(&v["ready"]).unwrap() else { panic!() };
    let of = Some(Instance::from(std::array::from_fn(|index| 0x11 + index as u8)));
    let state = CallsState { requests: 128, request_window: 2_097_152, of, received: 5 };
    assert_eq!((ready.features, ready.calls), (Features(3), state));
    let Frame::Calls(calls) = read(&v["plaintext"]).unwrap() else { panic!() };
    assert_eq!((calls.first, calls.received, calls.items.len()), (1, 5, 6));
    for payload in v["bad_payloads"].as_array().unwrap() {
        let payload = const_hex::decode(payload.as_str().unwrap()).unwrap();
        let mut bytes = BytesMut::new();
        Header { len: payload.len() as u32, ..Header::bare(CALLS, 1) }.write(&mut bytes);
        bytes.put_slice(&payload);
        assert!(decode(bytes.freeze(), 1 << 20).is_err(), "{payload:?}");
    }
}

#[test]
fn renewals_are_read_as_the_vectors_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/renewal.json");
    let v: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let read = |digits: &serde_json::Value| {
        decode(const_hex::decode(digits.as_str().unwrap()).unwrap().into(), 1 << 20)
    };
    let Frame::Ready(ready) = read(&v["ready"]).unwrap() else { panic!() };
    assert_eq!(ready.features, Features::RENEW);
    let bad = v["bad_plaintexts"].as_array().unwrap();
    assert_eq!(bad.len(), 22);
    for plaintext in bad {
        assert!(read(plaintext).is_err(), "{plaintext}");
    }
}
