//! Tests the `sealed` encoding against `docs/vectors/sealed.json` (`docs/protocol.md` §14): a whole
//! handshake and the frames after it, byte for byte, and inputs that must not open.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::cell::Cell;
use std::sync::Arc;

use paddington_crypto::kem::{EncapsulationSeed, KemKeyPair};
use paddington_crypto::sealed::Layers;
use paddington_crypto::{KeyPair, SecretKey};
use paddington_wire::sealed::{
    AwaitReady, AwaitReply, Challenge, Credentials, Greeting, HelloRandom, Initiator, Padding,
    ReplyRandom, Responder, SealedSession,
};
use paddington_wire::{
    Ack, Batch, CallBody, CallItem, Calls, CallsState, CloseCode, Completed, Data, FailureCode,
    Features, Frame, HEADER_LEN, HandshakeError, Instance, Messages, Payload, Ready, ReceiveError,
    RejectCode, RejectText, Rejection, Skip, StreamState, Violation,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    server: String,
    client: String,
    inner_key: String,
    outer_key: String,
    challenge: String,
    client_random: String,
    kc: String,
    client_instance: String,
    server_instance: String,
    xwing_seed: String,
    ks: String,
    xwing_eseed: String,
    hello: String,
    reply: String,
    frame_c2s_0_ready: String,
    frame_s2c_0_ready: String,
    frame_s2c_1_data: String,
    c2s_inner_key0: String,
    c2s_outer_key0: String,
    frame_c2s_1_ping_unpadded: String,
    frame_s2c_1024_data: String,
}

const MAX_PAYLOAD: u32 = 1024 * 1024;

fn vectors() -> Vectors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/sealed.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(digits: &str) -> Vec<u8> {
    const_hex::decode(digits).unwrap()
}

fn array<const N: usize>(digits: &str) -> [u8; N] {
    const_hex::decode_to_array(digits).unwrap()
}

fn key(digits: &str) -> SecretKey {
    SecretKey::from_hex(digits).unwrap()
}

fn encapsulation_seed(bytes: &[u8]) -> EncapsulationSeed {
    EncapsulationSeed::from_slice(bytes).unwrap()
}

impl Vectors {
    fn link(&self) -> Arc<Credentials> {
        self.link_of(&self.server, &self.client, &self.inner_key, &self.outer_key)
    }

    fn link_of(&self, server: &str, client: &str, inner: &str, outer: &str) -> Arc<Credentials> {
        let keys = KeyPair::new(Arc::new(key(inner)), Arc::new(key(outer))).unwrap();
        let (server, client) = (server.parse().unwrap(), client.parse().unwrap());
        Arc::new(Credentials::new(&server, &client, &keys))
    }

    /// Makes `count` links with other keys.
    fn others(&self, count: u8) -> Vec<Arc<Credentials>> {
        let outer = |index: u8| const_hex::encode([index; 32]);
        (1..=count).map(|index| self.link_of("s", "c", &self.inner_key, &outer(index))).collect()
    }

    /// Returns the hello with a hint that matches and a body that does not open.
    fn damaged_hello(&self) -> Vec<u8> {
        let mut damaged = bytes(&self.hello);
        damaged[100] ^= 1;
        damaged
    }

    fn challenge(&self) -> Challenge {
        self.challenge.parse().unwrap()
    }

    fn ready(&self, instance: &str) -> Ready {
        let instance = Instance::from(array(instance));
        Ready {
            instance,
            max_payload: MAX_PAYLOAD,
            window: 8 * MAX_PAYLOAD,
            features: Features::NONE,
            mine: vec![StreamState { instance, base: 1, next: 1 }],
            yours: Vec::new(),
            software: "paddington/vectors".parse().unwrap(),
            calls: CallsState::default(),
        }
    }

    fn say_hello(&self) -> (AwaitReply, Vec<u8>) {
        let random = HelloRandom::fixed(
            array(&self.client_random),
            key(&self.kc),
            KemKeyPair::from_seed(&array(&self.xwing_seed)).unwrap(),
        );
        let instance = Instance::from(array(&self.client_instance));
        let (waiting, hello) =
            Initiator::new(self.link(), instance).hello(&self.challenge(), random).unwrap();
        (waiting, hello.to_vec())
    }

    fn answer(
        &self,
        link: Arc<Credentials>,
        hello: &[u8],
    ) -> Result<(AwaitReady, Vec<u8>), HandshakeError> {
        let decoy = Arc::new(Credentials::decoy().unwrap());
        let random =
            ReplyRandom::fixed(key(&self.ks), encapsulation_seed(&bytes(&self.xwing_eseed)));
        let client = Responder::new(self.challenge(), decoy).authenticate(hello, &[link])?;
        let (server, reply) = client.reply(&random)?;
        Ok((server, reply.to_vec()))
    }

    /// Performs the whole handshake, compares it with the vectors, and returns both sides.
    fn establish(&self) -> (Box<SealedSession>, Box<SealedSession>) {
        let (waiting, hello) = self.say_hello();
        assert_eq!(const_hex::encode(&hello), self.hello);
        let (mut server, reply) = self.answer(self.link(), &hello).unwrap();
        assert_eq!(const_hex::encode(&reply), self.reply);
        let server_ready = Frame::Ready(self.ready(&self.server_instance));
        let server_first = server.first(&server_ready).unwrap();
        assert_eq!(const_hex::encode(&server_first), self.frame_s2c_0_ready);

        let mut client = waiting.finish(&reply).unwrap();
        let client_ready = Frame::Ready(self.ready(&self.client_instance));
        let client_first = client.first(&client_ready).unwrap();
        assert_eq!(const_hex::encode(&client_first), self.frame_c2s_0_ready);

        let (client, ready) = session(client.finish(&server_first, MAX_PAYLOAD).unwrap());
        assert_eq!(Frame::Ready(ready), server_ready);
        let (server, ready) = session(server.finish(&client_first, MAX_PAYLOAD).unwrap());
        assert_eq!(Frame::Ready(ready), client_ready);
        (client, server)
    }
}

fn session(greeting: Greeting) -> (Box<SealedSession>, Ready) {
    match greeting {
        Greeting::Ready(session, ready) => (session, ready),
        Greeting::Closed(code) => panic!("closed: {code}"),
    }
}

fn data(number: u64, payload: &'static str) -> Frame {
    Frame::Data(Data {
        stream: 0,
        again: false,
        number,
        ack: Completed::default(),
        payload: payload.into(),
    })
}

#[test]
fn the_handshake_and_its_frames_match_the_vectors() {
    let v = vectors();
    let (mut client, mut server) = v.establish();

    let first = server.encode(&data(1, "1000")).unwrap();
    assert_eq!(const_hex::encode(&first), v.frame_s2c_1_data);
    assert_eq!(client.decode(&first).unwrap(), data(1, "1000"));

    for number in 2..=1024 {
        let payload = if number == 1024 { "-23" } else { "x" };
        let frame = server.encode(&data(number, payload)).unwrap();
        assert_eq!(client.decode(&frame).unwrap(), data(number, payload));
        if number == 1024 {
            assert_eq!(const_hex::encode(&frame), v.frame_s2c_1024_data);
        }
    }
}

#[test]
fn an_unpadded_frame_matches_the_vectors() {
    let v = vectors();
    let (waiting, hello) = v.say_hello();
    let (mut server, reply) = v.answer(v.link(), &hello).unwrap();
    let first = server.first(&Frame::Ready(v.ready(&v.server_instance))).unwrap();
    let mut client = waiting.finish(&reply).unwrap().with_padding(Padding::None);
    client.first(&Frame::Ready(v.ready(&v.client_instance))).unwrap();
    let (mut client, _) = session(client.finish(&first, MAX_PAYLOAD).unwrap());
    let ping = client.encode(&Frame::Ping(7)).unwrap();
    assert_eq!(const_hex::encode(&ping), v.frame_c2s_1_ping_unpadded);
}

#[derive(Deserialize)]
struct BatchVectors {
    messages: Vec<VectorMessage>,
    frame_c2s_1_batch: String,
    frame_c2s_2_bytes: String,
    bad_payloads: Vec<String>,
    bad_plaintexts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum VectorMessage {
    Text(String),
    Bytes(String),
}

impl VectorMessage {
    fn payload(self) -> Payload {
        match self {
            Self::Text(text) => Payload::text(text),
            Self::Bytes(digits) => Payload::bytes(bytes(&digits)),
        }
    }
}

#[test]
fn a_batch_matches_the_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/batch.json");
    let v: BatchVectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let payloads: Vec<_> = v.messages.into_iter().map(VectorMessage::payload).collect();
    let messages = Messages::new(payloads.iter()).unwrap();
    let ack = Completed::default();
    let batch = Frame::Batch(Batch { stream: 0, again: false, first: 1, ack, messages });
    let (mut client, mut server) = vectors().establish();
    let sealed = client.encode(&batch).unwrap();
    assert_eq!(const_hex::encode(&sealed), v.frame_c2s_1_batch);
    let Frame::Batch(opened) = server.decode(&sealed).unwrap() else { panic!("not a batch") };
    assert_eq!(opened.messages.into_iter().collect::<Vec<_>>(), payloads);
    let (number, payload) = (5, payloads[2].clone());
    let data = Frame::Data(Data { stream: 0, again: false, number, ack, payload });
    let sealed = client.encode(&data).unwrap();
    assert_eq!(const_hex::encode(&sealed), v.frame_c2s_2_bytes);
    assert_eq!(server.decode(&sealed).unwrap(), data);
    for payload in v.bad_payloads {
        assert!(Messages::parse(bytes(&payload).into()).is_err(), "{payload}");
    }
    for plaintext in v.bad_plaintexts {
        assert!(violation(&bytes(&plaintext)).is_some(), "{plaintext}");
    }
}

/// Returns the violation that a plaintext is as frame 1 of the client.
fn violation(plaintext: &[u8]) -> Option<Violation> {
    let (v, mut sealed) = (vectors(), [plaintext, &[0; 32]].concat());
    let keys = [&v.c2s_inner_key0, &v.c2s_outer_key0].map(|digits| key(digits));
    Layers::new(&keys[0], &keys[1]).seal(1, &[], &mut sealed).unwrap();
    let (_, mut server) = v.establish();
    match server.decode(&sealed) {
        Err(ReceiveError::Violation(violation)) => Some(violation),
        _ => None,
    }
}

#[derive(Deserialize)]
struct FramesVectors {
    rejected: Vec<RejectedVector>,
    frame_c2s_1_ack: String,
    frame_c2s_2_ack_rejected: String,
    frame_c2s_3_skip: String,
    frame_c2s_4_drain: String,
    frame_c2s_5_close: String,
    bad_payloads: Vec<String>,
    bad_plaintexts: Vec<String>,
}

#[derive(Deserialize)]
struct RejectedVector {
    number: u64,
    code: u16,
    text: String,
}

#[test]
fn frames_that_acknowledge_skip_and_end_match_the_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/frames.json");
    let v: FramesVectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rejected = v.rejected.into_iter().map(|RejectedVector { number, code, text }| Rejection {
        number,
        code: RejectCode(code),
        text: RejectText::cut(&text),
    });
    let ack = |number| Completed { stream: 0, number };
    let plain = Ack { ack: ack(5), credit: 9_000_000, rejected: Vec::new() };
    let rejected = Ack { ack: ack(7), credit: 9_000_100, rejected: rejected.collect() };
    let frames = [
        (Frame::Ack(plain), v.frame_c2s_1_ack),
        (Frame::Ack(rejected), v.frame_c2s_2_ack_rejected),
        (Frame::Skip(Skip { stream: 0, to: 9, ack: ack(7) }), v.frame_c2s_3_skip),
        (Frame::Drain, v.frame_c2s_4_drain),
        (Frame::Close(CloseCode::Removed), v.frame_c2s_5_close),
    ];
    let (mut client, mut server) = vectors().establish();
    for (frame, expected) in frames {
        let sealed = client.encode(&frame).unwrap();
        assert_eq!(const_hex::encode(&sealed), expected, "{frame:?}");
        assert_eq!(server.decode(&sealed).unwrap(), frame);
    }
    for payload in v.bad_payloads {
        let payload = bytes(&payload);
        let mut plaintext = vec![0; HEADER_LEN];
        plaintext[0] = 3;
        plaintext[4..8].copy_from_slice(&(payload.len() as u32).to_be_bytes());
        plaintext.extend(&payload);
        assert_eq!(violation(&plaintext), Some(Violation::BadPayload), "{payload:?}");
    }
    for plaintext in v.bad_plaintexts {
        assert!(violation(&bytes(&plaintext)).is_some(), "{plaintext}");
    }
}

#[derive(Deserialize)]
struct CallsVectors {
    frame_c2s_1_calls: String,
}

fn items() -> Vec<CallItem> {
    let request =
        CallBody::Request { depth: 0, left: Some(1_500), payload: Payload::text("21.5 °C?") };
    let deep = CallBody::Request { depth: 7, left: None, payload: Payload::bytes(vec![0, 0xff]) };
    let failure = CallBody::Failure { code: FailureCode::FAILED, text: "no such sensor".into() };
    [
        (1, request),
        (2, deep),
        (9, CallBody::Reply { payload: Payload::text("") }),
        (10, CallBody::Reply { payload: Payload::bytes(vec![0x80]) }),
        (11, failure),
        (1, CallBody::Cancel),
    ]
    .into_iter()
    .map(|(call, body)| CallItem { call, body })
    .collect()
}

#[test]
fn calls_match_the_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/calls.json");
    let v: CallsVectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let ack = Completed::default();
    let calls = Frame::Calls(Calls { first: 1, ack, received: 5, items: items() });
    let (mut client, mut server) = vectors().establish();
    let sealed = client.encode(&calls).unwrap();
    assert_eq!(const_hex::encode(&sealed), v.frame_c2s_1_calls);
    assert_eq!(server.decode(&sealed).unwrap(), calls);
}

#[test]
fn a_hello_with_any_one_byte_changed_is_refused() {
    let v = vectors();
    let link = v.link();
    for at in 0..bytes(&v.hello).len() {
        let mut hello = bytes(&v.hello);
        hello[at] ^= 1;
        assert!(v.answer(Arc::clone(&link), &hello).is_err(), "{at}");
    }
    for wrong_length in [&bytes(&v.hello)[1..], &[bytes(&v.hello), vec![0]].concat(), &[]] {
        assert!(v.answer(v.link(), wrong_length).is_err());
    }
}

#[test]
fn a_reply_with_any_one_byte_changed_is_refused() {
    let v = vectors();
    for at in (0..bytes(&v.reply).len()).step_by(7) {
        let mut reply = bytes(&v.reply);
        reply[at] ^= 0x80;
        assert!(v.say_hello().0.finish(&reply).is_err(), "{at}");
    }
    for wrong_length in [&bytes(&v.reply)[1..], &[bytes(&v.reply), vec![0]].concat(), &[]] {
        assert!(v.say_hello().0.finish(wrong_length).is_err());
    }
    assert!(v.say_hello().0.finish(&bytes(&v.hello)[..bytes(&v.reply).len()]).is_err());
}

#[test]
fn a_first_frame_with_any_one_byte_changed_is_refused() {
    let v = vectors();
    let frame = bytes(&v.frame_s2c_0_ready);
    for at in 0..frame.len() {
        let client = v.say_hello().0.finish(&bytes(&v.reply)).unwrap();
        let mut changed = frame.clone();
        changed[at] ^= 4;
        assert!(client.finish(&changed, MAX_PAYLOAD).is_err(), "{at}");
    }
}

#[test]
fn other_names_other_keys_and_swapped_keys_are_refused() {
    let v = vectors();
    let hello = bytes(&v.hello);
    let (inner, outer) = (&*v.inner_key, &*v.outer_key);
    for link in [
        v.link_of("echo-server", "echo-client2", inner, outer),
        v.link_of("echo-client", "echo-server", inner, outer),
        v.link_of("echo-server", "echo-client", outer, inner),
        v.link_of("echo-server", "echo-client", inner, &v.kc),
        v.link_of("echo-server", "echo-client", &v.kc, outer),
    ] {
        assert!(v.answer(link, &hello).is_err());
    }
}

#[test]
fn a_hello_for_another_challenge_is_refused() {
    let v = vectors();
    let decoy = Arc::new(Credentials::decoy().unwrap());
    let other = Responder::new(Challenge::from([1; 32]), decoy);
    assert!(other.authenticate(&bytes(&v.hello), &[v.link()]).is_err());
}

#[test]
fn every_refusal_compares_the_hints_of_all_candidates() {
    let v = vectors();
    let (others, damaged) = (v.others(200), v.damaged_hello());
    let compared = |hello: &[u8], candidates: &[Arc<Credentials>]| {
        let count = Cell::new(0);
        let candidates = candidates.iter().inspect(|_| count.set(count.get() + 1));
        let responder = Responder::new(v.challenge(), Arc::new(Credentials::decoy().unwrap()));
        let found = responder.authenticate(hello, candidates).is_ok();
        (found, count.get())
    };
    for position in [0, 63, 64, 200] {
        let mut candidates = others.clone();
        candidates.insert(position, v.link());
        assert_eq!(compared(&damaged, &candidates), (false, 201), "{position}");
        let groups_of_64 = (64 * (position / 64 + 1)).min(201);
        assert_eq!(compared(&bytes(&v.hello), &candidates), (true, groups_of_64), "{position}");
    }
    assert_eq!(compared(&bytes(&v.hello), &others), (false, 200));
    assert_eq!(compared(&damaged, &others), (false, 200));
}

/// A message must not keep the block of a longer frame that came before it.
#[test]
fn a_message_keeps_no_more_in_memory_than_its_frame() {
    let v = vectors();
    let (mut client, mut server) = v.establish();
    let mut number = 0;
    let mut receive = |len: usize| {
        number += 1;
        let payload = Payload::text(vec![b'x'; len]);
        let ack = Completed::default();
        let frame = Frame::Data(Data { stream: 0, again: false, number, ack, payload });
        match client.decode(&server.encode(&frame).unwrap()).unwrap() {
            Frame::Data(data) => data.payload.into_bytes(),
            other => panic!("{other:?}"),
        }
    };
    for len in [1, 100, 2_047, 2_048, 2_049, 2_200, 5_000, 100_000] {
        drop(receive(MAX_PAYLOAD as usize));
        let message = receive(len);
        assert_eq!(message.len(), len);
        let kept = message.try_into_mut().expect("the block is not shared").capacity();
        assert!(kept <= len + len / 16 + 90, "a message of {len} bytes keeps {kept} bytes");
    }
}

#[test]
fn the_right_link_is_found_among_many() {
    let v = vectors();
    let (others, damaged) = (v.others(199), v.damaged_hello());
    for (count, position) in [
        (0, 0),
        (39, 17),
        (63, 0),
        (63, 63),
        (64, 64),
        (127, 63),
        (127, 127),
        (199, 64),
        (199, 199),
    ] {
        let mut candidates = others[..count].to_vec();
        candidates.insert(position, v.link());
        let responder = || Responder::new(v.challenge(), Arc::new(Credentials::decoy().unwrap()));
        let client = responder().authenticate(&bytes(&v.hello), &candidates).unwrap();
        assert_eq!(client.candidate(), position);
        assert_eq!(client.instance(), Instance::from(array(&v.client_instance)));
        assert!(responder().authenticate(&damaged, &candidates).is_err(), "{count} {position}");
        candidates.remove(position);
        assert!(responder().authenticate(&bytes(&v.hello), &candidates).is_err(), "{count}");
    }
}

#[test]
fn reflected_repeated_reordered_and_foreign_frames_do_not_open() {
    let v = vectors();
    let (mut client, mut server) = v.establish();
    let own = client.encode(&Frame::Ping(1)).unwrap();
    assert!(client.decode(&own).is_err(), "reflected");

    let (mut client, _) = v.establish();
    let (first, second) =
        (server.encode(&data(1, "a")).unwrap(), server.encode(&data(2, "b")).unwrap());
    assert!(client.decode(&second).is_err(), "reordered");

    let (mut client, _) = v.establish();
    client.decode(&first).unwrap();
    assert!(client.decode(&first).is_err(), "repeated");

    let (mut client, _) = v.establish();
    assert!(client.decode(&bytes(&v.hello)).is_err(), "a hello");
    let (mut client, _) = v.establish();
    assert!(client.decode(&[]).is_err(), "nothing");
}

#[test]
fn with_other_kem_randomness_all_traffic_keys_differ() {
    let v = vectors();
    let hello = bytes(&v.hello);
    let decoy = Arc::new(Credentials::decoy().unwrap());
    let random = ReplyRandom::fixed(key(&v.ks), encapsulation_seed(&[5; 64]));
    let client = Responder::new(v.challenge(), decoy).authenticate(&hello, &[v.link()]).unwrap();
    let (mut server, _) = client.reply(&random).unwrap();
    let first = server.first(&Frame::Ready(v.ready(&v.server_instance))).unwrap();
    assert_ne!(const_hex::encode(&first), v.frame_s2c_0_ready);
    assert!(server.finish(&bytes(&v.frame_c2s_0_ready), MAX_PAYLOAD).is_err());
}

#[test]
fn both_sides_take_the_secrets_of_the_next_keys_once() {
    let (mut client, mut server) = vectors().establish();
    let (mut ours, mut theirs) = (client.take_exporter().unwrap(), server.take_exporter().unwrap());
    assert!(client.take_exporter().is_none() && server.take_exporter().is_none());
    for generation in [1, 2] {
        assert_eq!(ours.keys(generation).unwrap(), theirs.keys(generation).unwrap());
        ours.advance();
        theirs.advance();
    }
    let ping = Frame::Ping(1);
    assert_eq!(client.decode(&server.encode(&ping).unwrap()).unwrap(), ping, "the session goes on");
}

#[derive(Deserialize)]
struct RenewalVectors {
    link: String,
    renewals: Vec<RenewalVector>,
    frame_c2s_1_renew_asked: String,
    frame_s2c_1_renew: String,
    frame_c2s_2_renewed: String,
    frame_s2c_2_renew: String,
    frame_c2s_3_renewed: String,
}

#[derive(Deserialize)]
struct RenewalVector {
    generation: u64,
    inner_key: String,
    outer_key: String,
    prk_outer: String,
}

#[test]
fn renewals_match_the_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/renewal.json");
    let r: RenewalVectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let v = vectors();
    assert_eq!(v.link().link_id().to_string(), r.link);
    let (mut client, mut server) = v.establish();
    let (mut ours, mut theirs) = (client.take_exporter().unwrap(), server.take_exporter().unwrap());
    for renewal in &r.renewals {
        let keys =
            KeyPair::new(Arc::new(key(&renewal.inner_key)), Arc::new(key(&renewal.outer_key)))
                .unwrap();
        for exporter in [&mut ours, &mut theirs] {
            assert_eq!(exporter.keys(renewal.generation).unwrap(), keys);
            exporter.advance();
        }
        let (hub, sensor) = (v.server.parse().unwrap(), v.client.parse().unwrap());
        let hints = Credentials::new(&hub, &sensor, &keys).hint_key();
        assert_eq!(const_hex::encode(hints.expose_bytes()), renewal.prk_outer);
    }
    let frames = [
        (true, Frame::Renew(0), r.frame_c2s_1_renew_asked),
        (false, Frame::Renew(1), r.frame_s2c_1_renew),
        (true, Frame::Renewed(1), r.frame_c2s_2_renewed),
        (false, Frame::Renew(2), r.frame_s2c_2_renew),
        (true, Frame::Renewed(2), r.frame_c2s_3_renewed),
    ];
    for (is_clients, frame, sealed) in frames {
        let (from, to) =
            if is_clients { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let made = from.encode(&frame).unwrap();
        assert_eq!(const_hex::encode(&made), sealed, "{frame:?}");
        assert_eq!(to.decode(&made).unwrap(), frame);
    }
}
