//! Pieces of work that are repeated so that their instructions can be counted.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use paddington_crypto::sealed::{Layers, OVERHEAD};
use paddington_crypto::{KeyPair, SecretKey};
use paddington_wire::link::{Link, LinkConfig};
use paddington_wire::sealed::{
    Challenge, Credentials, Greeting, HelloRandom, Initiator, ReplyRandom, Responder, SealedSession,
};
use paddington_wire::{Completed, Data, Frame, Instance, Payload};
use tokio::runtime::Builder;

use crate::Pair;

/// The pieces of work, each with the length of its messages in bytes. "request of 64" can be counted too, and
/// varies too much from run to run to be held.
pub const WORKS: [(&str, usize); 12] = [
    ("envelope", 16),
    ("envelope", 4096),
    ("frame", 16),
    ("frame", 4096),
    ("round trip", 16),
    ("round trip", 4096),
    ("request", 16),
    ("request", 4096),
    ("round trip of 64", 16),
    ("message", 16),
    ("message", 256),
    ("message", 4096),
];

const MAX_PAYLOAD: u32 = 1024 * 1024;

/// Does `work` with messages of `size` bytes `count` times.
///
/// # Errors
///
/// If there is no such work, or it fails.
pub fn count(work: &str, size: usize, count: u64) -> Result<()> {
    match work {
        "envelope" => envelope(size, count),
        "frame" => frame(size, count),
        "round trip" | "request" | "round trip of 64" | "request of 64" | "message" => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut pair = Pair::start(size).await?;
                match work {
                    "message" => pair.messages(count).await,
                    "request" => pair.requests(count).await,
                    "request of 64" => pair.requests_together(count).await,
                    "round trip of 64" => pair.round_trips_together(count).await,
                    _ => pair.round_trips(count).await,
                }
            })
        }
        unknown => bail!("there is no work called {unknown}"),
    }
}

/// Seals and opens the two layers.
fn envelope(size: usize, count: u64) -> Result<()> {
    let layers = Layers::new(&SecretKey::generate()?, &SecretKey::generate()?);
    let mut buffer = vec![b'x'; size + OVERHEAD];
    for number in 0..count {
        layers.seal(number, &[], black_box(&mut buffer))?;
        layers.open(number, &[], black_box(&mut buffer))?;
    }
    Ok(())
}

/// Encodes, seals, opens and decodes a message's frame.
fn frame(size: usize, count: u64) -> Result<()> {
    let [mut near, mut far] = sessions()?;
    let payload = Payload::text(vec![b'x'; size]);
    let ack = Completed::default();
    let mut frame = Data { stream: 0, again: false, number: 0, ack, payload };
    for number in 1..=count {
        frame.number = number;
        let sealed = near.encode(&Frame::Data(frame.clone()))?;
        black_box(far.decode(&sealed)?);
    }
    Ok(())
}

/// Both ends of a session.
fn sessions() -> Result<[Box<SealedSession>; 2]> {
    let (server, client) = ("server".parse()?, "client".parse()?);
    let link = Arc::new(Credentials::new(&server, &client, &KeyPair::generate()?));
    let (challenge, instance) = (Challenge::random()?, Instance::from([1; 16]));
    let ready = Frame::Ready(Link::new(LinkConfig::default(), instance).ready());

    let initiator = Initiator::new(Arc::clone(&link), instance);
    let (near, hello) = initiator.hello(&challenge, HelloRandom::generate()?)?;
    let responder = Responder::new(challenge, Arc::new(Credentials::decoy()?));
    let known = responder.authenticate(&hello, std::slice::from_ref(&link))?;
    let (mut far, reply) = known.reply(&ReplyRandom::generate()?)?;
    let mut near = near.finish(&reply)?;
    let (ours, theirs) = (near.first(&ready)?, far.first(&ready)?);
    match (near.finish(&theirs, MAX_PAYLOAD)?, far.finish(&ours, MAX_PAYLOAD)?) {
        (Greeting::Ready(near, _), Greeting::Ready(far, _)) => Ok([near, far]),
        _ => None.context("no session"),
    }
}
