//! State that all peers of an exchange share.

use std::time::Duration;

use paddington_wire::link::Millis;
use paddington_wire::{Instance, PeerName};
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::inbox_room::InboxRoom;
use super::request_room::RequestRoom;
use super::room::Room;
use crate::{Config, Event, StartError};

/// The most events that wait for a slow receiver.
const EVENTS: usize = 256;

/// State that all peers of an exchange share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: PeerName,
    pub(crate) instance: Instance,
    pub(crate) config: Config,
    pub(crate) room: Room,
    pub(crate) inboxes: InboxRoom,
    pub(super) requests: RequestRoom,
    /// Cancelled when the service shuts down.
    pub(crate) stopping: CancellationToken,
    /// Notified whenever a message that may expire was accepted.
    pub(crate) deadlines: Notify,
    /// Notified whenever a peer may have become absent.
    pub(crate) absences: Notify,
    started: Instant,
    events: broadcast::Sender<Event>,
}

impl Shared {
    pub(crate) fn new(
        name: PeerName,
        config: Config,
        peers: usize,
        stored: bool,
    ) -> Result<Self, StartError> {
        let total = if stored { config.stored_bytes_total } else { config.outbox_bytes_total };
        Ok(Self {
            instance: Instance::random().map_err(|_| StartError::Random)?,
            inboxes: InboxRoom::new(config.inbox_bytes_total, peers, &config.link(stored)),
            requests: RequestRoom::new(config.request_bytes_total),
            room: Room::new(total, peers, config.transport.limits.max_payload),
            stopping: CancellationToken::new(),
            deadlines: Notify::new(),
            absences: Notify::new(),
            started: Instant::now(),
            events: broadcast::Sender::new(EVENTS),
            name,
            config,
        })
    }

    /// Milliseconds since this exchange was started.
    pub(crate) fn now(&self) -> Millis {
        millis(self.started.elapsed())
    }

    /// Returns what [`now`](Self::now) is at a moment.
    pub(super) fn time(&self, moment: Instant) -> Millis {
        millis(moment.saturating_duration_since(self.started))
    }

    /// Returns the moment at which [`now`](Self::now) becomes `time`.
    pub(crate) fn moment(&self, time: Millis) -> Instant {
        self.started + Duration::from_millis(time)
    }

    pub(crate) fn tell(&self, event: Event) {
        let _ = self.events.send(event); // there may be no receiver
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

pub(crate) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
