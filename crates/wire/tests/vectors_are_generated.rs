//! Generates all vectors of `docs/vectors` again from the formulas of `docs/protocol.md`, not with
//! the code that implements them, and compares. `UPDATE_VECTORS=1` also writes them.

#![recursion_limit = "512"]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::path::PathBuf;
use std::sync::Arc;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use orion::hazardous::aead::xchacha20poly1305::{
    Nonce as XNonce, SecretKey as XKey, XChaCha20Poly1305,
};
use paddington_crypto::hex::{self, Nonces};
use paddington_crypto::kdf::{Prk, hash};
use paddington_crypto::kem::{self, EncapsulationSeed, KemKeyPair};
use paddington_crypto::{KeyPair, SecretKey};
use paddington_wire::sealed::{
    AwaitReply, Challenge, Credentials, HelloRandom, Initiator, Responder,
};
use paddington_wire::{HandshakeError, Instance};
use serde_json::{Map, Value, json};

/// Returns `N` bytes that count up from `start`.
fn counting<const N: usize>(start: u8) -> [u8; N] {
    std::array::from_fn(|index| start.wrapping_add(index as u8))
}

fn digits(bytes: impl AsRef<[u8]>) -> Value {
    const_hex::encode(bytes.as_ref()).into()
}

fn lp(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn key(bytes: &[u8]) -> SecretKey {
    SecretKey::from_slice(bytes).unwrap()
}

/// A cipher of §1.2: `SealX` or `SealG`, with a key, a number, associated data and a text.
type Seal = fn(&[u8], u64, &[u8], &[u8]) -> Vec<u8>;

fn seal_x(key: &[u8], number: u64, ad: &[u8], text: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 24];
    nonce[16..].copy_from_slice(&number.to_be_bytes());
    let (key, nonce) = (XKey::try_from(key).unwrap(), XNonce::from(nonce));
    let mut sealed = text.to_vec();
    let tag = XChaCha20Poly1305::seal_inplace(&key, &nonce, Some(ad), &mut sealed).unwrap();
    sealed.extend(tag.unprotected_as_ref());
    sealed
}

fn seal_g(key: &[u8], number: u64, ad: &[u8], text: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    let cipher = Aes256Gcm::new(key.try_into().unwrap());
    let mut sealed = text.to_vec();
    let tag =
        cipher.encrypt_inout_detached(&nonce.into(), ad, sealed.as_mut_slice().into()).unwrap();
    sealed.extend(tag);
    sealed
}

/// Returns SealG(outer, n, ad, SealX(inner, n, ad, text)).
fn seal_twice(inner: &[u8], outer: &[u8], number: u64, ad: &[u8], text: &[u8]) -> Vec<u8> {
    seal_g(outer, number, ad, &seal_x(inner, number, ad, text))
}

/// Returns a plaintext of §4.1, padded to `total` bytes.
fn plaintext(kind: u8, id: u64, payload: &[u8], total: usize) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend(payload);
    bytes.resize(bytes.len().max(total), 0);
    bytes
}

fn ready(instance: [u8; 16]) -> Vec<u8> {
    let mut payload = instance.to_vec();
    payload.extend(1_048_576_u32.to_be_bytes());
    payload.extend(8_388_608_u32.to_be_bytes());
    payload.extend([0; 8]);
    payload.extend([0, 1, 0, 0]);
    payload.extend(instance);
    payload.extend(1_u64.to_be_bytes());
    payload.extend(1_u64.to_be_bytes());
    payload.extend(lp("paddington/vectors"));
    plaintext(1, 0, &payload, 128)
}

struct Direction {
    inner: Prk,
    outer: Prk,
}

impl Direction {
    fn keys(&self) -> [[u8; 32]; 2] {
        [*self.inner.derive("key", &[]), *self.outer.derive("key", &[])]
    }

    fn next(&self) -> Self {
        Self {
            inner: self.inner.derive_prk("next", &[]),
            outer: self.outer.derive_prk("next", &[]),
        }
    }

    fn seal(&self, number: u64, text: &[u8]) -> Vec<u8> {
        let [inner, outer] = self.keys();
        seal_twice(&inner, &outer, number, &[], text)
    }
}

/// Computes §1.2 to §3.3 with the fixed values of §14.
fn sealed() -> Map<String, Value> {
    let protocol = "paddington/1 sealed X-Wing HKDF-SHA512 XChaCha20Poly1305 AES256GCM";
    let (server, client) = ("echo-server", "echo-client");
    let (inner_key, outer_key): ([u8; 32], [u8; 32]) = (counting(0x00), counting(0x20));
    let (ch, cr, kc, ks): ([u8; 32], [u8; 32], [u8; 32], [u8; 32]) =
        (counting(0x40), counting(0x60), counting(0x80), counting(0xc0));
    let (seed, eseed): ([u8; 32], [u8; 64]) = (counting(0xa0), counting(0xe0));
    let (client_instance, server_instance): ([u8; 16], [u8; 16]) = (counting(0x01), counting(0x11));

    let h0 = hash(&[&lp(protocol), &lp(server), &lp(client)]);
    let (pi, po) = (Prk::extract(&h0, &[&inner_key]), Prk::extract(&h0, &[&outer_key]));
    let hint = *po.derive::<16>("hint", &[ch, cr].concat());
    let h1 = hash(&[&h0, &ch, &cr, &hint]);
    let (hi, ho) = (*pi.derive::<32>("hello inner", &h1), *po.derive::<32>("hello outer", &h1));
    let pair = KemKeyPair::from_seed(&seed).unwrap();
    let body = [&kc[..], &client_instance, pair.encapsulation_key()].concat();
    let hello_sealed = seal_twice(&hi, &ho, 0, &h1, &body);
    let hello = [&hint[..], &cr, &hello_sealed].concat();

    let h2 = hash(&[&h1, &hello_sealed]);
    let ri = *pi.derive::<32>("reply inner", &h2);
    let ro = *Prk::extract(&h2, &[&kc]).derive::<32>("reply outer", &h2);
    let encapsulation_seed = EncapsulationSeed::from_slice(&eseed).unwrap();
    let (ct, ss) = kem::encapsulate(pair.encapsulation_key(), &encapsulation_seed).unwrap();
    let reply = seal_twice(&ri, &ro, 0, &h2, &[&ks[..], &ct].concat());

    let h3 = hash(&[&h2, &reply]);
    let secret = |tag: u8, key: &[u8]| {
        let parts: [&[u8]; 5] =
            [&[tag], key, ss.expose_bytes(), pi.expose_bytes(), po.expose_bytes()];
        Prk::extract(&h3, &parts)
    };
    let (si, so) = (secret(1, &ks), secret(2, &kc));
    let direction = |label: &str| Direction {
        inner: si.derive_prk(label, &h3),
        outer: so.derive_prk(label, &h3),
    };
    let (c2s, s2c) = (direction("c2s"), direction("s2c"));
    let later = s2c.next();

    let value = json!({
        "server": server, "client": client,
        "inner_key": digits(inner_key), "outer_key": digits(outer_key),
        "challenge": digits(ch), "client_random": digits(cr), "kc": digits(kc), "ks": digits(ks),
        "client_instance": digits(client_instance), "server_instance": digits(server_instance),
        "xwing_seed": digits(seed), "xwing_eseed": digits(eseed),
        "h0": digits(h0), "prk_inner": digits(pi.expose_bytes()), "prk_outer": digits(po.expose_bytes()),
        "hint": digits(hint), "h1": digits(h1),
        "hello_inner_key": digits(hi), "hello_outer_key": digits(ho),
        "reply_inner_key": digits(ri), "reply_outer_key": digits(ro),
        "xwing_ek": digits(pair.encapsulation_key()), "hello": digits(&hello), "h2": digits(h2),
        "xwing_ct": digits(ct), "ss": digits(ss.expose_bytes()), "reply": digits(&reply), "h3": digits(h3),
        "session_inner": digits(si.expose_bytes()), "session_outer": digits(so.expose_bytes()),
        "s2c_inner_secret0": digits(s2c.inner.expose_bytes()),
        "s2c_outer_secret0": digits(s2c.outer.expose_bytes()),
        "c2s_inner_key0": digits(c2s.keys()[0]), "c2s_outer_key0": digits(c2s.keys()[1]),
        "s2c_inner_key0": digits(s2c.keys()[0]), "s2c_outer_key0": digits(s2c.keys()[1]),
        "s2c_inner_key1": digits(later.keys()[0]), "s2c_outer_key1": digits(later.keys()[1]),
        "frame_c2s_0_ready": digits(c2s.seal(0, &ready(client_instance))),
        "frame_s2c_0_ready": digits(s2c.seal(0, &ready(server_instance))),
        "frame_s2c_1_data": digits(s2c.seal(1, &plaintext(2, 1, b"1000", 128))),
        "frame_c2s_1_ping_unpadded": digits(c2s.seal(1, &plaintext(4, 7, b"", 0))),
        "frame_s2c_1024_data": digits(later.seal(1024, &plaintext(2, 1024, b"-23", 128))),
    });
    into_map(value)
}

/// Computes §11.1 with the fixed values of §14.
fn hex_vectors() -> Map<String, Value> {
    let secret = |start: u8| Arc::new(key(&counting::<32>(start)));
    let pair = |inner: u8, outer: u8| KeyPair::new(secret(inner), secret(outer)).unwrap();
    let (inner_nonce, outer_nonce): ([u8; 24], [u8; 24]) = (counting(0x10), counting(0x30));
    let nonces = Nonces::fixed(inner_nonce, outer_nonce);
    let session = pair(0xc0, 0x80);
    let text = "hé \"q\" ✓";
    into_map(json!({
        "inner_key": digits(counting::<32>(0x00)), "outer_key": digits(counting::<32>(0x20)),
        "kc": digits(counting::<32>(0x80)), "ks": digits(counting::<32>(0xc0)),
        "inner_nonce": digits(inner_nonce), "outer_nonce": digits(outer_nonce),
        "hello": hex::seal_key(&pair(0x00, 0x20), &secret(0x80), &nonces).unwrap(),
        "reply": hex::seal_key(&pair(0x00, 0x80), &secret(0xc0), &nonces).unwrap(),
        "message_1000": hex::seal(&session, "1000", &nonces).unwrap(),
        "message_utf8_text": text,
        "message_utf8": hex::seal(&session, text, &nonces).unwrap(),
    }))
}

/// Computes a BATCH of §4.1 in the session of `sealed`, and a DATA with bytes after it.
fn batch(sealed: &Map<String, Value>) -> Map<String, Value> {
    let messages: [(&str, &[u8]); 4] = [
        ("text", b"1000"),
        ("text", b""),
        ("bytes", &[0x00, 0xff, 0x80]),
        ("text", "hé \"q\" ✓".as_bytes()),
    ];
    let entry = |(kind, message): &(&str, &[u8])| {
        let mut head = (message.len() as u32).to_be_bytes();
        head[0] = u8::from(*kind == "bytes");
        [&head, *message].concat()
    };
    let payload: Vec<u8> = messages.iter().flat_map(entry).collect();
    let shown = messages.map(|(kind, message)| match kind {
        "bytes" => json!({ kind: digits(message) }),
        _ => json!({ kind: str::from_utf8(message).unwrap() }),
    });
    let flagged = |kind: u8, flags: u8, payload: &[u8]| {
        let mut bytes = plaintext(kind, 1, payload, 128);
        bytes[3] = flags;
        bytes
    };
    let plaintext = plaintext(9, 1, &payload, 128);
    let mut data = flagged(2, 2, messages[2].1);
    data[15] = 5;
    let key = |name: &str| const_hex::decode(text(sealed, name)).unwrap();
    let (inner, outer) = (key("c2s_inner_key0"), key("c2s_outer_key0"));
    let whole = const_hex::encode(&payload);
    let cut = |digits: usize| whole[..whole.len() - digits].to_owned();
    let many = "00000000".repeat(1025);
    let unknown_flags = [flagged(2, 4, b"1000"), flagged(2, 0x83, b"1000")];
    let not_of_this_kind = [3, 4, 5, 6, 7].map(|kind| flagged(kind, 2, b""));
    into_map(json!({
        "messages": shown,
        "plaintext": digits(&plaintext),
        "frame_c2s_1_batch": digits(seal_twice(&inner, &outer, 1, &[], &plaintext)),
        "frame_c2s_2_bytes": digits(seal_twice(&inner, &outer, 2, &[], &data)),
        "bad_payloads": [
            "", "000000", cut(2), format!("{whole}00"), format!("{whole}00000001"),
            "00ffffff00", "ffffffff00", "0200000131", "8000000131", format!("{whole}0300000131"),
            many,
        ],
        "bad_plaintexts": unknown_flags
            .iter()
            .chain(&not_of_this_kind)
            .chain([&flagged(9, 2, &payload), &flagged(9, 3, &payload)])
            .map(digits)
            .collect::<Value>(),
    }))
}

/// Makes an item of §4.1, without its length.
fn item(what: u8, flags: u8, short: u16, long: u32, call: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![what, flags];
    bytes.extend(short.to_be_bytes());
    bytes.extend(long.to_be_bytes());
    bytes.extend(call.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Returns a payload of CALLS.
fn calls_payload(received: u64, items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = received.to_be_bytes().to_vec();
    for item in items {
        bytes.extend((item.len() as u32).to_be_bytes());
        bytes.extend(item);
    }
    bytes
}

/// Computes a READY with the part about calls, and a CALLS of §4.1 in the session of `sealed`.
fn calls(sealed: &Map<String, Value>) -> Map<String, Value> {
    let mut ready = ready(counting(0x01))[24..].to_vec();
    ready.truncate(36 + 32 + 19);
    ready[31] = 3;
    ready.extend(128_u16.to_be_bytes());
    ready.extend(2_097_152_u32.to_be_bytes());
    ready.extend(counting::<16>(0x11));
    ready.extend(5_u64.to_be_bytes());

    let described = json!([
        { "what": "request", "call": 1, "depth": 0, "left": 1500, "text": "21.5 °C?" },
        { "what": "request", "call": 2, "depth": 7, "left": null, "bytes": "00ff" },
        { "what": "reply", "call": 9, "text": "" },
        { "what": "reply", "call": 10, "bytes": "80" },
        { "what": "failure", "call": 11, "code": 1, "text": "no such sensor" },
        { "what": "cancel", "call": 1 },
    ]);
    let items = [
        item(1, 0, 0, 1_500, 1, "21.5 °C?".as_bytes()),
        item(1, 1, 7, u32::MAX, 2, &[0x00, 0xff]),
        item(2, 0, 0, 0, 9, b""),
        item(2, 1, 0, 0, 10, &[0x80]),
        item(3, 0, 1, 0, 11, b"no such sensor"),
        item(4, 0, 0, 0, 1, b""),
    ];
    let payload = calls_payload(5, &items);
    let frame = plaintext(10, 1, &payload, 192);
    let key = |name: &str| const_hex::decode(text(sealed, name)).unwrap();
    let (inner, outer) = (key("c2s_inner_key0"), key("c2s_outer_key0"));
    let one = |item: Vec<u8>| digits(calls_payload(0, &[item]));
    into_map(json!({
        "ready": digits(plaintext(1, 0, &ready, 144)),
        "items": described,
        "plaintext": digits(&frame),
        "frame_c2s_1_calls": digits(seal_twice(&inner, &outer, 1, &[], &frame)),
        "bad_payloads": [
            "", "00000000000005", digits(&payload[..payload.len() - 1]),
            digits([&payload[..], &[0]].concat()), digits([&payload[..], &[0, 0, 0, 15]].concat()),
            one(item(0, 0, 0, 0, 1, b"")), one(item(5, 0, 0, 0, 1, b"")),
            one(item(1, 2, 0, 0, 1, b"")), one(item(1, 0, 8, 0, 1, b"")),
            one(item(2, 0, 1, 0, 1, b"")), one(item(2, 0, 0, 1, 1, b"")),
            one(item(3, 1, 1, 0, 1, b"")), one(item(3, 0, 1, 1, 1, b"")),
            one(item(3, 0, 1, 0, 1, &[b'x'; 1025])), one(item(3, 0, 1, 0, 1, &[0xff])),
            one(item(4, 0, 0, 0, 1, b"x")), one(item(4, 1, 0, 0, 1, b"")),
            digits(calls_payload(0, &vec![item(4, 0, 0, 0, 1, b""); 1025])),
        ],
    }))
}

/// Computes the renewals of §5.5 in the session of `sealed`: two generations of keys, and the frames
/// about them.
fn renewal(sealed: &Map<String, Value>) -> Map<String, Value> {
    let bytes = |name: &str| const_hex::decode(text(sealed, name)).unwrap();
    let prk = |name: &str| Prk::from_slice(&bytes(name)).unwrap();
    let h3 = bytes("h3");
    let first = ["session_inner", "session_outer"].map(|name| prk(name).derive_prk("renew", &h3));
    let second = first.each_ref().map(|secret| secret.derive_prk("next", &[]));
    let generation = |[inner, outer]: &[Prk; 2], number: u64| {
        let keys = [inner, outer].map(|it| *it.derive::<32>("key", &number.to_be_bytes()));
        let h0 = bytes("h0");
        let [pi, po] = keys.each_ref().map(|key| Prk::extract(&h0, &[key]));
        let handshake = [bytes("challenge"), bytes("client_random")].concat();
        json!({
            "xi": digits(inner.expose_bytes()), "xo": digits(outer.expose_bytes()),
            "generation": number,
            "inner_key": digits(keys[0]), "outer_key": digits(keys[1]),
            "prk_inner": digits(pi.expose_bytes()), "prk_outer": digits(po.expose_bytes()),
            "hint": digits(*po.derive::<16>("hint", &handshake)),
        })
    };
    let mut ready = ready(counting(0x01));
    ready[24 + 31] = 4;
    let seal = |from: &str, number: u64, text: &[u8]| {
        let keys = ["inner", "outer"].map(|layer| bytes(&format!("{from}_{layer}_key0")));
        digits(seal_twice(&keys[0], &keys[1], number, &[], text))
    };
    let with = |kind: u8, at: usize, value: u8| {
        let mut bytes = plaintext(kind, 1, b"", 128);
        bytes[at] = value;
        digits(bytes)
    };
    let bad = [11, 12].into_iter().flat_map(|kind| {
        let fields = [(1, 1), (2, 1), (3, 1), (3, 2), (7, 1), (16, 1), (23, 1), (24, 1), (127, 1)];
        let fields = fields.map(|(at, value)| with(kind, at, value));
        let payload = digits(plaintext(kind, 1, &[0], 128));
        fields.into_iter().chain([payload, digits(&plaintext(kind, 1, b"", 0)[..23])])
    });
    into_map(json!({
        "link": digits(*prk("prk_outer").derive::<16>("link", &[])),
        "ready": digits(ready),
        "renewals": [generation(&first, 1), generation(&second, 2)],
        "frame_c2s_1_renew_asked": seal("c2s", 1, &plaintext(11, 0, b"", 128)),
        "frame_s2c_1_renew": seal("s2c", 1, &plaintext(11, 1, b"", 128)),
        "frame_c2s_2_renewed": seal("c2s", 2, &plaintext(12, 1, b"", 128)),
        "frame_s2c_2_renew": seal("s2c", 2, &plaintext(11, 2, b"", 128)),
        "frame_c2s_3_renewed": seal("c2s", 3, &plaintext(12, 2, b"", 128)),
        "bad_plaintexts": bad.collect::<Value>(),
    }))
}

/// Returns an entry of an ACK.
fn rejection(number: u64, code: u16, text: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &code.to_be_bytes(), &[text.len() as u8], text].concat()
}

/// Computes the frames of §4.1 that acknowledge, skip and end, in the session of `sealed`.
fn frames(sealed: &Map<String, Value>) -> Map<String, Value> {
    let rejected = [(6, 2, ""), (7, 1, "hé \"q\" ✓")];
    let entries: Vec<_> = rejected
        .iter()
        .map(|(number, code, text)| rejection(*number, *code, text.as_bytes()))
        .collect();
    let payload = entries.concat();
    let acking = |kind: u8, id: u64, ack: u8, payload: &[u8]| {
        let mut bytes = plaintext(kind, id, payload, 128);
        bytes[23] = ack;
        bytes
    };
    let frames = [
        ("ack", acking(3, 9_000_000, 5, b"")),
        ("ack_rejected", acking(3, 9_000_100, 7, &payload)),
        ("skip", acking(7, 9, 7, b"")),
        ("drain", plaintext(8, 0, b"", 128)),
        ("close", plaintext(6, 7, b"", 128)),
    ];
    let key = |name: &str| const_hex::decode(text(sealed, name)).unwrap();
    let (inner, outer) = (key("c2s_inner_key0"), key("c2s_outer_key0"));
    let shown = rejected.map(|it| json!({ "number": it.0, "code": it.1, "text": it.2 }));
    let mut made = into_map(json!({
        "rejected": shown,
        "bad_payloads": [
            digits(&payload[..5]), digits(&payload[..10]), digits(&payload[..payload.len() - 1]),
            digits([&payload[..], &[0]].concat()), digits([payload.clone(), vec![0; 10]].concat()),
            digits(rejection(7, 1, b"\xff")), digits(rejection(7, 1, &"é".as_bytes()[..1])),
            digits(rejection(7, 1, b"").repeat(1025)),
        ],
        "bad_plaintexts": bad_frames().into_iter().map(digits).collect::<Value>(),
    }));
    for (number, (name, plaintext)) in (1..).zip(frames) {
        let frame = seal_twice(&inner, &outer, number, &[], &plaintext);
        made.insert(name.to_owned(), digits(plaintext));
        made.insert(format!("frame_c2s_{number}_{name}"), digits(frame));
    }
    made
}

/// Returns frames of `frames` with a byte that is not zero where it has to be, or a payload where none
/// belongs.
fn bad_frames() -> Vec<Vec<u8>> {
    let with = |kind: u8, id: u64, at: usize| {
        let mut bytes = plaintext(kind, id, b"", 128);
        bytes[at] = 1;
        bytes
    };
    let ack = [1, 3, 24, 127].map(|at| with(3, 1, at));
    let skip = [3, 24, 127].map(|at| with(7, 1, at));
    let close = [1, 2, 3, 16, 23, 24, 127].map(|at| with(6, 1, at));
    let drain = [1, 2, 3, 8, 15, 16, 23, 24, 127].map(|at| with(8, 0, at));
    let payloads = [6, 7, 8].map(|kind| plaintext(kind, 0, &[0], 128));
    let all = [&ack[..], &skip, &close, &drain, &payloads].concat();
    let cut = [3, 6, 7, 8].map(|kind| plaintext(kind, 0, b"", 0)[..23].to_vec());
    [all, cut.to_vec()].concat()
}

/// Seals the body of each message of the handshake, and each READY, under the right keys but with
/// other ciphers than its layers have.
fn other_ciphers(sealed: &Map<String, Value>) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let bytes = |name: &str| const_hex::decode(text(sealed, name)).unwrap();
    let instance = |name: &str| bytes(name).try_into().unwrap();
    let hello = [bytes("kc"), bytes("client_instance"), bytes("xwing_ek")].concat();
    let reply = [bytes("ks"), bytes("xwing_ct")].concat();
    let (client, server) = (ready(instance("client_instance")), ready(instance("server_instance")));
    let ciphers: [(&str, Seal, Seal); 3] = [
        ("both layers are of XChaCha20-Poly1305", seal_x, seal_x),
        ("both layers are of AES-256-GCM", seal_g, seal_g),
        ("the ciphers of the layers are exchanged", seal_g, seal_x),
    ];
    let mut cases = Vec::new();
    for (of, keys, ad, body) in [
        ("hello", "hello_{}_key", bytes("h1"), hello),
        ("reply", "reply_{}_key", bytes("h2"), reply),
        ("frame_s2c_0_ready", "s2c_{}_key0", Vec::new(), server),
        ("frame_c2s_0_ready", "c2s_{}_key0", Vec::new(), client),
    ] {
        let [inner, outer] = ["inner", "outer"].map(|layer| bytes(&keys.replace("{}", layer)));
        for (why, seal_inner, seal_outer) in ciphers {
            let made = seal_outer(&outer, 0, &ad, &seal_inner(&inner, 0, &ad, &body));
            let before = if of == "hello" { &bytes("hello")[..48] } else { &[] };
            cases.push((of, why, [before, &made].concat()));
        }
    }
    cases
}

/// Makes the inputs that must not open: every good vector with a bit changed, a byte missing or a
/// byte added, with other ciphers, and the right bytes between services of other names.
fn negative(sealed: &Map<String, Value>, hex: &Map<String, Value>) -> Map<String, Value> {
    let mut cases = Vec::new();
    let mut add = |of: &str, why: &str, bytes: String| {
        cases.push(json!({ "of": of, "why": why, "bytes": bytes }));
    };
    for of in ["hello", "reply", "frame_s2c_0_ready", "frame_c2s_0_ready"] {
        let bytes = const_hex::decode(text(sealed, of)).unwrap();
        for at in [0, 16, 48, bytes.len() / 2, bytes.len() - 17, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            add(of, &format!("bit 0 of byte {at} is changed"), const_hex::encode(changed));
        }
        add(of, "the last byte is missing", const_hex::encode(&bytes[..bytes.len() - 1]));
        add(of, "a byte too many", const_hex::encode([&bytes[..], &[0]].concat()));
    }
    for (of, why, bytes) in other_ciphers(sealed) {
        add(of, why, const_hex::encode(bytes));
    }
    for (of, name) in [("hello", "hex_hello"), ("message_1000", "hex_message_1000")] {
        let envelope = text(hex, of);
        for at in [0, 47, 48, envelope.len() / 2, envelope.len() - 33, envelope.len() - 1] {
            let other = if envelope.as_bytes()[at] == b'0' { "1" } else { "0" };
            let mut changed = envelope.to_owned();
            changed.replace_range(at..=at, other);
            add(name, &format!("digit {at} is changed"), changed);
        }
        add(name, "the last digit is missing", envelope[..envelope.len() - 1].to_owned());
        add(name, "the last byte is missing", envelope[..envelope.len() - 2].to_owned());
        add(name, "a byte too many", format!("{envelope}00"));
    }
    into_map(json!({
        "note": "none of these opens under the keys of the vector that it is made of; \
                 nor does the hello of sealed.json between services of other names",
        "other_names": [["echo-server", "echo-client2"], ["echo-client", "echo-server"]],
        "cases": cases,
    }))
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

fn text<'a>(map: &'a Map<String, Value>, name: &str) -> &'a str {
    map[name].as_str().unwrap()
}

fn compare(name: &str, made: &Map<String, Value>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors").join(name);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(made).unwrap() + "\n").unwrap();
    }
    let written: Map<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (field, value) in made {
        assert_eq!(written.get(field), Some(value), "{name}: {field}");
    }
    assert_eq!(written.len(), made.len(), "{name}");
}

#[test]
fn the_stored_vectors_match_the_formulas() {
    let (sealed, hex) = (sealed(), hex_vectors());
    compare("sealed.json", &sealed);
    compare("hex.json", &hex);
    compare("batch.json", &batch(&sealed));
    compare("calls.json", &calls(&sealed));
    compare("renewal.json", &renewal(&sealed));
    compare("frames.json", &frames(&sealed));
    compare("negative.json", &negative(&sealed, &hex));
}

struct Link {
    credentials: Arc<Credentials>,
    sealed: Map<String, Value>,
}

impl Link {
    fn new(server: &str, client: &str) -> Self {
        let secret = |start: u8| Arc::new(key(&counting::<32>(start)));
        let pair = KeyPair::new(secret(0x00), secret(0x20)).unwrap();
        let credentials =
            Credentials::new(&server.parse().unwrap(), &client.parse().unwrap(), &pair);
        Self { credentials: Arc::new(credentials), sealed: sealed() }
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        const_hex::decode(text(&self.sealed, name)).unwrap()
    }

    fn challenge(&self) -> Challenge {
        Challenge::from(counting(0x40))
    }

    fn client(&self) -> AwaitReply {
        let kem = KemKeyPair::from_seed(&counting(0xa0)).unwrap();
        let random = HelloRandom::fixed(counting(0x60), key(&counting::<32>(0x80)), kem);
        let initiator =
            Initiator::new(Arc::clone(&self.credentials), Instance::from(counting(0x01)));
        initiator.hello(&self.challenge(), random).unwrap().0
    }

    fn open(&self, of: &str, bytes: &[u8]) -> Result<(), HandshakeError> {
        match of {
            "hello" => {
                let decoy = Arc::new(Credentials::decoy().unwrap());
                let responder = Responder::new(self.challenge(), decoy);
                responder.authenticate(bytes, &[Arc::clone(&self.credentials)]).map(drop)
            }
            "reply" => self.client().finish(bytes).map(drop),
            "frame_s2c_0_ready" => {
                self.client().finish(&self.bytes("reply"))?.finish(bytes, 1 << 20).map(drop)
            }
            "frame_c2s_0_ready" => {
                let decoy = Arc::new(Credentials::decoy().unwrap());
                let responder = Responder::new(self.challenge(), decoy);
                let hello = self.bytes("hello");
                let client = responder.authenticate(&hello, &[Arc::clone(&self.credentials)])?;
                let random = paddington_wire::sealed::ReplyRandom::fixed(
                    key(&counting::<32>(0xc0)),
                    EncapsulationSeed::from_slice(&counting::<64>(0xe0)).unwrap(),
                );
                client.reply(&random)?.0.finish(bytes, 1 << 20).map(drop)
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn the_negative_vectors_do_not_open() {
    let (sealed, hex) = (sealed(), hex_vectors());
    let negative = negative(&sealed, &hex);
    let link = Link::new("echo-server", "echo-client");
    for of in ["hello", "reply", "frame_s2c_0_ready", "frame_c2s_0_ready"] {
        link.open(of, &link.bytes(of)).unwrap();
    }
    let secret = |start: u8| Arc::new(key(&counting::<32>(start)));
    let pair = |inner: u8, outer: u8| KeyPair::new(secret(inner), secret(outer)).unwrap();
    for case in negative["cases"].as_array().unwrap() {
        let (of, bytes) = (case["of"].as_str().unwrap(), case["bytes"].as_str().unwrap());
        let refused = match of {
            "hex_hello" => hex::open_key(&pair(0x00, 0x20), bytes).is_err(),
            "hex_message_1000" => hex::open(&pair(0xc0, 0x80), bytes).is_err(),
            of => link.open(of, &const_hex::decode(bytes).unwrap()).is_err(),
        };
        assert!(refused, "{case}");
    }
    for names in negative["other_names"].as_array().unwrap() {
        let other = Link::new(names[0].as_str().unwrap(), names[1].as_str().unwrap());
        assert!(other.open("hello", &link.bytes("hello")).is_err(), "{names}");
    }
}
