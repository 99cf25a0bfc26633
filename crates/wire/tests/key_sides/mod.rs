//! The two sides of a link whose keys are renewed, joined in memory.

use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_wire::keys::{
    Draft, Generation, KeyRing, Renewal, Role, Seconds, Step, Storing, Why,
};
use paddington_wire::link::{Link, LinkConfig};
use paddington_wire::sealed::{
    Challenge, Credentials, Exporter, Greeting, HelloRandom, Initiator, ReplyRandom, Responder,
};
use paddington_wire::{Features, Frame, Instance, PeerName, Violation};

pub(crate) const NOW: Seconds = 1_800_000_000;
pub(crate) const DAY: Seconds = 86_400;
pub(crate) const BIT: [Features; 2] = [Features::RENEW; 2];

pub(crate) fn names() -> [PeerName; 2] {
    ["hub", "sensor"].map(|name| name.parse().unwrap())
}

pub(crate) fn keys() -> Arc<KeyPair> {
    Arc::new(KeyPair::generate().unwrap())
}

pub(crate) fn begin(keys: &Arc<KeyPair>, expires: Option<Seconds>) -> KeyRing {
    let [hub, sensor] = names();
    KeyRing::begin([&hub, &sensor], Arc::clone(keys), 0, expires, NOW)
}

/// Performs a handshake with these secrets, and returns what both sides take out of it.
pub(crate) fn exporters(link: &Arc<Credentials>) -> [Exporter; 2] {
    let challenge = Challenge::random().unwrap();
    let instance = Instance::random().unwrap();
    let initiator = Initiator::new(Arc::clone(link), instance);
    let (waiting, hello) = initiator.hello(&challenge, HelloRandom::generate().unwrap()).unwrap();
    let responder = Responder::new(challenge, Arc::new(Credentials::decoy().unwrap()));
    let client = responder.authenticate(&hello, &[Arc::clone(link)]).unwrap();
    let (mut server, reply) = client.reply(&ReplyRandom::generate().unwrap()).unwrap();
    let ready = Frame::Ready(Link::new(LinkConfig::default(), instance).ready());
    let first = server.first(&ready).unwrap();
    let Greeting::Ready(mut client, _) =
        waiting.finish(&reply).unwrap().finish(&first, 1024).unwrap()
    else {
        panic!("a READY was sent")
    };
    let ready = client.encode(&ready).unwrap();
    let Greeting::Ready(mut server, _) = server.finish(&ready, 1024).unwrap() else {
        panic!("a READY was sent")
    };
    [client.take_exporter().unwrap(), server.take_exporter().unwrap()]
}

pub(crate) fn numbers(ring: &KeyRing) -> Vec<u64> {
    ring.generations().iter().map(Generation::number).collect()
}

pub(crate) fn burned(ring: &KeyRing) -> Vec<(u64, Why)> {
    ring.burned().iter().map(|it| (it.number(), it.why())).collect()
}

/// One side of a link, whose disk works.
pub(crate) struct Side {
    pub(crate) ring: KeyRing,
    pub(crate) renewal: Renewal,
}

impl Side {
    pub(crate) fn poll(&mut self, now: Seconds) -> Option<Step> {
        self.renewal.poll(&self.ring, now).unwrap()
    }

    pub(crate) fn draft(&mut self, now: Seconds) -> Draft {
        match self.poll(now) {
            Some(Step::Store(draft)) => draft,
            other => panic!("{other:?}"),
        }
    }

    /// Stores what is to be stored, and returns what is to be said.
    pub(crate) fn go(&mut self, now: Seconds) -> Option<Frame> {
        match self.poll(now)? {
            Step::Send(frame) => Some(frame),
            Step::Store(draft) => {
                let settled = self.renewal.settle(draft, Storing::Done, now);
                self.ring = settled.ring.unwrap();
                settled.frame
            }
        }
    }

    pub(crate) fn take(&mut self, frame: Option<Frame>) {
        self.renewal.receive(&frame.unwrap()).unwrap();
    }

    pub(crate) fn bad(&mut self, frame: &Frame) {
        let received = self.renewal.receive(frame);
        assert!(matches!(received, Err(Violation::BadRenewal(_))), "{frame:?}");
    }
}

/// Both sides of a session with the generation `number`, which both have marked as used.
pub(crate) fn session(client: &KeyRing, server: &KeyRing, number: u64, now: Seconds) -> [Side; 2] {
    let link = client.generation(number).unwrap().credentials();
    let [ours, theirs] = exporters(link);
    let ring = |ring: &KeyRing| ring.used(number, now).unwrap_or_else(|| ring.clone());
    let renewal = |role, exporter| Renewal::new(role, number, exporter, BIT, 30 * DAY);
    [
        Side { ring: ring(client), renewal: renewal(Role::Client, ours) },
        Side { ring: ring(server), renewal: renewal(Role::Server, theirs) },
    ]
}

/// Both sides of the first session of a link, and its invitation.
pub(crate) fn first_session() -> ([Side; 2], Arc<KeyPair>) {
    let keys = keys();
    let sides = session(&begin(&keys, None), &begin(&keys, Some(NOW + 7 * DAY)), 0, NOW);
    (sides, keys)
}

/// The rings of a link of which generation 1 is in use.
pub(crate) fn renewed() -> [KeyRing; 2] {
    let ([mut client, mut server], _) = first_session();
    client.take(server.go(NOW));
    server.take(client.go(NOW));
    assert!(server.go(NOW + 10).is_none(), "the server has nothing to say to that");
    let [client, server] = session(&client.ring, &server.ring, 1, NOW + 20);
    [client.ring, server.ring]
}

/// The rings of a link of which generation 1 is in use, and 2 was agreed on: the server has stored it,
/// and the client if `stored`. The RENEWED is lost.
pub(crate) fn interrupted(stored: bool) -> [KeyRing; 2] {
    let [client, server] = renewed();
    let [mut client, mut server] = session(&client, &server, 1, NOW + 20);
    server.renewal.ask();
    client.take(server.go(NOW + 30));
    if stored {
        client.go(NOW + 30);
    }
    [client.ring, server.ring]
}
