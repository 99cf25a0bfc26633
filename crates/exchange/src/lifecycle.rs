//! How far an exchange has come with its end: whether it still accepts messages, and its report.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ShutdownReport;

/// The end of an exchange, from the first request to the report.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    asked: CancellationToken,
    phase: AtomicPhase,
    report: watch::Sender<Option<ShutdownReport>>,
}

/// Who may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Everybody.
    Open,
    /// Handlers that run.
    Draining,
    /// Nobody.
    Closed,
}

impl Lifecycle {
    /// A lifecycle whose end begins when `asked` is cancelled.
    pub(crate) fn new(asked: CancellationToken) -> Self {
        Self { asked, phase: AtomicPhase::default(), report: watch::Sender::new(None) }
    }

    /// Asks for the end.
    pub(crate) fn ask(&self) {
        self.phase.advance(Phase::Draining);
        self.asked.cancel();
    }

    /// Resolves when somebody has asked for the end.
    pub(crate) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// From now on nobody may send.
    pub(crate) fn close(&self) {
        self.phase.advance(Phase::Closed);
    }

    /// Whether a message is accepted from a sender that is, or is not, a handler.
    pub(crate) fn accepts(&self, is_handler: impl FnOnce() -> bool) -> bool {
        match self.phase.load() {
            Phase::Open => true,
            Phase::Draining => is_handler(),
            Phase::Closed => false,
        }
    }

    /// A token that is cancelled when the listener is to stop.
    pub(crate) fn listener(&self) -> CancellationToken {
        self.asked.child_token()
    }

    /// Publishes the report: the exchange has ended.
    pub(crate) fn finish(&self, report: ShutdownReport) {
        self.report.send_replace(Some(report));
    }

    pub(crate) async fn finished(&self) -> ShutdownReport {
        let mut report = self.report.subscribe();
        let finished = report.wait_for(Option::is_some).await;
        finished.ok().and_then(|report| report.clone()).unwrap_or_default()
    }
}

/// A phase that is looked at with each message that is sent, and only goes forward.
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
