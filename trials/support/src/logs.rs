//! Logs, captured at the finest level.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber, span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Everything that was logged since [`capture_logs`].
#[derive(Clone, Debug, Default)]
pub struct CapturedLogs {
    lines: Arc<Mutex<Vec<String>>>,
}

/// Captures all logs of this process from now on, at every level, of every crate. Call it once.
#[must_use]
pub fn capture_logs() -> CapturedLogs {
    let logs = CapturedLogs::default();
    Registry::default().with(logs.clone()).init();
    logs
}

/// Captures the logs of this thread, until the guard is dropped.
#[must_use]
pub fn capture_logs_of_thread() -> (CapturedLogs, DefaultGuard) {
    let logs = CapturedLogs::default();
    let guard = Registry::default().with(logs.clone()).set_default();
    (logs, guard)
}

impl CapturedLogs {
    /// Returns all lines: level, target, fields.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn push(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl<S: Subscriber> Layer<S> for CapturedLogs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}", metadata.level(), metadata.target()));
        event.record(&mut line);
        self.push(line.0);
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        let mut line = Line(format!("SPAN {}", attributes.metadata().name()));
        attributes.record(&mut line);
        self.push(line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}
