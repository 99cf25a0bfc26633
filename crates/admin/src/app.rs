//! What the routes share.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use paddington::Service;
use tokio::time::Instant;

use crate::{Inbox, Settings};

/// What the routes share: the service, and how it is operated.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) service: Service,
    /// The inbox, if messages go to consumers of the API.
    pub(crate) inbox: Option<Inbox>,
    /// Whether requests over TCP may change peers.
    pub(crate) changes: bool,
    /// Names of the peers without which the service is not ready.
    pub(crate) required: Vec<String>,
    /// How long a required peer may be away.
    #[expect(dead_code, reason = "readiness uses it")]
    pub(crate) grace: Duration,
    pub(crate) started: SystemTime,
    pub(crate) since: Instant,
}

/// The state of all routes.
pub(crate) type Shared = Arc<App>;

impl App {
    pub(crate) fn new(settings: Settings, service: Service, inbox: Option<Inbox>) -> Self {
        Self {
            service,
            inbox,
            changes: settings.changes,
            required: settings.required,
            grace: settings.grace,
            started: SystemTime::now(),
            since: Instant::now(),
        }
    }
}
