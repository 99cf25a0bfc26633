//! Keeps a client connected: dials, runs the connection, waits and dials again until told to stop.
//! What changes about the link meanwhile counts from the next attempt on.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paddington_wire::keys::{Generation, KeyRing, Origin};
use paddington_wire::{CloseCode, Credentials};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::{debug, display};
use tracing::{debug, error, info, warn};

use crate::addresses::Addresses;
use crate::backoff::Delays;
use crate::contract::{Caller, Change, FailedAttempt, Renewed, Traffic};
use crate::handshake::Established;
use crate::key_choice::KeyChoice;
use crate::outbound::Proxy;
use crate::urls::Urls;
use crate::{Connection, DialError, Dialer, End, Endpoint, Explanation, Tls, remedy};

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

async fn run<C: Caller>(dialer: Dialer, caller: C, stop: CancellationToken) {
    let caller = Arc::new(caller);
    let mut attempts = Attempts::new(dialer, &caller);
    loop {
        caller.changes().into_iter().for_each(|change| attempts.dialer.change(change));
        let keys = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            keys = caller.keys() => keys,
        };
        let here = attempts.next(keys);
        let (began, back) = (Instant::now(), attempts.choice.back());
        let attempt = here.dial(caller.reserve(), back, attempts.urls.addresses_mut());
        let dialled = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = caller.changed() => continue,
            dialled = Box::pin(attempt) => dialled,
        };
        let ended = match dialled {
            Ok(established) => Some(Box::pin(attempts.succeeded(&here, established)).await),
            Err(error) if attempts.choice.falls_back(&error, &here) => None,
            Err(error) => attempts.failed(&here, error, began.elapsed()).await,
        };
        let Some((delay, mends)) = ended else { continue };
        let pause = pause(&caller, mends, delay, here.config.retry.interval);
        let renewed = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = caller.changed() => continue,
            renewed = pause => renewed,
        };
        if let Some(renewed) = renewed {
            attempts.dialer.renew(renewed);
        }
    }
}

/// The attempts to connect to one server, and what they have shown.
struct Attempts<C> {
    caller: Arc<C>,
    dialer: Dialer,
    urls: Urls,
    choice: KeyChoice,
    delays: Delays,
    report: Report,
    /// The failures of the present round, but for the last.
    round: Round,
}

/// The failures of the attempts of one round.
#[derive(Default)]
struct Round {
    /// The one that decides about the delay, and whether its URL has an address that has not failed.
    mildest: Option<(DialError, bool)>,
    mends: Mends,
}

impl<C: Caller> Attempts<C> {
    fn new(dialer: Dialer, caller: &Arc<C>) -> Self {
        Self {
            caller: Arc::clone(caller),
            urls: Urls::new(&dialer),
            choice: KeyChoice::default(),
            delays: Delays::new(dialer.config.retry),
            report: Report::default(),
            round: Round::default(),
            dialer,
        }
    }

    /// Returns what dials next: with these keys, if they have generations, and at one of the URLs.
    fn next(&mut self, keys: Option<Arc<KeyRing>>) -> Dialer {
        self.urls.follow(&self.dialer);
        self.choice.take(keys, &mut self.dialer.login.credentials);
        let here = Dialer { endpoint: self.urls.current().clone(), ..self.dialer.clone() };
        self.report.route(&here);
        here
    }

    /// Runs a connection to its end. Returns the delay after it.
    async fn succeeded<T: Traffic>(
        &mut self,
        here: &Dialer,
        established: Established<T>,
    ) -> (Duration, Mends) {
        self.urls.succeeded();
        self.choice.restart();
        self.round = Round::default();
        self.report.connected(here, self.urls.addresses());
        self.caller.connected(&here.endpoint, self.urls.addresses().connected());
        let (lasted, end) = here.carry(established).await;
        let delay = self.delays.after_session(lasted, &end, here.network.chance());
        (delay, Mends::after(&end, &self.caller))
    }

    /// Decides what follows a failure: a delay after the last URL of a round, or after what the server
    /// itself has said; else the next attempt follows at once.
    async fn failed(
        &mut self,
        here: &Dialer,
        error: DialError,
        waited: Duration,
    ) -> Option<(Duration, Mends)> {
        self.urls.addresses_mut().failed(&error);
        let mends = Mends::of(&error, here, &self.caller);
        if mends.renewable
            && let Some(renewed) = renewed(&self.caller).await
        {
            self.dialer.renew(renewed);
            self.round = Round::default();
            return None;
        }
        let has_good = self.urls.addresses().has_good();
        let delay = self.urls.ends_with(&error).then(|| {
            let (error, has_good) = self.round.decisive(&error, has_good);
            self.delays.after_failure(error, waited, has_good, here.network.chance())
        });
        let addresses = self.urls.addresses();
        self.caller.failed(&self.report.failed(here, addresses, &error, delay));
        self.round.add(error, has_good, mends);
        if delay.is_none() {
            self.urls.advance();
            return None;
        }
        self.urls.begin_round();
        Some((delay?, std::mem::take(&mut self.round).mends))
    }
}

impl Round {
    /// Returns the failure that decides about the delay when this is the last one: what passes by itself
    /// before what only time or a person can resolve, unless the server itself has refused.
    fn decisive<'a>(&'a self, last: &'a DialError, has_good: bool) -> (&'a DialError, bool) {
        match &self.mildest {
            Some((mildest, has_good))
                if last.is_refusal()
                    && !mildest.is_refusal()
                    && !matches!(last, DialError::Refused(_)) =>
            {
                (mildest, *has_good)
            }
            _ => (last, has_good),
        }
    }

    fn add(&mut self, error: DialError, has_good: bool, mends: Mends) {
        if self.mildest.as_ref().is_none_or(|(mildest, _)| mildest.is_refusal()) {
            self.mildest = Some((error, has_good));
        }
        self.mends.renewable |= mends.renewable;
        self.mends.tls = mends.tls.or(self.mends.tls.take());
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
    fn renew(&mut self, Renewed { endpoint, fallbacks, credentials, tls }: Renewed) {
        info!(%endpoint, "the invitation has changed; trying the new one");
        (self.endpoint, self.fallbacks) = (endpoint, fallbacks);
        self.login.credentials = credentials;
        self.tls = tls;
    }

    /// Varies `duration` by up to 10 %, so that sessions of the same age do not end together.
    fn jittered(&self, duration: Duration) -> Duration {
        duration.mul_f64(0.9 + 0.2 * self.network.chance())
    }
}

/// Logs changes only: each cause is reported once for each URL and address, until there is a session.
#[derive(Default)]
struct Report {
    seen: VecDeque<(Endpoint, Option<SocketAddr>, String)>,
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

    /// Reports a failure, after which there is a delay, or another URL is tried at once.
    fn failed(
        &mut self,
        dialer: &Dialer,
        addresses: &Addresses,
        failure: &DialError,
        delay: Option<Duration>,
    ) -> FailedAttempt {
        let attempt = failed(failure, dialer, addresses);
        let (endpoint, remedy) = (&dialer.endpoint, attempt.explanation.remedy);
        let seen = (endpoint.clone(), attempt.address, attempt.explanation.cause.clone());
        let (address, cause) = (seen.1.map(display), &seen.2);
        let then = delay.map_or("trying its next URL", |_| "trying again");
        let delay = delay.map(debug);
        if self.seen.contains(&seen) {
            debug!(%endpoint, address, %cause, delay, "still not connected");
            return attempt;
        }
        match failure {
            DialError::Refused(CloseCode::Busy | CloseCode::Violation) => {
                error!(%endpoint, address, %cause, remedy, delay, "not connected; {then}");
            }
            DialError::Refused(CloseCode::Removed) => error!(
                %endpoint, address, delay,
                "not connected: the server has removed this link; ask for a new invitation"
            ),
            _ => warn!(%endpoint, address, %cause, remedy, delay, "not connected; {then}"),
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
    let (endpoint, address) = (dialer.endpoint.clone(), addresses.connected());
    FailedAttempt { endpoint, address, explanation }
}

/// Returns whether there was never a session with any of the keys.
fn is_unused(credentials: &Credentials) -> bool {
    let Credentials::Ring(ring) = credentials else { return false };
    let is_unused = |it: &Generation| !it.is_used() && it.origin() == Origin::HandedOver;
    ring.generations().iter().all(is_unused)
}
