//! Requests to peers, made at any replica (`docs/cluster.md` §8): each is asked at most once, its answer
//! comes to whoever has made it and nobody else, and none waits for ever.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Error, bail};
use paddington::{Message, RequestError};
use paddington_exchange::SendError;
use paddington_test_support::Random;
use tokio::time::{Instant, sleep, timeout};

use super::replica::Replica;
use super::world::{World, peer_name};

/// The time by which a request may end late.
const LATE: Duration = Duration::from_secs(2);

/// The requests of a run, by peer.
pub(crate) struct Requests(Mutex<Vec<Vec<Asked>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    was_asked: bool,
    has_ended: bool,
}

/// The figures of the requests of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) made: usize,
    pub(crate) asked: usize,
}

impl Requests {
    pub(super) fn new(peers: usize) -> Self {
        Self(Mutex::new(vec![Vec::new(); peers]))
    }

    fn books(&self) -> MutexGuard<'_, Vec<Vec<Asked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many requests there were, and how many have reached their peer.
    pub(crate) fn counts(&self) -> Counts {
        let books = self.books();
        let all = || books.iter().flatten();
        Counts { made: all().count(), asked: all().filter(|it| it.was_asked).count() }
    }

    /// Returns a request that waits still, in words.
    pub(crate) fn waiting(&self) -> Option<String> {
        let books = self.books();
        let find = |(peer, book): (usize, &Vec<Asked>)| {
            let number = book.iter().position(|it| !it.has_ended)?;
            Some(format!("request {number} to {peer} waits"))
        };
        books.iter().enumerate().find_map(find)
    }
}

impl World {
    /// Makes requests to a peer at any replica, several at a time.
    pub(crate) async fn ask(self: Arc<Self>, peer: usize) {
        let mut random = self.random(6_000 + peer as u64);
        while !self.is_calm() {
            sleep(random.up_to(Duration::from_secs(2))).await;
            let replicas = self.running();
            if replicas.is_empty() || self.is_calm() {
                continue;
            }
            let replica = Arc::clone(&replicas[random.below(replicas.len())]);
            let seed = random.next_number();
            tokio::spawn(Arc::clone(&self).ask_once(peer, replica, Random::new(seed)));
        }
    }

    async fn ask_once(self: Arc<Self>, peer: usize, replica: Arc<Replica>, mut random: Random) {
        let number = {
            let mut books = self.requests.books();
            books[peer].push(Asked::default());
            books[peer].len() - 1
        };
        // Timers have whole milliseconds.
        let limit = Duration::from_millis(200 + random.below(15_000) as u64);
        let patience = match random.percent(10) {
            true => random.up_to(Duration::from_millis(500)), // then it is cancelled
            false => limit + LATE,
        };
        let begun = Instant::now();
        let message = Message::new(peer_name(peer), question(number));
        let answer = timeout(patience, replica.exchange.request(message, limit)).await;
        let time = begun.elapsed();
        let was_asked = {
            let asked = &mut self.requests.books()[peer][number];
            asked.has_ended = true;
            asked.was_asked
        };
        if replica.is_killed() {
            return; // nobody is told anything
        }
        let wrong = match answer {
            Err(_) if patience > limit => Some(format!("waits after {time:?}, limit {limit:?}")),
            Ok(Ok(reply)) if !was_asked || reply.payload() != reply_to(peer, number) => {
                Some(format!("is answered with {:?}, asked: {was_asked}", reply.payload()))
            }
            Ok(Err(RequestError::TimedOut)) if time < limit => {
                Some(format!("has timed out after {time:?}, limit {limit:?}"))
            }
            Ok(Err(RequestError::Failed { .. })) if !was_asked => {
                Some("is said to have failed, and was not asked".to_owned())
            }
            Ok(Err(RequestError::Send(SendError::Storage(_)))) if was_asked => {
                Some("is said not to be stored, and was asked".to_owned())
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.ledger.failed(format_args!("request {number} to {peer} {wrong}"));
        }
    }

    /// Answers a request, as the handler of a peer.
    pub(super) async fn answer(&self, peer: usize, message: &Message) -> Result<(), Error> {
        let Some(number) = number(message.payload()) else { bail!("it is no request of ours") };
        let known = self.requests.books()[peer].get_mut(number).map(|asked| {
            let was_asked = std::mem::replace(&mut asked.was_asked, true);
            (!was_asked).then_some(())
        });
        match known {
            None => self.ledger.failed(format_args!("{peer} is asked {number}, which nobody asks")),
            Some(None) => {
                self.ledger.failed(format_args!("request {number} to {peer} comes twice"));
            }
            Some(Some(())) => {}
        }
        let mut random = self.random((peer as u64 + 1) << 48 | number as u64);
        match random.below(100) {
            0..30 => {}
            30..90 => sleep(random.up_to(Duration::from_millis(300))).await,
            _ => sleep(random.up_to(Duration::from_secs(12))).await,
        }
        if random.percent(5) {
            bail!("it is bad");
        }
        Ok(message.reply(reply_to(peer, number))?)
    }
}

fn question(number: usize) -> String {
    format!("what is {number}?")
}

fn number(question: &str) -> Option<usize> {
    question.strip_prefix("what is ")?.strip_suffix('?')?.parse().ok()
}

fn reply_to(peer: usize, number: usize) -> String {
    format!("{number} is of {peer}")
}
