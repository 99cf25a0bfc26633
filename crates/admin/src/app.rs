//! The state that the routes share.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use paddington::Service;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::absences::Absences;
use crate::feed::Feed;
use crate::history::History;
use crate::owners::LastOwners;
use crate::{Inbox, Reload, Settings};

/// The state that the routes share: the service, and how it is operated.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) service: Service,
    /// The inbox, if messages go to consumers of the API.
    pub(crate) inbox: Option<Inbox>,
    /// The longest message, in bytes.
    pub(crate) longest: usize,
    /// Whether requests over TCP may change peers.
    pub(crate) changes: bool,
    /// Names of the peers without which the service is not ready.
    pub(crate) required: Vec<String>,
    /// How long a required peer may be away.
    pub(crate) grace: Duration,
    pub(crate) reload: Option<Reload>,
    pub(crate) started: SystemTime,
    pub(crate) since: Instant,
    pub(crate) absences: Absences,
    pub(crate) history: History,
    pub(crate) feed: Feed,
    pub(crate) owners: LastOwners,
    /// Which replicas own the links of the required peers that this one does not own.
    pub(crate) elsewhere: LastOwners,
    /// Tells that a required peer has come or left.
    pub(crate) moves: Notify,
    /// Cancelled when the API ends.
    pub(crate) stop: CancellationToken,
}

/// The state of all routes.
pub(crate) type Shared = Arc<App>;

impl App {
    pub(crate) fn new(
        settings: Settings,
        service: Service,
        inbox: Option<Inbox>,
        stop: CancellationToken,
    ) -> Self {
        let longest = service.config().settings().transport.limits.max_payload as usize;
        Self {
            service,
            inbox,
            longest,
            changes: settings.changes,
            required: settings.required,
            grace: settings.grace,
            reload: settings.reload,
            started: SystemTime::now(),
            since: Instant::now(),
            absences: Absences::new(),
            history: History::new(),
            feed: Feed::new(),
            owners: LastOwners::default(),
            elsewhere: LastOwners::default(),
            moves: Notify::new(),
            stop,
        }
    }

    /// Returns whether there is a peer of this name.
    pub(crate) fn knows(&self, peer: &str) -> bool {
        self.service.peers().iter().any(|it| it.name.as_str() == peer)
    }
}
