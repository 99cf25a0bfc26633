//! The time of refusals (`docs/protocol.md` §3.4): a HELLO with an unknown hint is compared with
//! one whose hint is right and whose seal is not. Both are garbage after the hint.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Error, bail, ensure};
use paddington_test_support::{Pair, Random, RawClient, RawFrame, credentials, pair};
use paddington_wire::Instance;
use paddington_wire::sealed::{
    Challenge, Credentials, HELLO_LEN, HelloRandom, Initiator, Responder,
};
use tokio::runtime;

use crate::stats::{BAR, Times};

const ATTEMPTS: usize = 100_000;
const SHORT_ATTEMPTS: usize = 2_000;
/// Number of attempts that are prepared together, so that both classes find the caches in the same
/// state.
const BATCH: usize = 500;
/// Number of links of the server: more than a full bucket has, so that one link fewer is less work.
const LINKS: usize = 40;
/// The offset of the sealed part of a HELLO.
const SEALED_START: usize = 48;
const HINT_LEN: usize = 16;
const SERVER: &str = "127.0.0.1:6501";

pub(crate) fn run(mut random: Random, short: bool) -> Result<(), Error> {
    let attempts = if short { SHORT_ATTEMPTS } else { ATTEMPTS };
    let control = decisions(&mut random, attempts / 10, LINKS - 1)?.verdict();
    println!("timing: deciding among one link fewer, which has to differ: {control}");
    ensure!(
        short || control.t >= BAR,
        "the machine is too noisy to measure a difference: {control}"
    );
    let decision = decisions(&mut random, attempts, LINKS)?;
    judge("deciding", attempts, &decision, short)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let network = runtime.block_on(connections(&mut random, attempts))?;
    judge("over a connection in memory", attempts, &network, short)
}

fn judge(what: &str, attempts: usize, times: &Times, short: bool) -> Result<(), Error> {
    let verdict = times.verdict();
    println!("timing: {what}, {attempts} attempts: {verdict}");
    ensure!(short || verdict.t < BAR, "the two refusals differ in time: {verdict}");
    Ok(())
}

/// Makes a HELLO of either class out of a good one: 0 with an unknown hint, 1 with the right one.
/// The work is the same for both.
fn spoil(hello: &mut [u8; HELLO_LEN], class: usize, random: &mut Random) {
    let mut hint = [0; HINT_LEN];
    random.fill(&mut hint);
    random.fill(&mut hello[SEALED_START..]);
    let from = [hint, hello.first_chunk().copied().unwrap_or_default()];
    hello[..HINT_LEN].copy_from_slice(&from[class]);
}

fn good_hello(link: &Arc<Credentials>, challenge: &Challenge) -> Result<[u8; HELLO_LEN], Error> {
    let initiator = Initiator::new(Arc::clone(link), Instance::from([1; 16]));
    Ok(initiator.hello(challenge, HelloRandom::generate()?)?.1)
}

/// Times [`Responder::authenticate`], which decides. HELLOs with the right hint are tried on the
/// first `known` links only: with fewer than all links there is a difference, which has to be
/// noticed.
fn decisions(random: &mut Random, attempts: usize, known: usize) -> Result<Times, Error> {
    let pairs: Vec<_> = (0..LINKS).map(|_| pair()).collect();
    let links = || -> Vec<_> { pairs.iter().map(|pair| credentials(&pair.invite)).collect() };
    let (ours, theirs) = (links(), links());
    let candidates = [&ours[..], &ours[..known]];
    let decoy = Arc::new(Credentials::decoy()?);
    let mut times = Times::default();
    let mut done = 0;
    // The first batch warms up.
    while done < attempts + BATCH {
        let mut batch = Vec::with_capacity(BATCH);
        for _ in 0..BATCH {
            let (class, challenge) = (random.below(2), Challenge::random()?);
            let mut hello = good_hello(&theirs[random.below(known)], &challenge)?;
            spoil(&mut hello, class, random);
            batch.push((class, challenge, hello));
        }
        let mut place = [0; HELLO_LEN];
        for (class, challenge, hello) in batch {
            place.copy_from_slice(&hello);
            let responder = Responder::new(challenge, Arc::clone(&decoy));
            let begun = Instant::now();
            let refused = responder.authenticate(black_box(&place), candidates[class]).is_err();
            let took = begun.elapsed();
            ensure!(refused, "garbage was accepted");
            if done >= BATCH {
                times.push(class, took.as_nanos() as f64);
            }
            done += 1;
        }
    }
    Ok(times)
}

/// Times a whole server, from the HELLO to the end of the connection, which is its only answer.
async fn connections(random: &mut Random, attempts: usize) -> Result<Times, Error> {
    let mut pair = pair();
    let limits = &mut pair.server.settings_mut().transport.limits;
    limits.attempts = u32::MAX;
    let (server, _) = pair.start_server().await;
    let link = credentials(&pair.invite);
    let mut times = Times::default();
    for attempt in 0..attempts + BATCH {
        let class = random.below(2);
        let took = refusal(&pair, &link, class, random).await?;
        if attempt >= BATCH {
            times.push(class, took);
        }
    }
    let status = server.peers();
    let peer = status.first().context("a peer")?;
    ensure!(!peer.is_connected(), "garbage was accepted");
    Ok(times)
}

async fn refusal(
    pair: &Pair,
    link: &Arc<Credentials>,
    class: usize,
    random: &mut Random,
) -> Result<f64, Error> {
    let (mut client, challenge) = RawClient::upgrade(&pair.network, SERVER).await;
    let mut hello = good_hello(link, &challenge)?;
    spoil(&mut hello, class, random);
    let frame = RawFrame::binary(&hello).encode(true);
    let begun = Instant::now();
    client.write(&frame).await;
    let answer = client.rest().await;
    let took = begun.elapsed();
    if !answer.is_empty() {
        bail!("a refusal was answered with {} bytes", answer.len());
    }
    Ok(took.as_nanos() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_second_class_has_a_known_hint() {
        let link = credentials(&pair().invite);
        let challenge = Challenge::random().unwrap();
        let good = good_hello(&link, &challenge).unwrap();
        let mut random = Random::new(1);
        for (class, known) in [(0, false), (1, true)] {
            let mut hello = good;
            spoil(&mut hello, class, &mut random);
            assert_eq!(hello[..HINT_LEN] == good[..HINT_LEN], known);
            assert_eq!(hello[HINT_LEN..SEALED_START], good[HINT_LEN..SEALED_START]);
            assert_ne!(hello[SEALED_START..], good[SEALED_START..]);
        }
    }
}
