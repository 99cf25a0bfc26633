//! What one round of the keeper writes, and whom it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use paddington_exchange::store::parts::Waiter;
use paddington_exchange::store::{DeadLetter, Fence, Signal, StoreError};
use tokio::time::Instant;

use crate::common::Common;
use crate::connect::Connection;
use crate::error::Fault;
use crate::flush::{Attempt, Flushed, Key, flush};
use crate::lazies::Lazies;
use crate::letters;
use crate::row;

/// Time within which the server has to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// What does not wait.
#[derive(Debug)]
pub(crate) enum Urgent {
    Attempt(Attempt, Waiter<u32>),
    Letter(Box<DeadLetter>, Fence, Waiter<()>),
    /// Everything before it is written.
    Sync(Waiter<()>),
}

impl Urgent {
    pub(crate) fn fail(self, error: &StoreError) {
        match self {
            Self::Attempt(_, waiter) => drop(waiter.send(Err(error.clone()))),
            Self::Letter(.., waiter) | Self::Sync(waiter) => {
                drop(waiter.send(Err(error.clone())));
            }
        }
    }
}

/// What one round writes.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) lazies: BTreeMap<Key, Lazies>,
    pub(crate) attempts: Vec<(Attempt, Waiter<u32>)>,
    pub(crate) urgent: Vec<Urgent>,
}

/// Writes lazy changes and attempts, the changes of `most` links in one transaction, and then the rest.
/// What is not written stays in `work`.
pub(crate) async fn write(
    common: &Common,
    connection: &Connection,
    work: &mut Work,
    most: usize,
) -> Result<(), Fault> {
    while !work.lazies.is_empty() || !work.attempts.is_empty() {
        let rest = match work.lazies.keys().nth(most).copied() {
            Some(key) => work.lazies.split_off(&key),
            None => BTreeMap::new(),
        };
        let chunk = std::mem::replace(&mut work.lazies, rest);
        let with =
            if work.lazies.is_empty() { std::mem::take(&mut work.attempts) } else { Vec::new() };
        let attempts: Vec<_> = with.iter().map(|(attempt, _)| *attempt).collect();
        let started = Instant::now();
        let flushing = flush(connection, common.number(), &chunk, &attempts);
        let late = |_| Fault::Lost("the database does not answer".to_owned());
        match tokio::time::timeout(ANSWER, flushing).await.map_err(late).flatten() {
            Ok(flushed) => {
                common.record(started.elapsed(), 0);
                for (link, by) in &flushed.told {
                    common.notifier.tell(row::replica(*by), Signal::Settled { link: *link });
                }
                for ((_, waiter), count) in with.into_iter().zip(&flushed.counts) {
                    let count = count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                    let _ = waiter.send(count.ok_or_else(StoreError::stale));
                }
                work.lazies.extend(answer(chunk, &flushed));
            }
            Err(fault) if fault.is_final() && chunk.len() == 1 => {
                let error = Err(fault.clone().into_error());
                for lazies in chunk.into_values() {
                    lazies.of_owner.answer(&error);
                    lazies.of_lane.answer(&error);
                }
                work.attempts = with;
                return Err(fault);
            }
            Err(fault) => {
                work.lazies.extend(chunk);
                work.attempts = with;
                return Err(fault);
            }
        }
    }
    for urgent in std::mem::take(&mut work.urgent) {
        match urgent {
            Urgent::Letter(letter, fence, waiter) => {
                let added = letters::add(connection, common.number(), &letter, fence).await;
                let _ = waiter.send(match added {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(StoreError::stale()),
                    Err(fault) => Err(fault.into_unsure()),
                });
            }
            Urgent::Sync(waiter) => drop(waiter.send(Ok(()))),
            Urgent::Attempt(..) => {}
        }
    }
    Ok(())
}

/// Answers those whose changes are written or refused. Returns trims that are not done.
fn answer(chunk: BTreeMap<Key, Lazies>, flushed: &Flushed) -> BTreeMap<Key, Lazies> {
    let mut unfinished: BTreeMap<Key, Lazies> = BTreeMap::new();
    for (key, stream, upto) in &flushed.unfinished {
        unfinished.entry(*key).or_default().trims.insert(*stream, *upto);
    }
    for (key, lazies) in chunk {
        lazies.of_lane.answer(&unless_stale(&flushed.not_in_lane, key));
        match unfinished.get_mut(&key) {
            Some(left) => left.of_owner = lazies.of_owner,
            None => lazies.of_owner.answer(&unless_stale(&flushed.not_owners, key)),
        }
    }
    unfinished
}

fn unless_stale(stale: &[Key], key: Key) -> Result<(), StoreError> {
    if stale.contains(&key) { Err(StoreError::stale()) } else { Ok(()) }
}
