//! Keeps a client connected: dials, runs the connection, waits and dials again until told to stop.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use paddington_wire::CloseCode;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::backoff::Delays;
use crate::contract::{Caller, Renewed};
use crate::{Connection, DialError, Dialer};

/// Keeps one connection to one server, on its own task, until `stop` is cancelled.
///
/// There is never more than one attempt at a time. Cancelling `stop` does not cut an established
/// connection: its traffic decides when it closes.
pub fn stay_connected<C: Caller>(
    dialer: Dialer,
    caller: C,
    tasks: &TaskTracker,
    stop: CancellationToken,
) {
    tasks.spawn(run(dialer, caller, stop));
}

async fn run<C: Caller>(mut dialer: Dialer, caller: C, stop: CancellationToken) {
    let caller = Arc::new(caller);
    let mut delays = Delays::new(dialer.config.retry);
    let mut report = Report::default();
    loop {
        let attempt = Box::pin(dialer.dial(caller.reserve()));
        let dialled = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            dialled = attempt => dialled,
        };
        let delay = match dialled {
            Ok(established) => {
                report.connected(&dialer);
                let connected_at = Instant::now();
                let mut connection = Connection::new(
                    established,
                    dialer.config.timeouts,
                    Arc::clone(&dialer.network),
                );
                connection.renew_after(dialer.jittered(dialer.config.timeouts.session_age));
                let end = connection.run().await;
                delays.after_session(connected_at.elapsed(), &end, dialer.network.chance())
            }
            Err(error) => {
                let renewed = match error.doubts_invitation() {
                    true if caller.is_renewable() => renewed(&caller).await,
                    _ => None,
                };
                if let Some(Renewed { endpoint, credentials, tls }) = renewed {
                    info!(%endpoint, "the invitation has changed; trying the new one");
                    dialer.endpoint = endpoint;
                    dialer.login.credentials = credentials;
                    dialer.tls = tls;
                    continue;
                }
                let delay = delays.after_failure(&error, dialer.network.chance());
                report.failed(&dialer, &error, delay);
                delay
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(delay) => {}
        }
    }
}

/// Looks for a newer invitation, on a blocking thread because that may read a file.
async fn renewed<C: Caller>(caller: &Arc<C>) -> Option<Renewed> {
    let caller = Arc::clone(caller);
    tokio::task::spawn_blocking(move || caller.renewed()).await.ok().flatten()
}

impl Dialer {
    /// Varies `duration` by up to 10 %, so that sessions of the same age do not end together.
    fn jittered(&self, duration: Duration) -> Duration {
        duration.mul_f64(0.9 + 0.2 * self.network.chance())
    }
}

/// Logs changes only: a server that stays unreachable is reported once.
#[derive(Default)]
struct Report {
    last: Option<String>,
}

impl Report {
    fn connected(&mut self, dialer: &Dialer) {
        if self.last.take().is_some() {
            info!(endpoint = %dialer.endpoint, "connected after failed attempts");
        }
    }

    fn failed(&mut self, dialer: &Dialer, failure: &DialError, delay: Duration) {
        let cause = with_causes(failure);
        let endpoint = &dialer.endpoint;
        if self.last.as_ref() == Some(&cause) {
            debug!(%endpoint, %cause, ?delay, "still not connected");
            return;
        }
        match failure {
            DialError::Refused(CloseCode::Busy | CloseCode::Violation) => {
                error!(%endpoint, %cause, ?delay, "not connected; trying again");
            }
            _ => warn!(%endpoint, %cause, ?delay, "not connected; trying again"),
        }
        self.last = Some(cause);
    }
}

/// Formats an error and its sources as one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let clause = cause.to_string();
        if !text.ends_with(&clause) {
            text = format!("{text}: {clause}");
        }
        source = cause.source();
    }
    text
}
