//! Keeps a client connected: dials, runs the connection, waits and dials again until told to stop.
//! What changes about the link meanwhile counts from the next attempt on.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paddington_wire::keys::{Generation, Origin};
use paddington_wire::{CloseCode, Credentials};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::display;
use tracing::{debug, error, info, warn};

use crate::addresses::Addresses;
use crate::backoff::Delays;
use crate::contract::{Caller, Change, FailedAttempt, Renewed, Traffic};
use crate::handshake::Established;
use crate::key_choice::KeyChoice;
use crate::outbound::Proxy;
use crate::{Connection, DialError, Dialer, End, Explanation, Tls, remedy};

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
    let (mut report, mut addresses) = (Report::default(), Addresses::default());
    let mut choice = KeyChoice::default();
    loop {
        caller.changes().into_iter().for_each(|change| dialer.change(change));
        let keys = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            keys = caller.keys() => keys,
        };
        choice.take(keys, &mut dialer.login.credentials);
        report.route(&dialer);
        let began = Instant::now();
        let attempt = Box::pin(dialer.dial(caller.reserve(), choice.back(), &mut addresses));
        let dialled = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = caller.changed() => continue,
            dialled = attempt => dialled,
        };
        let (delay, mends) = match dialled {
            Ok(established) => {
                addresses.succeeded();
                choice.restart();
                report.connected(&dialer, &addresses);
                caller.connected(addresses.connected());
                let (lasted, end) = dialer.carry(established).await;
                let delay = delays.after_session(lasted, &end, dialer.network.chance());
                (delay, Mends::after(&end, &caller))
            }
            Err(error) if choice.falls_back(&error, &dialer) => continue,
            Err(error) => {
                addresses.failed(&error);
                let mends = Mends::of(&error, &dialer, &caller);
                if mends.renewable
                    && let Some(renewed) = renewed(&caller).await
                {
                    dialer.renew(renewed);
                    continue;
                }
                let (waited, chance) = (began.elapsed(), dialer.network.chance());
                let delay = delays.after_failure(&error, waited, addresses.has_good(), chance);
                caller.failed(&report.failed(&dialer, &addresses, &error, delay));
                (delay, mends)
            }
        };
        let pause = pause(&caller, mends, delay, dialer.config.retry.interval);
        let renewed = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = caller.changed() => continue,
            renewed = pause => renewed,
        };
        if let Some(renewed) = renewed {
            dialer.renew(renewed);
        }
    }
}

/// Changes that may mend a failure before the delay is over.
#[derive(Default)]
struct Mends {
    /// Whether a newer invitation might.
    renewable: bool,
    /// The certificate authorities, if others might.
    tls: Option<Tls>,
}

impl Mends {
    fn after<C: Caller>(end: &End, caller: &Arc<C>) -> Self {
        let removed = matches!(end, End::PeerClosed(CloseCode::Removed));
        Self { renewable: removed && caller.is_renewable(), tls: None }
    }

    fn of<C: Caller>(error: &DialError, dialer: &Dialer, caller: &Arc<C>) -> Self {
        let tls = dialer.tls.clone().filter(|_| matches!(error, DialError::Tls(_)));
        Self { renewable: error.doubts_invitation() && caller.is_renewable(), tls }
    }
}

/// Pauses for `delay`, or until what failed may be mended, for which it looks at each `interval`:
/// whoever mends a link need not wait until a long delay is over. Returns a newer invitation.
async fn pause<C: Caller>(
    caller: &Arc<C>,
    mends: Mends,
    delay: Duration,
    interval: Duration,
) -> Option<Renewed> {
    let end = Instant::now() + delay;
    while (mends.renewable || mends.tls.is_some()) && Instant::now() + interval < end {
        sleep(interval).await;
        if mends.renewable
            && let Ok(Some(renewed)) = timeout_at(end, renewed(caller)).await
        {
            return Some(renewed);
        }
        if let Some(tls) = &mends.tls
            && timeout_at(end, tls.refresh()).await.unwrap_or(false)
        {
            return None;
        }
    }
    sleep_until(end).await;
    None
}

/// Looks for a newer invitation, on a blocking thread because that may read a file.
async fn renewed<C: Caller>(caller: &Arc<C>) -> Option<Renewed> {
    let caller = Arc::clone(caller);
    tokio::task::spawn_blocking(move || caller.renewed()).await.ok().flatten()
}

impl Dialer {
    /// Runs a connection to its end. Returns how long it has lasted.
    async fn carry<T: Traffic>(&self, established: Established<T>) -> (Duration, End) {
        let (began, timeouts) = (Instant::now(), self.config.timeouts);
        let mut connection = Connection::new(established, timeouts, Arc::clone(&self.network));
        connection.renew_after(self.jittered(timeouts.session_age));
        let end = connection.run().await;
        (began.elapsed(), end)
    }

    /// Goes on with what somebody has changed.
    fn change(&mut self, change: Change) {
        match change {
            Change::Credentials(credentials) => self.login.credentials = credentials,
            Change::Invitation(renewed) => self.renew(renewed),
        }
    }

    /// Goes on with a newer invitation.
    fn renew(&mut self, Renewed { endpoint, credentials, tls }: Renewed) {
        info!(%endpoint, "the invitation has changed; trying the new one");
        self.endpoint = endpoint;
        self.login.credentials = credentials;
        self.tls = tls;
    }

    /// Varies `duration` by up to 10 %, so that sessions of the same age do not end together.
    fn jittered(&self, duration: Duration) -> Duration {
        duration.mul_f64(0.9 + 0.2 * self.network.chance())
    }
}

/// Logs changes only: each cause is reported once for each address, until there is a session.
#[derive(Default)]
struct Report {
    seen: VecDeque<(Option<SocketAddr>, String)>,
    /// The proxy on the way to the server.
    proxy: Option<Proxy>,
}

/// Number of causes that are remembered; the oldest is forgotten first.
const CAUSES: usize = 32;

impl Report {
    /// Says through which proxy the server is dialled, if another one is on the way than before.
    fn route(&mut self, dialer: &Dialer) {
        let Ok(route) = dialer.route() else { return };
        if let Some(proxy) = route.proxy().filter(|proxy| self.proxy.as_ref() != Some(*proxy)) {
            let (endpoint, named_in) = (&dialer.endpoint, proxy.named_in);
            info!(%endpoint, proxy = %proxy.url, named_in, "connecting through a proxy");
        }
        self.proxy = route.proxy().cloned();
    }

    fn connected(&mut self, dialer: &Dialer, addresses: &Addresses) {
        if !self.seen.is_empty() {
            let address = addresses.connected().map(display);
            info!(endpoint = %dialer.endpoint, address, "connected after failed attempts");
        }
        self.seen.clear();
    }

    fn failed(
        &mut self,
        dialer: &Dialer,
        addresses: &Addresses,
        failure: &DialError,
        delay: Duration,
    ) -> FailedAttempt {
        let attempt = failed(failure, dialer, addresses);
        let (endpoint, remedy) = (&dialer.endpoint, attempt.explanation.remedy);
        let seen = (attempt.address, attempt.explanation.cause.clone());
        let (address, cause) = (seen.0.map(display), &seen.1);
        if self.seen.contains(&seen) {
            debug!(%endpoint, address, %cause, ?delay, "still not connected");
            return attempt;
        }
        match failure {
            DialError::Refused(CloseCode::Busy | CloseCode::Violation) => {
                error!(%endpoint, address, %cause, remedy, ?delay, "not connected; trying again");
            }
            DialError::Refused(CloseCode::Removed) => error!(
                %endpoint, address, ?delay,
                "not connected: the server has removed this link; ask for a new invitation"
            ),
            _ => warn!(%endpoint, address, %cause, remedy, ?delay, "not connected; trying again"),
        }
        if self.seen.len() == CAUSES {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
        attempt
    }
}

/// Says in words why an attempt has failed, and what helps.
fn failed(failure: &DialError, dialer: &Dialer, addresses: &Addresses) -> FailedAttempt {
    let mut explanation = Explanation::from(failure);
    if matches!(failure, DialError::HungUp(_)) && is_unused(&dialer.login.credentials) {
        explanation.remedy = Some(remedy::UNUSED);
    }
    FailedAttempt { address: addresses.connected(), explanation }
}

/// Returns whether there was never a session with any of the keys.
fn is_unused(credentials: &Credentials) -> bool {
    let Credentials::Ring(ring) = credentials else { return false };
    let is_unused = |it: &Generation| !it.is_used() && it.origin() == Origin::HandedOver;
    ring.generations().iter().all(is_unused)
}
