//! What is stored of a link's keys, and what a server makes of a hello (`docs/protocol.md` §3.4 and §3.6).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_wire::keys::{KeyRing, KeyRingError, Origin, Seconds, StoredKeys, Why};
use paddington_wire::sealed::{Challenge, Credentials, HelloRandom, Initiator, Responder};
use paddington_wire::{Bucket, HandshakeError, Instance, InvitedClient, InvitedClients, LinkId};

#[expect(dead_code, reason = "rings need less than renewals")]
mod key_sides;

use key_sides::{NOW, begin, first_session, keys, names, renewed, session};

#[test]
fn a_ring_is_read_back_as_it_was_stored() {
    let [hub, sensor] = names();
    let [_, server] = renewed();
    for ring in [begin(&keys(), Some(5)), server.invite(keys(), Some(7), 6).unwrap(), server] {
        let stored = ring.to_stored();
        let read = KeyRing::from_stored(&hub, &sensor, stored.clone()).unwrap();
        assert_eq!(read.to_stored(), stored);
        for (ours, theirs) in ring.generations().iter().zip(read.generations()) {
            assert_eq!(ours.credentials().keys_id(), theirs.credentials().keys_id());
        }
    }
}

#[test]
fn nonsense_is_not_read_back() {
    let [hub, sensor] = names();
    let [client, server] = renewed();
    let [_, mut server] = session(&client, &server, 1, NOW + 20);
    server.renewal.ask();
    server.go(NOW + 30);
    let ring = server.ring.invite(keys(), None, NOW).unwrap();
    let good = ring.to_stored();
    let check = |change: &dyn Fn(&mut StoredKeys)| {
        let mut stored = good.clone();
        change(&mut stored);
        KeyRing::from_stored(&hub, &sensor, stored).map(drop)
    };
    assert_eq!(check(&|_| {}), Ok(()));
    assert_eq!(check(&|it| it.generations.clear()), Ok(()), "all have expired");
    let swapped = |pair: &KeyPair| {
        Arc::new(KeyPair::new(Arc::clone(pair.outer()), keys().inner().clone()).unwrap())
    };
    let many = |it: &mut StoredKeys| {
        let mut more = it.generations[2].clone();
        (more.number, more.keys) = (9, keys());
        it.generations.push(more);
    };
    assert_eq!(check(&many), Err(KeyRingError::TooMany));
    let burned = |it: &mut StoredKeys| {
        it.burned = vec![it.burned[0].clone(), it.burned[0].clone(), it.burned[0].clone()];
    };
    assert_eq!(check(&burned), Err(KeyRingError::TooMany));
    assert_eq!(check(&|it| it.generations[1].number = 1), Err(KeyRingError::SameNumber(1)));
    assert_eq!(
        check(&|it| it.generations[2].keys = it.generations[0].keys.clone()),
        Err(KeyRingError::SharedKey)
    );
    assert_eq!(
        check(&|it| it.generations[2].keys = swapped(&it.generations[1].keys)),
        Err(KeyRingError::SharedKey)
    );
    assert_eq!(check(&|it| it.generations[1].used = true), Err(KeyRingError::OutOfOrder));
    assert_eq!(
        check(&|it| it.generations[2].origin = Origin::Agreed),
        Err(KeyRingError::OutOfOrder)
    );
}

#[test]
fn no_secret_is_shown() {
    let ([_, mut server], invitation) = first_session();
    server.go(NOW);
    let shown = format!("{:?} {:?} {:?}", server.ring, server.renewal, server.ring.to_stored());
    for key in [invitation.inner(), invitation.outer()] {
        let digits = const_hex::encode(key.expose_bytes());
        assert!(!shown.contains(&digits) && !shown.contains(&format!("{:?}", key.expose_bytes())));
    }
    assert!(shown.contains("Exporter(..)") && shown.contains("SecretKey(..)"));
}

/// A server with one client, whose keys are those of `ring`.
fn server_of(ring: KeyRing) -> (InvitedClients, LinkId) {
    let client = InvitedClient {
        link: ring.invitation(),
        name: names()[1].clone(),
        range: "10.0.0.0/8".parse().unwrap(),
        bucket: None,
        credentials: paddington_wire::Credentials::Ring(Arc::new(ring)),
    };
    let link = client.link;
    (InvitedClients::new(vec![client]), link)
}

/// Says HELLO with these keys at `now`, and returns what the server makes of it.
fn say_hello(
    clients: &InvitedClients,
    secrets: &Arc<Credentials>,
    now: Seconds,
    spoiled: bool,
) -> Result<u64, Option<(u64, Why)>> {
    let challenge = Challenge::random().unwrap();
    let initiator = Initiator::new(Arc::clone(secrets), Instance::random().unwrap());
    let (_, mut hello) = initiator.hello(&challenge, HelloRandom::generate().unwrap()).unwrap();
    if spoiled {
        hello[1000] ^= 1;
    }
    let responder = Responder::new(challenge, Arc::new(Credentials::decoy().unwrap()));
    let candidates = clients.sealed_candidates("10.0.0.1".parse().unwrap(), None, now);
    match candidates.authenticate(responder, &hello) {
        Ok(recognised) => {
            assert_eq!(recognised.client.name, names()[1]);
            Ok(recognised.generation)
        }
        Err(refused) => {
            assert!(matches!(refused.error, HandshakeError::Unauthenticated(_)));
            Err(refused.worthless.map(|it| (it.generation, it.why)))
        }
    }
}

#[test]
fn a_server_knows_every_generation_and_recognises_what_is_burned_or_expired() {
    let [_, server] = renewed();
    let invitation = keys();
    let later = NOW + 100;
    let server = server.invite(Arc::clone(&invitation), Some(later + 50), later).unwrap();
    let secrets = |number| Arc::clone(server.generation(number).unwrap().credentials());
    let (clients, link) = server_of(server.clone());
    assert_eq!(say_hello(&clients, &secrets(1), later, false), Ok(1));
    assert_eq!(say_hello(&clients, &secrets(2), later, false), Ok(2));
    assert_eq!(say_hello(&clients, &secrets(2), later + 50, false), Err(Some((2, Why::Expired))));
    assert_eq!(say_hello(&clients, &secrets(2), later, true), Err(None), "it is no whole HELLO");
    let stranger = Arc::new(Credentials::new(&names()[0], &names()[1], &keys()));
    assert_eq!(say_hello(&clients, &stranger, later, false), Err(None));

    let used = Arc::new(server.used(2, later).unwrap());
    let ring = paddington_wire::Credentials::Ring(used);
    assert!(clients.change(link, |client| client.credentials = ring));
    assert_eq!(say_hello(&clients, &secrets(2), later + 500, false), Ok(2));
    for spoiled in [false, true] {
        let burned = say_hello(&clients, &secrets(1), later, spoiled);
        assert_eq!(burned, Err(Some((1, Why::Burned))), "the hint alone says so");
    }
    let pruned = server.expire(later + 50).unwrap();
    let (clients, _) = server_of(pruned);
    assert_eq!(say_hello(&clients, &secrets(2), later + 60, false), Err(Some((2, Why::Expired))));
}

#[test]
fn refusing_takes_the_hints_of_a_full_bucket_whatever_its_clients_keys_are() {
    let [client, server] = renewed();
    let mut ring = server.used(1, NOW).unwrap_or(server);
    for number in 2..4 {
        let invitation = keys();
        let taken = ring.invite(Arc::clone(&invitation), None, NOW).unwrap();
        ring = taken.used(number, NOW).unwrap();
    }
    drop(client);
    for _ in 0..2 {
        ring = ring.invite(keys(), None, NOW).unwrap();
    }
    let of_one = ring.generations().len() + ring.burned().len();
    assert_eq!(of_one, 5, "no ring has more");
    let mut bucket =
        InvitedClients::default().sealed_candidates("10.0.0.1".parse().unwrap(), None, NOW);
    assert_eq!(bucket.credentials().len(), 0);
    let clients = InvitedClients::new(
        (0..Bucket::CLIENTS)
            .map(|index| {
                let mut link = [0; LinkId::LEN];
                link[0] = u8::try_from(index).unwrap();
                InvitedClient {
                    link: LinkId::from(link),
                    name: names()[1].clone(),
                    range: "10.0.0.0/8".parse().unwrap(),
                    bucket: Some(Bucket::FIRST),
                    credentials: paddington_wire::Credentials::Ring(Arc::new(ring.clone())),
                }
            })
            .collect(),
    );
    bucket = clients.sealed_candidates("10.0.0.1".parse().unwrap(), Some(Bucket::FIRST), NOW);
    assert_eq!(bucket.hints(), Bucket::CLIENTS * of_one);
    assert_eq!(bucket.hints(), Responder::HINTS);
}
