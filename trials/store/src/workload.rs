//! Uses a store as a service would, and prints what it was answered, line by line.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use paddington_exchange::store::{
    Answer, Backlog, Cursors, DeadLetter, DeadLetters, Fence, LinkStore, Mailboxes, NewMessage,
    Outbox, StoredCursor,
};
use paddington_models::random::Random;
use paddington_store::SqliteStore;
use paddington_wire::{MessageId, RejectCode};

use crate::facts::{LEAVER, LEFT, PEERS, THEIR_STREAM, payload, peer, stream};

/// Runs some instances of a service, numbered from `first` on, each with about `messages` messages
/// for each peer. Meanwhile each fills the mailbox of a peer that leaves, and purges it. The last one
/// does not close its store.
pub async fn run(path: &Path, seed: u64, first: u8, instances: u8, messages: u64) {
    for instance in first..first + instances {
        let store = Arc::new(SqliteStore::open(path).unwrap());
        let one = |number| {
            let random = Random::new(seed ^ u64::from(instance) << 32 ^ u64::from(number) << 40);
            Peer { store: Arc::clone(&store), number, instance, accepted: 0, trimmed: 0, random }
                .live(messages)
        };
        let all = futures_util::future::join_all((0..PEERS).map(one));
        futures_util::future::join(all, leave(&store, instance)).await;
        if instance + 1 < first + instances {
            store.close().await.unwrap();
        }
    }
}

/// Fills the mailbox of a peer that leaves, and purges it. What a kill has left of an earlier purge is
/// removed too.
async fn leave(store: &SqliteStore, instance: u8) {
    let mailbox = peer(LEAVER);
    let appends: Vec<_> = (1..=LEFT)
        .map(|number| {
            let id = MessageId { stream: stream(instance), number };
            let payload = payload(LEAVER, instance, number);
            store.append(&mailbox, NewMessage { id, payload, ttl: None, mark: None })
        })
        .collect();
    for append in appends {
        append.await.unwrap();
    }
    let cursor = StoredCursor { instance: stream(instance), completed: 1, finished: vec![] };
    Cursors::commit(store, &mailbox, cursor, FENCE).await.unwrap();
    say(&format!("left {instance}"));
    say(&format!("purge {instance}"));
    store.purge(&mailbox).await.unwrap();
    say(&format!("purged {instance}"));
}

struct Peer {
    store: Arc<SqliteStore>,
    number: u8,
    instance: u8,
    accepted: u64,
    trimmed: u64,
    random: Random,
}

const FENCE: Fence = Fence(0);

impl Peer {
    async fn live(mut self, messages: u64) {
        let name = peer(self.number);
        let old: Vec<u8> = self
            .store
            .streams(&name)
            .await
            .unwrap()
            .iter()
            .map(|stream| stream.instance.as_bytes()[0])
            .collect();
        let cursors = self.store.cursors(&name).await.unwrap();
        let mut completed = cursors.first().map_or(0, |cursor| cursor.completed);
        while self.accepted < messages {
            self.append().await;
            completed += self.random.below(5) as u64;
            self.handle(completed).await;
            if self.random.percent(20) {
                let room = (self.accepted - self.trimmed) as usize;
                self.trimmed += self.random.below(room + 1) as u64;
                self.trim(self.instance, self.trimmed).await;
            }
        }
        for stream in old {
            if self.random.percent(50) {
                self.trim(stream, u64::from(u32::MAX)).await;
            }
        }
    }

    async fn append(&mut self) {
        let group = 1 + self.random.below(20) as u64;
        let numbers = self.accepted + 1..=self.accepted + group;
        let answers: Vec<Answer<()>> = numbers
            .clone()
            .map(|number| {
                let id = MessageId { stream: stream(self.instance), number };
                let payload = payload(self.number, self.instance, number);
                self.store
                    .append(&peer(self.number), NewMessage { id, payload, ttl: None, mark: None })
            })
            .collect();
        for (number, answer) in numbers.zip(answers) {
            answer.await.unwrap();
            say(&format!("accepted {} {} {number}", self.number, self.instance));
        }
        self.accepted += group;
    }

    /// Does what a service does when some of the peer's messages were handled.
    async fn handle(&mut self, completed: u64) {
        let name = peer(self.number);
        let id = MessageId { stream: stream(THEIR_STREAM), number: completed + 1 };
        if self.random.percent(10) {
            let count = self.store.attempt(&name, id, FENCE).await.unwrap();
            say(&format!("attempt {} {} {count}", self.number, id.number));
        }
        if self.random.percent(5) {
            let number = u64::from(self.instance) << 32 | u64::from(self.number) << 24 | id.number;
            let id = MessageId { number, ..id };
            let payload = payload(0, THEIR_STREAM, number);
            let (code, at) = (RejectCode::FAILED, SystemTime::now());
            let letter = DeadLetter { mailbox: name.clone(), id, code, at, payload };
            self.store.add_letter(letter, FENCE).await.unwrap();
            say(&format!("letter {number}"));
        }
        let cursor = StoredCursor { instance: stream(THEIR_STREAM), completed, finished: vec![] };
        let answer = Cursors::commit(&*self.store, &name, cursor, FENCE);
        let line = format!("completed {} {completed}", self.number);
        if self.random.percent(10) {
            answer.await.unwrap();
            say(&line);
        }
    }

    async fn trim(&mut self, of: u8, upto: u64) {
        let key = format!("{} {of} {upto}", self.number);
        say(&format!("trim {key}"));
        let id = MessageId { stream: stream(of), number: upto };
        let answer = self.store.trim(&peer(self.number), id, FENCE);
        if self.random.percent(30) {
            answer.await.unwrap();
            say(&format!("trimmed {key}"));
        }
    }
}

/// Prints a line in one write: its position among the writes to the files is what counts.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).unwrap();
}
