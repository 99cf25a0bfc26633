//! One service: the real link and the real slot, its handlers, and its disk if it has one.

use std::collections::VecDeque;

use paddington_wire::link::{CallId, Link, LinkConfig, Millis};
use paddington_wire::{Data, Instance, MessageId, Payload, Slot};

use crate::connection::CLIENT;
use crate::disk::{Disk, Durable};
use crate::ledger::Breach;
use crate::scenario::{Keeping, Sabotage, Scenario};

/// Cost of a message of the model: each holds one byte, its label.
pub const COST: u64 = 25;

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    /// The link under test.
    pub link: Link,
    /// The slot under test.
    pub slot: Slot,
    /// The name of this instance.
    pub instance: Instance,
    /// How often the service was started.
    pub starts: u8,
    /// Bytes that the inbox may hold beyond the window: they came on an old connection after the
    /// READY of the new one had said how much room there is.
    pub overlap: u64,
    /// Messages that were delivered and are not handled.
    pub inbox: VecDeque<MessageId>,
    /// Requests that the handler was called with and has not answered, with their labels.
    pub asked: VecDeque<(CallId, u8)>,
    /// How many answers to requests that it has given up the link will have counted when all that are
    /// due have come.
    pub late: u64,
    /// The disk, if it has one.
    pub disk: Option<Disk>,
}

impl Side {
    /// A service that starts for the first time.
    #[must_use]
    pub fn new(index: usize, scenario: &Scenario) -> Self {
        let mut disk = (scenario.keeping[index] == Keeping::Durable).then(Disk::default);
        let instance = instance(index, 1);
        let link = match &mut disk {
            Some(disk) => {
                if index == CLIENT {
                    disk.left_over(scenario);
                }
                let stored = disk.durable.restored(0).unwrap_or_default();
                Link::restore(config(scenario), instance, stored, 0)
            }
            None => Link::new(config(scenario), instance),
        };
        let (slot, inbox) = (Slot::default(), VecDeque::new());
        let asked = VecDeque::new();
        Self { link, slot, instance, starts: 1, overlap: 0, inbox, asked, late: 0, disk }
    }

    /// A second process with the invitation of the client, which knows nothing of the first one.
    #[must_use]
    pub fn twin(number: u8, scenario: &Scenario) -> Self {
        let instance = instance(CLIENT, u8::MAX - number);
        let link = Link::new(config(scenario), instance);
        let (slot, inbox) = (Slot::default(), VecDeque::new());
        let asked = VecDeque::new();
        Self { link, slot, instance, starts: 1, overlap: 0, inbox, asked, late: 0, disk: None }
    }

    /// The process dies and is started again at the time `now`.
    ///
    /// # Errors
    ///
    /// If it cannot start from its disk.
    pub fn restart(
        &mut self,
        index: usize,
        scenario: &Scenario,
        now: Millis,
    ) -> Result<(), Breach> {
        self.starts += 1;
        self.slot = Slot::default();
        self.inbox.clear();
        self.overlap = 0;
        self.late = 0;
        let same = scenario.sabotage == Some(Sabotage::OneNumberSpace);
        let instance = instance(index, if same { 1 } else { self.starts });
        self.instance = instance;
        self.link = match &mut self.disk {
            Some(disk) => {
                disk.crash();
                let stored = disk.durable.restored(now)?;
                Link::restore(config(scenario), instance, stored, now)
            }
            None => Link::new(config(scenario), instance),
        };
        Ok(())
    }

    /// How many bytes were delivered and are not handled.
    #[must_use]
    pub fn held(&self) -> u64 {
        COST * self.inbox.len() as u64
    }

    /// Whether its outbox, its inbox and its disk are all at rest.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let ready = self.link.ready();
        self.inbox.is_empty()
            && self.link.is_idle()
            && self.link.outbox_messages() == 0
            && ready.mine.len() == 1
    }

    /// The durable contents of its disk, if it has one.
    #[must_use]
    pub fn durable(&self) -> Option<&Durable> {
        self.disk.as_ref().map(|disk| &disk.durable)
    }

    /// Whether the link's counts add up.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        self.link.counts().is_conserved(self.link.outbox_messages())
            && self.link.call_counts().is_conserved(self.link.requests())
            && self.link.call_counts().answers_are_conserved(self.link.unanswered())
    }
}

/// The name of a instance of a service.
#[must_use]
pub fn instance(index: usize, start: u8) -> Instance {
    let mut name = [0; Instance::LEN];
    (name[0], name[1]) = (index as u8 + 1, start);
    Instance::from(name)
}

/// The payload of a message.
#[must_use]
pub fn payload(label: u8) -> Payload {
    Payload::bytes(vec![label])
}

fn config(scenario: &Scenario) -> LinkConfig {
    LinkConfig {
        first_window: u32::MAX,
        held_overhead: Data::cost(0),
        window: scenario.window() as u32,
        max_payload: scenario.longest(),
        outbox_messages: scenario.outbox,
        outbox_bytes: 8 * COST,
        in_flight: scenario.in_flight,
        mark_step: scenario.mark_step,
        batch: scenario.batch(),
        ack_delay: 0, // a driver may still take its time
        rejections: scenario.rejections,
        listed: scenario.listed,
        ended_time: u64::from(scenario.ended > 0),
        ended: scenario.ended,
        requests: scenario.requests,
        ..LinkConfig::default()
    }
}
