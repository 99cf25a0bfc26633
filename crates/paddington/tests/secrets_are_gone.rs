//! Scans the memory of this process for secrets that are done with (`docs/threats.md`: an attacker
//! on the machine): those of a session, while it runs, after its keys were renewed, and after its
//! end; and the keys of links, after their files were read and written.
//!
//! They say nothing about code that is not optimised, which leaves copies on its stack: `make secrets` runs
//! them, as a part of `make test`.
//!
//! The secrets are those of `docs/vectors/sealed.json`. The tests themselves keep them masked.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use paddington::{AtRest, Encoding, Invite, KeySource, Message, ServiceConfig};
use paddington_crypto::kem::{EncapsulationSeed, KemKeyPair};
use paddington_crypto::{KeyPair, SecretKey};
use paddington_test_support::{WantedSecrets, eventually, pair_with, round_keys, subkey};
use paddington_wire::sealed::{
    Challenge, Credentials, Greeting, HelloRandom, Initiator, ReplyRandom, Responder, SealedSession,
};
use paddington_wire::{
    CallsState, Completed, Data, Features, Frame, Instance, Payload, Ready, Software, StreamState,
};
use serde_json::Value;
use zeroize::Zeroizing;

/// The secrets that a running session keeps: those from which its keys are derived, and its inner keys.
/// orion takes whole keys, ring takes subkeys.
#[cfg(not(feature = "ring"))]
const KEPT: [&str; 4] =
    ["s2c_inner_secret0", "s2c_outer_secret0", "c2s_inner_key0", "s2c_inner_key0"];
#[cfg(feature = "ring")]
const KEPT: [&str; 4] = [
    "s2c_inner_secret0",
    "s2c_outer_secret0",
    "subkey of c2s_inner_key0",
    "subkey of s2c_inner_key0",
];
/// Its outer keys, as they are kept for a processor with instructions for AES. For one without, the
/// round keys are kept in an order of their own, and cannot be found.
const KEPT_FOR_AES: [&str; 4] = [
    "c2s_outer_key0",
    "s2c_outer_key0",
    "round keys of c2s_outer_key0",
    "round keys of s2c_outer_key0",
];
/// The first secrets and keys of a session.
const SESSION: [&str; 6] = [
    "c2s_inner_key0",
    "c2s_outer_key0",
    "s2c_inner_key0",
    "s2c_outer_key0",
    "s2c_inner_secret0",
    "s2c_outer_secret0",
];
/// The secrets of the handshake alone.
const HANDSHAKE: [&str; 11] = [
    "kc",
    "ks",
    "ss",
    "session_inner",
    "session_outer",
    "xwing_seed",
    "xwing_eseed",
    "hello_inner_key",
    "hello_outer_key",
    "reply_inner_key",
    "reply_outer_key",
];
/// The secrets that a link keeps as long as it exists, and the keys from which they come.
const LINK: [&str; 4] = ["inner_key", "outer_key", "prk_inner", "prk_outer"];

const MAX_PAYLOAD: u32 = 8 * 1024;
/// The number of frames with the same keys.
const REKEY_INTERVAL: u64 = 1024;
struct Vectors(Value);

impl Vectors {
    fn load() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/sealed.json");
        Self(serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no {name}"))
    }

    fn bytes(&self, name: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(const_hex::decode(self.text(name)).unwrap())
    }

    fn key(&self, name: &str) -> SecretKey {
        SecretKey::from_hex(self.text(name)).unwrap()
    }

    fn instance(&self, name: &str) -> Instance {
        Instance::from(<[u8; Instance::LEN]>::try_from(self.bytes(name).as_slice()).unwrap())
    }

    fn link(&self) -> Arc<Credentials> {
        let (inner, outer) = (Arc::new(self.key("inner_key")), Arc::new(self.key("outer_key")));
        let keys = KeyPair::new(inner, outer).unwrap();
        let (server, client) = (self.text("server"), self.text("client"));
        Arc::new(Credentials::new(&server.parse().unwrap(), &client.parse().unwrap(), &keys))
    }
}

/// Performs the handshake of the vectors, and returns both sides of its session.
#[inline(never)]
fn establish(v: &Vectors) -> (Box<SealedSession>, Box<SealedSession>) {
    let link = v.link();
    let challenge: Challenge = v.text("challenge").parse().unwrap();
    let random = HelloRandom::fixed(
        v.bytes("client_random").as_slice().try_into().unwrap(),
        v.key("kc"),
        KemKeyPair::from_seed(v.bytes("xwing_seed").as_slice().try_into().unwrap()).unwrap(),
    );
    let client = Initiator::new(Arc::clone(&link), v.instance("client_instance"));
    let (client, hello) = client.hello(&challenge, random).unwrap();

    let decoy = Arc::new(Credentials::decoy().unwrap());
    let seed = EncapsulationSeed::from_slice(&v.bytes("xwing_eseed")).unwrap();
    let random = ReplyRandom::fixed(v.key("ks"), seed);
    let server = Responder::new(challenge, decoy).authenticate(&hello, &[link]).unwrap();
    let (mut server, reply) = server.reply(&random).unwrap();
    let mut client = client.finish(&reply).unwrap();
    drop(random);

    let from_server = server.first(&ready(v.instance("server_instance"))).unwrap();
    let from_client = client.first(&ready(v.instance("client_instance"))).unwrap();
    (
        session(client.finish(&from_server, MAX_PAYLOAD).unwrap()),
        session(server.finish(&from_client, MAX_PAYLOAD).unwrap()),
    )
}

fn ready(instance: Instance) -> Frame {
    Frame::Ready(Ready {
        instance,
        max_payload: MAX_PAYLOAD,
        window: 8 * MAX_PAYLOAD,
        features: Features::NONE,
        mine: vec![StreamState { instance, base: 1, next: 1 }],
        yours: Vec::new(),
        software: Software::default(),
        calls: CallsState::default(),
    })
}

/// Makes a frame that is long enough for the assembly that needs the stack.
fn data(number: u64) -> Frame {
    Frame::Data(Data {
        stream: 0,
        again: false,
        number,
        ack: Completed::default(),
        payload: Payload::text(vec![b'x'; MAX_PAYLOAD as usize]),
    })
}

fn session(greeting: Greeting) -> Box<SealedSession> {
    match greeting {
        Greeting::Ready(session, _) => session,
        Greeting::Closed(code) => panic!("closed: {code}"),
    }
}

/// Exchanges frames until both directions have renewed their keys.
#[inline(never)]
fn renew_keys(client: &mut SealedSession, server: &mut SealedSession) {
    for number in 1..REKEY_INTERVAL {
        exchange(number, client, server);
    }
}

/// Exchanges a frame while the stack is deeper than for the others, so that they do not overwrite
/// what it leaves.
#[inline(never)]
fn at_another_depth(client: &mut SealedSession, server: &mut SealedSession) {
    let deeper = black_box([0_u8; 4096]);
    exchange(0, client, server);
    black_box(&deeper);
}

#[inline(never)]
fn exchange(number: u64, client: &mut SealedSession, server: &mut SealedSession) {
    let frame = client.encode(&data(number)).unwrap();
    server.decode(&frame).unwrap();
    let frame = server.encode(&data(number)).unwrap();
    client.decode(&frame).unwrap();
}

/// Returns the named secrets of the vectors, and what the ciphers derive from those that are keys of
/// layers.
fn wanted(v: &Vectors, names: &[&str]) -> WantedSecrets {
    // The client's instance, which is no secret, follows a zero byte in READY. That looks like the
    // first half of `inner_key`.
    let public = [&[0], v.bytes("client_instance").as_slice()].concat();
    let mut wanted = WantedSecrets::default();
    for name in names {
        let secret = v.bytes(name);
        wanted.add(name, &secret, &public);
        if name.contains("_inner_key") {
            wanted.add(&format!("subkey of {name}"), &subkey(&secret), &public);
        } else if name.contains("_outer_key") {
            wanted.add(&format!("round keys of {name}"), &round_keys(&secret), &public);
        }
    }
    wanted
}

/// Returns what is found while a session runs.
fn kept() -> BTreeSet<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let has_aes = is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    KEPT.into_iter().chain(KEPT_FOR_AES.into_iter().filter(|_| has_aes)).collect()
}

#[test]
#[ignore = "run by make secrets, optimised"]
fn the_secrets_of_a_session_leave_memory() {
    let v = Vectors::load();
    let secrets = wanted(&v, &[&SESSION[..], &HANDSHAKE, &LINK].concat());
    let none = BTreeSet::new();
    assert_eq!(secrets.found(), none, "the test itself keeps a secret");

    for renews in [true, false] {
        let (mut client, mut server) = establish(&v);
        // Else the scan would see nothing.
        assert_eq!(secrets.found(), kept(), "after the handshake");
        at_another_depth(&mut client, &mut server);
        if renews {
            renew_keys(&mut client, &mut server);
            assert_eq!(secrets.found(), none, "after the keys were renewed");
        }
        drop((client, server));
        assert_eq!(secrets.found(), none, "after the session");
    }
}

#[test]
#[ignore = "run by make secrets, optimised"]
fn the_keys_in_files_leave_memory() {
    let folder = tempfile::tempdir().unwrap();
    let [hub_path, invitation, sensor_path] =
        ["hub.toml", "invitation.toml", "sensor.toml"].map(|name| folder.path().join(name));
    {
        let config = |name| ServiceConfig::new(name, "ws://localhost:6501", "127.0.0.1", &6501);
        let mut hub = config("hub").unwrap();
        // Clients after the first one are read in another way.
        hub.add_client("another", "127.0.0.1").unwrap();
        hub.add_client("sensor", "127.0.0.1").unwrap().save(&invitation).unwrap();
        hub.save(&hub_path).unwrap();
        let mut sensor = config("sensor").unwrap();
        sensor.add_server(Invite::load(&invitation).unwrap()).unwrap();
        sensor.save(&sensor_path).unwrap();
    }
    let mut secrets = WantedSecrets::default();
    add_keys(&invitation, &mut secrets);
    let none = BTreeSet::new();
    assert_eq!(secrets.found(), none, "after the files were written");

    let hub = ServiceConfig::load(&hub_path).unwrap();
    assert_eq!(secrets.found(), BTreeSet::from(["inner, as bytes", "outer, as bytes"]));
    let sensor = ServiceConfig::load(&sensor_path).unwrap();
    drop((hub, sensor));
    assert_eq!(secrets.found(), none, "after the files were read");
}

/// Adds the keys of an invitation, in both forms. Nothing of the product reads them here.
#[inline(never)]
fn add_keys(invitation: &Path, secrets: &mut WantedSecrets) {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    File::open(invitation).unwrap().read_to_end(&mut text).unwrap();
    let keys = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data = \"").map(|rest| &rest[..2 * SecretKey::LEN]));
    for (name, digits) in ["inner", "outer"].into_iter().zip(keys) {
        secrets.add(&format!("{name}, as digits"), digits, b"");
        let bytes = Zeroizing::new(const_hex::decode(digits).unwrap());
        secrets.add(&format!("{name}, as bytes"), &bytes, b"");
    }
}

#[tokio::test(start_paused = true)]
#[ignore = "run by make secrets, optimised"]
async fn the_keys_of_a_link_leave_memory_with_its_services() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let folder = tempfile::tempdir().unwrap();
        let invitation = folder.path().join("invitation.toml");
        pair.invite.save(&invitation).unwrap();
        let mut secrets = WantedSecrets::default();
        add_keys(&invitation, &mut secrets);

        let (server, server_inbox) = pair.start_server().await;
        let (client, client_inbox) = pair.start_client().await;
        client.send(Message::new("server", "there")).await.unwrap();
        assert_eq!(server_inbox.text().await, "there");
        server.send(Message::new("client", "back")).await.unwrap();
        assert_eq!(client_inbox.text().await, "back");
        assert_eq!(secrets.found(), BTreeSet::from(["inner, as bytes", "outer, as bytes"]));

        client.shutdown().await;
        server.shutdown().await;
        drop((client, server, pair));
        // The last tasks end when they are polled.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(secrets.found(), BTreeSet::new(), "{encoding}");
    }
}

#[test]
#[ignore = "run by make secrets, optimised"]
fn the_keys_in_a_folder_of_links_and_under_a_passphrase_leave_memory() {
    let folder = tempfile::tempdir().unwrap();
    let [hub_links, sensor_links, invitation] =
        ["hub", "sensor", "invitation.toml"].map(|name| folder.path().join(name));
    let config = |name, links: &Path| {
        let mut config =
            ServiceConfig::new(name, "ws://localhost:6501", "127.0.0.1", &6501).unwrap();
        config.set_links(links).unwrap();
        config
    };
    {
        let mut hub = config("hub", &hub_links);
        let invite = hub.add_client("sensor", "127.0.0.1").unwrap();
        invite.save_sealed(&invitation, "correct horse").unwrap();
        let mut sensor = config("sensor", &sensor_links);
        assert!(Invite::load_sealed(&invitation, "correct house").is_err());
        sensor.add_server(Invite::load_sealed(&invitation, "correct horse").unwrap()).unwrap();
    }
    let mut secrets = WantedSecrets::default();
    add_keys(&hub_links.join("sensor.toml"), &mut secrets);
    let none = BTreeSet::new();
    assert_eq!(secrets.found(), none, "after the files were written");
    let hub = config("hub", &hub_links);
    assert_eq!(secrets.found(), BTreeSet::from(["inner, as bytes", "outer, as bytes"]));
    drop(hub);
    assert_eq!(secrets.found(), none, "after the files were read");
}

#[test]
#[ignore = "run by make secrets, optimised"]
fn the_keys_of_sealed_links_and_the_secret_that_opens_them_leave_memory() {
    let folder = tempfile::tempdir().unwrap();
    let [secret, invitation] = ["secret", "invitation.toml"].map(|name| folder.path().join(name));
    let config = || {
        let mut config =
            ServiceConfig::new("hub", "ws://localhost:6501", "127.0.0.1", &6501).unwrap();
        let source = KeySource::File(secret.clone());
        config.set_at_rest(AtRest::new(folder.path().join("keyring.toml"), source));
        config.set_links(folder.path().join("links")).unwrap();
        config
    };
    let mut secrets = WantedSecrets::default();
    {
        let key = SecretKey::generate().unwrap();
        let digits = Zeroizing::new(const_hex::encode(key.expose_bytes()));
        fs::write(&secret, digits.as_bytes()).unwrap();
        secrets.add("secret, as digits", digits.as_bytes(), b"");
        secrets.add("secret, as bytes", key.expose_bytes(), b"");
    }
    {
        let mut hub = config();
        hub.add_client("sensor", "127.0.0.1").unwrap().save(&invitation).unwrap();
    }
    add_keys(&invitation, &mut secrets);
    let none = BTreeSet::new();
    assert_eq!(secrets.found(), none, "after the files were sealed");
    let hub = config();
    assert_eq!(secrets.found(), BTreeSet::from(["inner, as bytes", "outer, as bytes"]));
    drop(hub);
    assert_eq!(secrets.found(), none, "after the files were opened");
}

#[tokio::test(start_paused = true)]
#[ignore = "run by make secrets, optimised"]
async fn keys_that_were_agreed_on_leave_memory_with_the_services() {
    let (folder, mut pair) = (tempfile::tempdir().unwrap(), pair_with(Encoding::Sealed));
    pair.server.set_links(folder.path().join("server")).unwrap();
    pair.client.set_links(folder.path().join("client")).unwrap();
    let (server, server_inbox) = pair.start_server().await;
    let (client, client_inbox) = pair.start_client().await;
    client.send(Message::new("server", "there")).await.unwrap();
    assert_eq!(server_inbox.text().await, "there");
    eventually(|| async { server.links()[0].generation == Some(1) }).await;
    eventually(|| async { client.links()[0].generation == Some(1) }).await;

    client.shutdown().await;
    server.shutdown().await;
    drop((client, client_inbox, server, server_inbox, pair));
    for _ in 0..100 {
        tokio::task::yield_now().await; // the last tasks end when they are polled
    }
    for file in ["server/client.toml", "client/server.toml"] {
        let mut secrets = WantedSecrets::default();
        add_keys(&folder.path().join(file), &mut secrets);
        assert_eq!(secrets.found(), BTreeSet::new(), "{file}");
    }
}
