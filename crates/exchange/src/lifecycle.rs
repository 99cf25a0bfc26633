//! The lifecycle of an exchange: whether it still accepts messages, and the report of its end.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ShutdownReport;

/// The end of an exchange, from the first request to the report.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    asked: CancellationToken,
    /// Cancelled when the end is not to wait for anything.
    hurried: CancellationToken,
    phase: AtomicPhase,
    report: watch::Sender<Option<ShutdownReport>>,
}

/// Which senders may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// All senders.
    Open,
    /// Handlers that are running.
    Draining,
    /// None.
    Closed,
}

impl Lifecycle {
    /// Creates a lifecycle whose end begins when `asked` is cancelled.
    pub(crate) fn new(asked: CancellationToken) -> Self {
        Self {
            asked,
            hurried: CancellationToken::new(),
            phase: AtomicPhase::default(),
            report: watch::Sender::new(None),
        }
    }

    /// Requests the end.
    pub(crate) fn ask(&self) {
        self.phase.advance(Phase::Draining);
        self.asked.cancel();
    }

    /// Requests the end without waiting for anything.
    pub(crate) fn hurry(&self) {
        self.ask();
        self.hurried.cancel();
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.is_cancelled()
    }

    /// Resolves when the end is not to wait for anything.
    pub(crate) async fn hurried(&self) {
        self.hurried.cancelled().await;
    }

    /// Resolves when the end was requested.
    pub(crate) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Refuses all senders from now on.
    pub(crate) fn close(&self) {
        self.phase.advance(Phase::Closed);
    }

    /// Returns whether a message is accepted; `is_handler` says whether a handler sends it.
    pub(crate) fn accepts(&self, is_handler: impl FnOnce() -> bool) -> bool {
        match self.phase.load() {
            Phase::Open => true,
            Phase::Draining => is_handler(),
            Phase::Closed => false,
        }
    }

    /// Returns a token that is cancelled when the listener is to stop.
    pub(crate) fn listener(&self) -> CancellationToken {
        self.asked.child_token()
    }

    /// Publishes the report of the end.
    pub(crate) fn finish(&self, report: ShutdownReport) {
        self.report.send_replace(Some(report));
    }

    pub(crate) async fn finished(&self) -> ShutdownReport {
        let mut report = self.report.subscribe();
        let finished = report.wait_for(Option::is_some).await;
        finished.ok().and_then(|report| report.clone()).unwrap_or_default()
    }
}

/// A phase that only goes forward; it is read for each message that is sent.
#[derive(Debug, Default)]
struct AtomicPhase(AtomicU8);

impl AtomicPhase {
    fn load(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Open,
            1 => Phase::Draining,
            _ => Phase::Closed,
        }
    }

    fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::Relaxed);
    }
}
