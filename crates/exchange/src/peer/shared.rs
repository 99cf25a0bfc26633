//! State that all peers of an exchange share.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paddington_wire::link::{LinkConfig, Millis};
use paddington_wire::{Instance, PeerName};
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inbox_room::InboxRoom;
use super::overdue::Looks;
use super::request_room::RequestRoom;
use super::room::Room;
use super::term_counts::TermCounts;
use crate::{Config, Event, StartError};

/// The most events that wait for a slow receiver.
const EVENTS: usize = 256;

/// State that all peers of an exchange share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: PeerName,
    /// Its instance, on all links that it has from its start on.
    pub(crate) instance: Instance,
    pub(crate) config: Config,
    pub(crate) room: Room,
    pub(crate) inboxes: InboxRoom,
    pub(super) requests: RequestRoom,
    /// Cancelled when the service shuts down.
    pub(crate) stopping: CancellationToken,
    /// Notified whenever a message that may expire was accepted.
    pub(crate) deadlines: Notify,
    /// The looks at requests that may be over time.
    pub(crate) looks: Looks,
    /// Notified whenever a peer may have become absent.
    pub(crate) absences: Notify,
    /// The tasks that look after keys.
    pub(crate) key_tasks: TaskTracker,
    /// The limits of links whose messages are in memory, and of those whose messages are stored.
    links: Mutex<[Arc<LinkConfig>; 2]>,
    /// Number of times that something was divided among the peers.
    divisions: AtomicU64,
    started: Instant,
    events: broadcast::Sender<Event>,
    pub(crate) terms: TermCounts,
}

impl Shared {
    pub(crate) fn new(
        name: PeerName,
        config: Config,
        places: usize,
        stored: bool,
    ) -> Result<Self, StartError> {
        let inboxes = InboxRoom::new(config.inbox_bytes_total, places, &config.link(stored));
        let total = if stored { config.stored_bytes_total } else { config.outbox_bytes_total };
        Ok(Self {
            instance: Instance::random().map_err(|_| StartError::Random)?,
            links: Mutex::new(links(&config, &inboxes)),
            divisions: AtomicU64::new(0),
            inboxes,
            requests: RequestRoom::new(config.request_bytes_total),
            room: Room::new(total, places, config.transport.limits.max_payload),
            stopping: CancellationToken::new(),
            deadlines: Notify::new(),
            looks: Looks::default(),
            absences: Notify::new(),
            key_tasks: TaskTracker::new(),
            started: Instant::now(),
            events: broadcast::Sender::new(EVENTS),
            terms: TermCounts::default(),
            name,
            config,
        })
    }

    /// Divides what is divided among the peers by another number of places for peers. It holds for a
    /// peer that is there already once it was [divided](super::Peer::divide) too.
    pub(crate) fn divide(&self, places: usize) {
        self.room.divide(places);
        self.inboxes.divide(places);
        let links = links(&self.config, &self.inboxes);
        *self.links.lock().unwrap_or_else(PoisonError::into_inner) = links;
        self.divisions.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst); // a peer that begins now sees this, or is seen by the caller
    }

    /// Returns the number of the present division.
    pub(super) fn division(&self) -> u64 {
        self.divisions.load(Ordering::SeqCst)
    }

    /// Returns the limits of a link, whose messages are `stored` or not.
    pub(crate) fn link(&self, stored: bool) -> Arc<LinkConfig> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&links[usize::from(stored)])
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
        self.terms.note(&event);
        let _ = self.events.send(event); // there may be no receiver
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

fn links(config: &Config, inboxes: &InboxRoom) -> [Arc<LinkConfig>; 2] {
    let first_window = inboxes.first_window();
    [false, true].map(|stored| Arc::new(LinkConfig { first_window, ..config.link(stored) }))
}

pub(crate) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
