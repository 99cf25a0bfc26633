//! The service under attack: a link and all that drives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use paddington_wire::link::{
    Answer, CallEvent, CallId, Link, LinkConfig, Outcome, OutgoingRequest, StoredCursor,
    StoredLink, StoredMessage, StoredStream,
};
use paddington_wire::sealed::fuzzing::decode;
use paddington_wire::{
    CallBody, CallItem, Data, Frame, Instance, MessageId, Payload, Ready, RejectCode, SessionId,
    Slot, StreamState, Ticket,
};

use super::forge::Knowledge;
use super::script::Script;
use super::{Attempt, LONGEST, WINDOW, forge, ours, theirs};

/// The present instance of the service.
const LIFE: u8 = 3;

/// Everything that the product has around a link.
pub(super) struct Target {
    link: Link,
    slot: Slot,
    now: u64,
    /// A new connection: this side has sent its READY when its inbox held so much.
    declared: Option<(Ticket, Ready, u64)>,
    session: Option<Session>,
    inbox: Vec<(MessageId, u64)>,
    /// Requests that wait for an answer.
    asked: Vec<CallId>,
    /// The highest number of the stream of calls that was transmitted in the present pair.
    calls: u64,
    /// Requests that were transmitted to the attacker, which has not answered them.
    questions: BTreeSet<u64>,
    /// Bytes that may be held beyond the window: they came on the old connection after the READY.
    overlap: u64,
    durable: bool,
    appends: VecDeque<u64>,
    trims: Vec<MessageId>,
    obtained: BTreeMap<Instance, u64>,
    attempt: Attempt,
}

/// A session, and what the attacker has allowed in it.
struct Session {
    id: SessionId,
    ours: Vec<StreamState>,
    theirs: Vec<StreamState>,
    credit: u64,
    spent: u64,
}

impl Target {
    /// A service that has just started, with or without a store.
    pub(super) fn new(script: &mut Script<'_>) -> Self {
        let config = LinkConfig {
            first_window: u32::MAX,
            held_overhead: Data::cost(0),
            window: WINDOW as u32,
            max_payload: LONGEST,
            outbox_messages: 6,
            outbox_bytes: 400,
            in_flight: 4,
            mark_step: 2,
            batch: LONGEST,
            ack_delay: 1,
            rejections: 1_024,
            listed: 3,
            ended_time: 2,
            ended: 2,
            requests: 2,
            request_window: 0,
            reply_bytes: 200,
            waiting_requests: 3,
            waiting_request_bytes: 300,
        };
        let durable = script.byte() % 2 == 1;
        let link = if durable {
            Link::restore(config, ours(LIFE), restored(script), 0)
        } else {
            Link::new(config, ours(LIFE))
        };
        Self {
            link,
            slot: Slot::default(),
            now: 0,
            declared: None,
            session: None,
            inbox: Vec::new(),
            asked: Vec::new(),
            calls: 0,
            questions: BTreeSet::new(),
            overlap: 0,
            durable,
            appends: VecDeque::new(),
            trims: Vec::new(),
            obtained: BTreeMap::new(),
            attempt: Attempt::default(),
        }
    }

    /// One event: the attacker's, or what happens anyway.
    pub(super) fn step(&mut self, script: &mut Script<'_>) {
        self.attempt.steps += 1;
        match script.byte() % 24 {
            0..=5 => self.hear(script),
            6 => self.make_ready(),
            7 | 8 => self.begin(script),
            9 => self.end(),
            10..=12 => self.send(script),
            13..=15 => self.write(),
            16 | 17 => self.handle(script),
            18 => self.acknowledge(),
            19 => self.store(script),
            20 => self.trim(),
            21 => self.read(),
            22 => {
                self.now += 1;
                self.link.expire(self.now);
            }
            _ => self.rare(script),
        }
    }

    /// Returns how far the attacker got.
    pub(super) fn attempt(&self) -> Attempt {
        let (counts, calls) = (self.link.counts(), self.link.call_counts());
        let (rejected, asked, answered) = (counts.rejected, calls.asked, calls.answered);
        Attempt { rejected, asked, answered, ..self.attempt }
    }

    /// Checks what holds whatever the attacker does.
    pub(super) fn assert_sound(&self) {
        let held: u64 = self.inbox.iter().map(|(_, cost)| cost).sum();
        assert_eq!(self.link.held(), held, "what is held is what is in the inbox");
        assert!(held <= WINDOW + self.overlap, "the inbox stays within the window");
        assert!(self.overlap <= WINDOW, "the inbox never takes more than two windows");
        let (counts, messages) = (self.link.counts(), self.link.outbox_messages());
        assert!(counts.is_conserved(messages), "every message has one outcome");
        let requests = self.link.call_counts();
        assert!(requests.is_conserved(self.link.requests()), "every request has one outcome");
        let unanswered = self.link.unanswered();
        assert!(requests.answers_are_conserved(unanswered), "every request has one answer");
        assert!(unanswered <= 16, "two requests of each depth are unanswered");
        let waiting = messages as u64;
        assert!(self.link.outbox_bytes() >= 24 * waiting, "the outbox knows its size");
    }

    /// The attacker's knowledge of the session.
    fn known(&self, session: &Session) -> Knowledge {
        let now = self.link.ready();
        let expected = |stream: &StreamState| {
            let cursor = now.yours.iter().find(|cursor| cursor.instance == stream.instance);
            cursor.map_or(stream.base, |cursor| cursor.received.saturating_add(1))
        };
        let obtained = |stream: &StreamState| self.obtained(stream.instance);
        Knowledge {
            expected: session.theirs.iter().map(expected).collect(),
            obtained: session.ours.iter().map(obtained).collect(),
            calls: [now.calls.received.saturating_add(1), self.calls],
            asked: self.questions.iter().copied().collect(),
        }
    }

    /// The highest number of a stream that was transmitted.
    fn obtained(&self, stream: Instance) -> u64 {
        self.obtained.get(&stream).copied().unwrap_or_default()
    }

    fn hear(&mut self, script: &mut Script<'_>) {
        let Some(session) = &self.session else { return };
        let plaintext = forge::frame(script, &self.known(session));
        let Some(session) = &mut self.session else { return };
        let Ok(frame) = decode(&plaintext, LONGEST) else {
            self.attempt.violations += 1;
            return self.end();
        };
        let credit = if let Frame::Ack(ack) = &frame { ack.credit } else { 0 };
        if let Frame::Calls(calls) = &frame {
            for item in calls.items.iter().filter(|item| is_answer(item)) {
                self.questions.remove(&item.call);
            }
        }
        let mut arrived = Vec::new();
        let received = self.link.receive(session.id, frame, &mut arrived);
        for message in arrived {
            self.attempt.delivered += 1;
            self.inbox.push((message.id, Data::cost(message.payload.len())));
        }
        self.take_calls();
        let Some(session) = &mut self.session else { return };
        match received {
            Ok(_) => session.credit = session.credit.max(credit),
            // The connection ends, but maybe not before its other half has tried to write.
            Err(_) => {
                self.attempt.violations += 1;
                if script.one_in(2) {
                    self.write();
                }
                self.end();
            }
        }
    }

    fn make_ready(&mut self) {
        self.declared = Some((self.slot.ticket(), self.link.ready(), self.link.held()));
    }

    fn begin(&mut self, script: &mut Script<'_>) {
        let obtained = |stream| self.obtained(stream);
        let plaintext = forge::ready(script, &self.link.ready(), obtained, self.calls);
        if self.declared.is_none() {
            self.make_ready();
        }
        let Ok(Frame::Ready(theirs)) = decode(&plaintext, 1_000) else {
            self.attempt.violations += 1;
            return;
        };
        let Some((ticket, ours, held)) = self.declared.take() else { return };
        let Some(id) = self.slot.take(ticket, Some(theirs.instance)) else { return };
        let now = self.link.held();
        self.session = None;
        if self.link.start(id, &ours, &theirs).is_ok() {
            self.attempt.sessions += 1;
            self.take_calls();
            self.overlap = now.saturating_sub(held.min(WINDOW));
            let credit = u64::from(theirs.window);
            let (ours, theirs) = (ours.mine, theirs.mine);
            self.session = Some(Session { id, ours, theirs, credit, spent: 0 });
        } else {
            self.attempt.violations += 1;
            self.slot.vacate(id);
        }
    }

    fn end(&mut self) {
        if let Some(session) = self.session.take() {
            self.slot.vacate(session.id);
            self.link.end(session.id);
        }
    }

    fn send(&mut self, script: &mut Script<'_>) {
        let payload = Payload::bytes(vec![0; script.below(LONGEST as usize)]);
        let deadline = script.one_in(4).then_some(self.now + 1);
        if let Ok(id) = self.link.enqueue(payload, self.now, deadline)
            && self.durable
        {
            self.appends.push_back(id.number);
        }
    }

    fn take_calls(&mut self) {
        for event in self.link.take_call_events() {
            match event {
                CallEvent::Asked(request) => self.asked.push(request.id),
                CallEvent::Cancelled(cancelled) => self.asked.retain(|id| *id != cancelled),
                CallEvent::Forgotten { pair } => {
                    self.asked.retain(|id| id.pair >= pair);
                    self.questions.clear();
                    self.calls = 0;
                }
                _ => {}
            }
        }
    }

    fn ask_or_answer(&mut self, script: &mut Script<'_>) {
        let payload = Payload::bytes(vec![0; script.below(LONGEST as usize)]);
        if let Some(id) = self.asked.pop().filter(|_| script.one_in(2)) {
            let _ = self.link.answer(id, Answer::Reply(payload));
        } else if script.one_in(4) {
            self.link.give_up_request(1 + u64::from(script.byte() % 8), script.one_in(2));
        } else {
            let depth = script.byte() % 9;
            let _ = self.link.request(OutgoingRequest { payload, depth, deadline: None });
        }
    }

    fn write(&mut self) {
        let Some(session) = &mut self.session else { return };
        let (stream, last, count, cost) = match self.link.transmit(session.id, self.now) {
            Some(Frame::Data(data)) => {
                (data.stream, data.number, 1, Data::cost(data.payload.len()))
            }
            Some(Frame::Batch(batch)) => {
                let (count, cost) = (batch.messages.count() as u64, batch.messages.cost());
                (batch.stream, batch.first + count - 1, count, cost)
            }
            Some(Frame::Calls(calls)) if calls.first > 0 => {
                self.calls = self.calls.max(calls.first + calls.items.len() as u64 - 1);
                let requests = calls.items.iter().filter(|item| is_request(item));
                self.questions.extend(requests.map(|item| item.call));
                return;
            }
            _ => return,
        };
        self.attempt.obtained += count;
        let stream = session.ours[usize::from(stream)].instance;
        self.obtained.insert(stream, last);
        session.spent += cost;
        assert!(session.spent <= session.credit, "nothing is sent beyond the credit");
    }

    fn acknowledge(&mut self) {
        if let Some(session) = &self.session {
            let _ = self.link.acknowledge(session.id);
        }
    }

    fn handle(&mut self, script: &mut Script<'_>) {
        if self.inbox.is_empty() {
            return;
        }
        let (id, _) = self.inbox.remove(script.below(self.inbox.len()));
        let rejects = script.one_in(4);
        let rejected = Err(RejectCode::FAILED);
        self.link.handled(id, if rejects { rejected } else { Ok(()) });
    }

    fn store(&mut self, script: &mut Script<'_>) {
        if script.one_in(4) {
            self.appends.clear();
            if self.durable {
                self.link.unstored();
            }
        } else if let Some(number) = self.appends.pop_front() {
            self.link.stored(number);
        }
    }

    fn trim(&mut self) {
        if self.trims.is_empty() {
            self.trims = self.link.take_trims();
            let _ = self.link.take_cursors();
        } else {
            self.link.trimmed(self.trims.remove(0));
        }
    }

    fn read(&mut self) {
        if let Some(mark) = self.link.take_mark() {
            self.link.marked(mark);
        }
        if let Some(id) = self.link.wanted() {
            self.link.supply(id, Payload::bytes(vec![0]));
        }
    }

    fn rare(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 => _ = self.link.abandon(),
            1 => self.link.drain(),
            2..=5 => self.ask_or_answer(script),
            6 => self.take_outcomes(),
            _ => _ = self.link.wants_new_session(),
        }
    }

    /// Takes what became of messages, and what the attacker has said about them.
    fn take_outcomes(&mut self) {
        let (outcomes, texts) = (self.link.take_outcomes(), self.link.take_texts());
        let is_rejected = |id: &MessageId| matches!(outcomes.get(id), Some(Outcome::Rejected(_)));
        assert!(texts.keys().all(is_rejected), "words are about what was rejected");
    }
}

fn is_request(item: &CallItem) -> bool {
    matches!(item.body, CallBody::Request { .. })
}

fn is_answer(item: &CallItem) -> bool {
    matches!(item.body, CallBody::Reply { .. } | CallBody::Failure { .. })
}

/// State that a store gives back; of the attacker's streams, whatever the attacker made of them.
fn restored(script: &mut Script<'_>) -> StoredLink {
    let base = |script: &mut Script<'_>| script.number(1).clamp(1, 1 << 40);
    let stream = |script: &mut Script<'_>, instance: u8, base: u64| StoredStream {
        instance: ours(instance),
        base,
        mark: base,
        messages: (0..=script.below(3))
            .map(|_| StoredMessage {
                len: 1,
                ttl: script.one_in(4).then_some(Duration::from_millis(2)),
            })
            .collect(),
    };
    let cursor = |script: &mut Script<'_>, instance: u8| {
        let completed = script.number(5);
        let beyond = |offset: u64| completed.checked_add(offset);
        let finished = (2..2 + script.below(3) as u64).filter_map(beyond).collect();
        StoredCursor { instance: theirs(instance), completed, finished }
    };
    StoredLink {
        streams: (0..script.below(LIFE as usize + 1) as u8)
            .map(|it| {
                let base = base(script);
                stream(script, it, base)
            })
            .collect(),
        cursors: (0..script.below(4) as u8).map(|it| cursor(script, it)).collect(),
    }
}
