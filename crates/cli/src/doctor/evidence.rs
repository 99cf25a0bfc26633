//! Evidence that can be had from here: the configuration, and what the service says if it runs.

use std::time::SystemTime;

use paddington::database_report::DatabaseReport;
use paddington::{ClusterError, LinkDetails, LinkId, ServiceConfig, with_causes};
use paddington_admin::client::{Client, ClientError};
use paddington_admin::model::{Status, time};

use super::report::Finding;
use crate::access::entry;
use crate::commands::peers::Entry;
use crate::layers;
use crate::words;

/// The evidence.
pub(super) struct Evidence {
    /// `None` if it cannot be used; the checks of the configuration say why.
    pub(super) config: Option<ServiceConfig>,
    /// The status of the service, if it runs and can be asked.
    pub(super) status: Option<Status>,
    /// Why it cannot be asked although it seems to run.
    pub(super) unreachable: Option<Finding>,
    pub(super) peers: Vec<Entry>,
    /// The databases that the replicas of the service share; none if it is one process.
    pub(super) databases: Result<Vec<DatabaseReport>, ClusterError>,
    /// The time at which this was asked, as the API writes it.
    pub(super) now: String,
}

impl Evidence {
    pub(super) async fn gather() -> Self {
        let config = layers::service().ok();
        let (status, unreachable) = match ask().await {
            Ok(status) => (status, None),
            Err(finding) => (None, Some(finding)),
        };
        let mut peers: Vec<_> = match (&status, &config) {
            (Some(status), _) => status.peers.iter().cloned().map(Entry::from).collect(),
            (None, Some(config)) => config.link_details().iter().map(entry).collect(),
            (None, None) => Vec::new(),
        };
        peers.sort_by(|a, b| a.name.cmp(&b.name));
        let databases = match &config {
            Some(config) => config.examine_cluster().await,
            None => Ok(Vec::new()),
        };
        Self { config, status, unreachable, peers, databases, now: time(SystemTime::now()) }
    }

    /// Returns whether the peers of this service are known, be there any or not.
    pub(super) fn knows_peers(&self) -> bool {
        self.status.is_some() || self.config.is_some()
    }

    /// Returns whether the service has replicas, which share a database.
    pub(super) fn is_replica(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.cluster().is_some())
    }

    pub(super) fn own_name(&self) -> String {
        match (&self.status, &self.config) {
            (Some(status), _) => status.service.name.clone(),
            (None, Some(config)) => config.name().to_owned(),
            (None, None) => "this service".to_owned(),
        }
    }

    pub(super) fn link(&self, peer: &str) -> Option<LinkDetails> {
        let links = self.config.as_ref()?.link_details();
        links.into_iter().find(|link| link.name == peer)
    }
}

/// Returns the words by which two people can tell whether both sides mean the same link. They say
/// nothing about its keys.
pub(super) fn words_of(entry: &Entry) -> String {
    match entry.link.parse::<LinkId>() {
        Ok(link) => words::of(link.as_bytes()),
        Err(_) => entry.link.clone(),
    }
}

/// Asks the service, if it runs.
async fn ask() -> Result<Option<Status>, Finding> {
    // A fault of the file is told by its own check.
    let Ok(operation) = layers::operation() else { return Ok(None) };
    let socket = operation.api.socket;
    if socket.as_os_str().is_empty() {
        return Ok(None);
    }
    let asked = async { Client::connect(&socket).await?.get("/v1/status").await };
    match asked.await {
        Ok(status) => Ok(Some(status)),
        Err(error) if error.is_not_running() => Ok(None),
        Err(error @ ClientError::Socket { .. }) => Err(Finding::new(
            "socket_not_permitted",
            with_causes(&error),
            "Run this as the user who runs the service, for example with sudo -u.",
        )),
        Err(error) => Err(Finding::new(
            "service_not_answering",
            with_causes(&error),
            "See the log of the service, and start it again if it hangs.",
        )),
    }
}
