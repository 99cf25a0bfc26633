//! Both sides of a `sealed` session.

use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_wire::link::{Link, LinkConfig};
use paddington_wire::sealed::{
    Challenge, Credentials, Greeting, HelloRandom, Initiator, ReplyRandom, Responder, SealedSession,
};
use paddington_wire::{Frame, Instance};

const MAX_PAYLOAD: u32 = 1024 * 1024;

fn ready(instance: Instance) -> Frame {
    Frame::Ready(Link::new(LinkConfig::default(), instance).ready())
}

fn session(greeting: Greeting) -> SealedSession {
    match greeting {
        Greeting::Ready(session, _) => Some(*session),
        Greeting::Closed(_) => None,
    }
    .unwrap()
}

/// Two sides that have just completed a handshake: the client's and the server's.
pub(crate) fn sealed() -> [SealedSession; 2] {
    let keys = KeyPair::generate().unwrap();
    let (server, client) = ("server".parse().unwrap(), "client".parse().unwrap());
    let [ours, theirs] = [(); 2].map(|()| Arc::new(Credentials::new(&server, &client, &keys)));
    let [server, client] = [1, 2].map(|byte| Instance::from([byte; 16]));

    let challenge = Challenge::random().unwrap();
    let initiator = Initiator::new(theirs, client);
    let (waiting, hello) = initiator.hello(&challenge, HelloRandom::generate().unwrap()).unwrap();
    let responder = Responder::new(challenge, Arc::new(Credentials::decoy().unwrap()));
    let authenticated = responder.authenticate(&hello, &[ours]).unwrap();
    let (mut server_side, reply) = authenticated.reply(&ReplyRandom::generate().unwrap()).unwrap();
    let mut client_side = waiting.finish(&reply).unwrap();
    let from_server = server_side.first(&ready(server)).unwrap();
    let from_client = client_side.first(&ready(client)).unwrap();
    [
        session(client_side.finish(&from_server, MAX_PAYLOAD).unwrap()),
        session(server_side.finish(&from_client, MAX_PAYLOAD).unwrap()),
    ]
}
