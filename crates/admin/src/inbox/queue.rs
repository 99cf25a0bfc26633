//! The messages of an inbox, and who has them: the state behind its lock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use paddington::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::claim::Failed;

/// How long the messages of a poll may take if the consumer is not heard of meanwhile.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// The state of a message.
pub(super) type Outcome = Result<(), Failed>;

/// Whoever has messages that are not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// A stream, until it is closed.
    Stream(u64),
    /// A consumer that polls and says its name.
    Named(Arc<str>),
    /// One poll of a consumer without a name.
    Poll(u64),
}

/// A message that is handed out.
#[derive(Debug)]
pub(crate) struct Given {
    /// By this it is acknowledged.
    pub(crate) id: String,
    pub(crate) message: Message,
}

/// The messages, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Number of messages and holders that there ever were.
    numbers: u64,
    entries: HashMap<u64, Entry>,
    /// The messages that nobody has.
    waiting: BTreeSet<u64>,
    /// The same, by peer.
    waiting_of: HashMap<String, BTreeSet<u64>>,
    holders: HashMap<Holder, Holding>,
    /// Whether the service shuts down.
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    /// How often it was handed out.
    times: u32,
    holder: Option<Holder>,
    done: oneshot::Sender<Outcome>,
}

/// The messages that a holder has. There is none without messages.
#[derive(Debug)]
struct Holding {
    messages: BTreeSet<u64>,
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    length: Duration,
    end: Instant,
}

impl Queue {
    /// Takes a message in. Returns its number and what resolves when it is done, or `None` if the
    /// service shuts down.
    pub(super) fn put(&mut self, message: Message) -> Option<(u64, oneshot::Receiver<Outcome>)> {
        if self.closed {
            return None;
        }
        let (done, outcome) = oneshot::channel();
        let number = self.number();
        self.entries.insert(number, Entry { message, times: 0, holder: None, done });
        self.wait(number);
        Some((number, outcome))
    }

    /// Returns a number that nothing else has.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Hands out the oldest messages, `max` of them or `bytes` at most, but at least one.
    pub(super) fn take(
        &mut self,
        holder: &Holder,
        peer: Option<&str>,
        (max, bytes): (usize, usize),
    ) -> Vec<Given> {
        let waiting = match peer {
            Some(peer) => self.waiting_of.get(peer),
            None => Some(&self.waiting),
        };
        let mut room = bytes;
        let fits = |number: &u64| {
            let len = self.entries.get(number).map_or(0, |entry| entry.message.bytes().len());
            let fits = len <= room || room == bytes;
            room = room.saturating_sub(len.max(1));
            fits
        };
        let numbers: Vec<u64> =
            waiting.into_iter().flatten().take(max).copied().take_while(fits).collect();
        numbers.into_iter().filter_map(|number| self.give(number, holder)).collect()
    }

    /// Makes what `holder` has last for `length` from now on.
    pub(super) fn lease(&mut self, holder: &Holder, length: Duration) {
        if let Some(holding) = self.holders.get_mut(holder) {
            holding.lease = Some(Lease { length, end: Instant::now() + length });
        }
    }

    /// Returns the message with this id, if `consumer` has it, or nobody says who asks.
    pub(super) fn given(&self, id: &str, consumer: Option<&str>) -> Option<(u64, &Message)> {
        let (number, times) = id.split_once('-')?;
        let number = number.parse().ok()?;
        let entry = self.entries.get(&number)?;
        let is_theirs = match (&entry.holder, consumer) {
            (Some(Holder::Named(name)), Some(consumer)) => **name == *consumer,
            _ => true,
        };
        (times.parse() == Ok(entry.times) && is_theirs).then_some((number, &entry.message))
    }

    /// Ends a message. Its consumer was heard of, so what else it has lasts longer.
    pub(super) fn finish(&mut self, number: u64, outcome: Outcome) -> bool {
        if let Some(holder) = self.entries.get(&number).and_then(|entry| entry.holder.clone())
            && let Some(lease) = self.holders.get_mut(&holder).and_then(|it| it.lease.as_mut())
        {
            lease.end = Instant::now() + lease.length;
        }
        self.cut(number).is_some_and(|entry| entry.done.send(outcome).is_ok())
    }

    /// Takes a message out for which the exchange does not wait any more. Returns whether it was here.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        self.cut(number).is_some()
    }

    /// Takes back what a holder has, for the next one, in its order.
    pub(super) fn release(&mut self, holder: &Holder) {
        let Some(holding) = self.holders.remove(holder) else { return };
        for number in holding.messages {
            if let Some(entry) = self.entries.get_mut(&number) {
                entry.holder = None;
            }
            if self.closed {
                self.entries.remove(&number);
            } else {
                self.wait(number);
            }
        }
    }

    /// Takes back what leases that are over have held. Returns the end of the next one.
    pub(super) fn end_leases(&mut self, now: Instant) -> Option<Instant> {
        let is_over = |holding: &Holding| holding.lease.as_ref().is_some_and(|it| it.end <= now);
        let over = self.holders.iter().filter(|(_, holding)| is_over(holding));
        let over: Vec<Holder> = over.map(|(holder, _)| holder.clone()).collect();
        over.iter().for_each(|holder| self.release(holder));
        self.holders.values().filter_map(|holding| holding.lease.as_ref()).map(|it| it.end).min()
    }

    /// Returns how many messages a holder has.
    pub(super) fn held(&self, holder: &Holder) -> usize {
        self.holders.get(holder).map_or(0, |holding| holding.messages.len())
    }

    /// Gives up every message that nobody has, and takes none in. Those that somebody has may be
    /// acknowledged.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.waiting_of.clear();
        for number in std::mem::take(&mut self.waiting) {
            self.entries.remove(&number);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.waiting.is_empty()
            && self.waiting_of.is_empty()
            && self.holders.is_empty()
    }

    fn give(&mut self, number: u64, holder: &Holder) -> Option<Given> {
        self.unwait(number);
        let entry = self.entries.get_mut(&number)?;
        entry.times = entry.times.saturating_add(1);
        entry.holder = Some(holder.clone());
        let given =
            Given { id: format!("{number}-{}", entry.times), message: entry.message.clone() };
        let none = || Holding { messages: BTreeSet::new(), lease: None };
        self.holders.entry(holder.clone()).or_insert_with(none).messages.insert(number);
        Some(given)
    }

    /// Takes a message out of everything.
    fn cut(&mut self, number: u64) -> Option<Entry> {
        self.unwait(number);
        let entry = self.entries.remove(&number)?;
        if let Some(holder) = &entry.holder
            && let Some(holding) = self.holders.get_mut(holder)
        {
            holding.messages.remove(&number);
            if holding.messages.is_empty() {
                self.holders.remove(holder);
            }
        }
        Some(entry)
    }

    fn wait(&mut self, number: u64) {
        let Some(entry) = self.entries.get(&number) else { return };
        self.waiting.insert(number);
        let sender = entry.message.sender();
        match self.waiting_of.get_mut(sender) {
            Some(waiting) => drop(waiting.insert(number)),
            None => drop(self.waiting_of.insert(sender.to_owned(), BTreeSet::from([number]))),
        }
    }

    fn unwait(&mut self, number: u64) {
        if !self.waiting.remove(&number) {
            return;
        }
        let Some(entry) = self.entries.get(&number) else { return };
        let sender = entry.message.sender();
        if let Some(waiting) = self.waiting_of.get_mut(sender) {
            waiting.remove(&number);
            if waiting.is_empty() {
                self.waiting_of.remove(sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use paddington::{Content, Message, PeerName};
    use paddington_wire::Delivery;

    use super::*;

    fn message(sender: &str, text: &str) -> Message {
        let [sender, us]: [PeerName; 2] = [sender, "us"].map(|name| name.parse().unwrap());
        Message::received(sender, &us, Content::from(text), Delivery::default())
    }

    fn texts(given: &[Given]) -> Vec<&str> {
        given.iter().map(|given| given.message.payload()).collect()
    }

    const ALL: (usize, usize) = (100, 1000);

    #[test]
    fn messages_are_handed_out_in_order_and_what_comes_back_comes_first() {
        let mut queue = Queue::default();
        let mut outcomes = Vec::new();
        for (sender, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")] {
            outcomes.push(queue.put(message(sender, text)).unwrap());
        }
        let (one, other) = (Holder::Stream(1), Holder::Named("x".into()));
        assert_eq!(texts(&queue.take(&one, Some("a"), ALL)), ["1", "3"]);
        assert_eq!(texts(&queue.take(&other, None, (1, 1000))), ["2"]);
        queue.put(message("a", "5")).unwrap();
        queue.release(&one);
        assert_eq!(texts(&queue.take(&other, None, ALL)), ["1", "3", "4", "5"]);
        for (number, _) in outcomes {
            assert!(queue.remove(number) && !queue.remove(number));
        }
        assert_eq!(queue.held(&other), 1);
        queue.release(&other);
        let [given] = &queue.take(&one, None, ALL)[..] else { panic!("one is left") };
        let (number, _) = queue.given(&given.id, None).unwrap();
        assert!(!queue.finish(number, Ok(())), "nobody waits for it");
        assert!(queue.is_empty());
    }

    #[test]
    fn a_batch_has_a_bounded_length_and_at_least_one_message() {
        let mut queue = Queue::default();
        let long = "x".repeat(600);
        let _outcomes: Vec<_> = (0..3).map(|_| queue.put(message("a", &long)).unwrap()).collect();
        let holder = Holder::Poll(1);
        assert_eq!(queue.take(&holder, None, (9, 10)).len(), 1);
        assert_eq!(queue.take(&holder, None, (9, 1000)).len(), 1);
        assert_eq!(queue.take(&holder, None, (0, 1000)).len(), 0);
    }

    #[test]
    fn a_closed_queue_keeps_only_what_somebody_has() {
        let mut queue = Queue::default();
        let (_, mut had) = queue.put(message("a", "1")).unwrap();
        let (_, mut waits) = queue.put(message("a", "2")).unwrap();
        let holder = Holder::Poll(1);
        let given = queue.take(&holder, None, (1, 1000));
        queue.close();
        assert!(waits.try_recv().is_err() && queue.put(message("a", "3")).is_none());
        let (number, _) = queue.given(&given[0].id, None).unwrap();
        assert!(queue.finish(number, Ok(())));
        assert!(had.try_recv().unwrap().is_ok());
        assert!(queue.is_empty());
    }
}
