//! Tests the handshake and the session of the `hex` encoding: the vectors, and the repeats that are
//! refused.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use paddington_crypto::hex::Nonces;
use paddington_crypto::{KeyPair, SecretKey};
use paddington_wire::hex::{Credentials, HexSession, Initiator, authenticate};
use paddington_wire::{HandshakeError, ReceiveError};

fn vectors() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/hex.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn key(digits: &str) -> SecretKey {
    SecretKey::from_hex(digits).unwrap()
}

fn link(inner: &str, outer: &str) -> Arc<Credentials> {
    let keys = KeyPair::new(Arc::new(key(inner)), Arc::new(key(outer))).unwrap();
    Arc::new(Credentials::new(Arc::new(keys)))
}

fn any_link() -> (Arc<Credentials>, Arc<Credentials>) {
    let (inner, outer) = ("11".repeat(32), "22".repeat(32));
    (link(&inner, &outer), link(&inner, &outer))
}

fn established() -> (HexSession, HexSession) {
    let (ours, theirs) = any_link();
    let (waiting, hello) = Initiator::new(theirs).hello().unwrap();
    let (server, reply) = authenticate(&hello, &[ours]).unwrap().reply().unwrap();
    (waiting.finish(&reply).unwrap(), server)
}

#[test]
fn the_handshake_matches_the_vectors() {
    let v = vectors();
    let text = |name: &str| v[name].as_str().unwrap().to_owned();
    let nonce = |name: &str| const_hex::decode_to_array(text(name)).unwrap();
    let nonces = Nonces::fixed(nonce("inner_nonce"), nonce("outer_nonce"));
    let invitation = || link(&text("inner_key"), &text("outer_key"));

    let initiator = Initiator::new(invitation());
    let (waiting, hello) = initiator.hello_with(key(&text("kc")), &nonces).unwrap();
    assert_eq!(hello, text("hello"));
    let client = authenticate(&hello, &[invitation()]).unwrap();
    let (_, reply) = client.reply_with(key(&text("ks")), &nonces).unwrap();
    assert_eq!(reply, text("reply"));
    let mut session = waiting.finish(&reply).unwrap();
    assert_eq!(&*session.decode(&text("message_1000")).unwrap(), "1000");
}

#[test]
fn both_sides_understand_each_other() {
    let (mut client, mut server) = established();
    for text in ["1000", "", "hé \"q\" ✓"] {
        assert_eq!(&*server.decode(&client.encode(text).unwrap()).unwrap(), text);
        assert_eq!(&*client.decode(&server.encode(text).unwrap()).unwrap(), text);
    }
}

#[test]
fn a_repeated_hello_is_refused() {
    let (ours, theirs) = any_link();
    let (_, hello) = Initiator::new(theirs).hello().unwrap();
    authenticate(&hello, &[Arc::clone(&ours)]).unwrap();
    let again = authenticate(&hello, &[Arc::clone(&ours)]).unwrap_err();
    assert_eq!(again, HandshakeError::Replayed);
    let upper = authenticate(&hello.to_uppercase(), &[ours]).unwrap_err();
    assert_eq!(upper, HandshakeError::Replayed, "the case of the digits does not matter");
}

#[test]
fn the_client_is_the_one_whose_keys_open_the_hello() {
    let (ours, theirs) = any_link();
    let (_, hello) = Initiator::new(theirs).hello().unwrap();
    let other = || link(&"33".repeat(32), &"44".repeat(32));
    assert_eq!(authenticate(&hello, &[other(), ours]).unwrap().candidate(), 1);
    assert!(authenticate(&hello, &[other()]).is_err());
    assert!(authenticate(&hello, &[]).is_err());
}

#[test]
fn replayed_and_reflected_frames_are_refused() {
    let (mut client, mut server) = established();
    let frame = client.encode("1").unwrap();
    server.decode(&frame).unwrap();
    assert_eq!(server.decode(&frame), Err(ReceiveError::Replayed));
    assert_eq!(client.decode(&frame), Err(ReceiveError::Replayed), "reflected");
}

#[test]
fn frames_of_another_session_do_not_open() {
    let (mut client, _) = established();
    let (_, mut server) = established();
    let frame = client.encode("1").unwrap();
    assert!(matches!(server.decode(&frame), Err(ReceiveError::Unopenable(_))));
}

#[test]
fn a_reply_to_another_hello_is_refused() {
    let (ours, theirs) = any_link();
    let (_, hello) = Initiator::new(Arc::clone(&theirs)).hello().unwrap();
    let (_, reply) = authenticate(&hello, &[ours]).unwrap().reply().unwrap();
    let (waiting, _) = Initiator::new(theirs).hello().unwrap();
    assert!(waiting.finish(&reply).is_err());
    assert!(waiting_reply_of_any_length().is_err());
}

fn waiting_reply_of_any_length() -> Result<HexSession, HandshakeError> {
    let (_, theirs) = any_link();
    let (waiting, _) = Initiator::new(theirs).hello()?;
    waiting.finish(&"0".repeat(5_000))
}
