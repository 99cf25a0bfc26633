//! The traits that a user of the transport implements. The transport only carries frames; the
//! implementations decide what they mean, and which connection may carry a peer's frames.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use paddington_wire::keys::{KeyRing, Why};
use paddington_wire::sealed::Exporter;
use paddington_wire::{
    CloseCode, Credentials, Encoding, Frame, Instance, InvitedClient, InvitedClients, Ready,
    Violation,
};

use crate::refusal_kind::Cause;
use crate::{End, Endpoint, Explanation, Fallbacks, Tls};

/// The source and the destination of one connection's frames.
pub trait Traffic: Send + 'static {
    /// Resolves with the next frame to transmit. It is not polled again after [`Frame::Close`].
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<Frame>;

    /// Resolves with a code when the connection is to close. It is polled only while nothing can be
    /// transmitted, because the peer does not take what was written before.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<CloseCode>;

    /// Resolves when another frame may be passed to [`receive`](Self::receive). Until then nothing
    /// is read: a `hex` link, which has no credit, slows its peer down this way.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Takes a frame that arrived, of any kind: each of them is a sign of life.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the peer broke the protocol. The peer is told, and the connection ends.
    fn receive(&mut self, frame: Frame) -> Result<(), Violation>;

    /// Takes note of the time between a ping and its answer, whenever one was measured.
    fn measured(&mut self, _: Duration) {}

    /// Ends the traffic: the connection is over.
    fn ended(self, end: &End);
}

/// The right of a connection to take a slot.
pub trait Reservation: Send + 'static {
    /// The traffic of the connection.
    type Traffic: Traffic;
    /// The reservation after this side's READY was made.
    type ReadyReservation: ReadyReservation<Traffic = Self::Traffic>;

    /// Returns whether this side may dial in the name of the service now. It is asked before each of its
    /// messages, because somebody else may have taken over since.
    fn may_speak(&self) -> bool {
        true
    }

    /// Returns this side's READY, a snapshot that is taken right before it is sealed.
    fn ready(self) -> (Ready, Self::ReadyReservation);

    /// Takes the slot in the `hex` encoding, which has no READY.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if a newer connection has taken the slot.
    fn establish(self) -> Result<Self::Traffic, Refusal>;
}

/// A [`Reservation`] whose READY was made.
pub trait ReadyReservation: Send + 'static {
    /// The traffic of the connection.
    type Traffic: Traffic;

    /// Takes the slot: the peer is authenticated, and `theirs` is its READY. The keys with which it
    /// was authenticated are used by that.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if a newer connection has taken the slot, or the peer's READY is invalid.
    fn establish(self, theirs: &Ready, keys: SessionKeys) -> Result<Self::Traffic, Refusal>;
}

/// The keys of the link with which a session began, and the secrets of its next ones
/// (`docs/protocol.md` §3.6 and §5.5).
#[derive(Debug)]
pub struct SessionKeys {
    /// Their generation; 0 if they have none.
    pub generation: u64,
    /// What the next keys are derived from.
    pub exporter: Option<Exporter>,
}

/// A service that listens.
pub trait Host: Clone + Send + Sync + 'static {
    /// The reservation that a client gets.
    type Reservation: Reservation;

    /// Returns whether it takes connections now; else they are closed at once, without a byte, so that clients
    /// and load balancers go elsewhere.
    fn is_open(&self) -> bool {
        true
    }

    /// Returns the clients that are invited, which may change at any time.
    fn clients(&self) -> Arc<InvitedClients>;

    /// Decides on a client whose hello is authentic. This may take until it is known whether an
    /// older connection of the same client is still alive.
    fn reserve(
        &self,
        hello: AuthenticHello,
    ) -> impl Future<Output = Result<Self::Reservation, Refusal>> + Send;

    /// Returns the time, in seconds since 1970, which decides whether an invitation has expired.
    fn unix_time(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    /// Takes note of somebody who was refused, and who has keys of a client that are no longer valid.
    /// It is called for every such hello.
    fn recognised(&self, _: WorthlessHello) {}
}

/// A service that dials.
pub trait Caller: Send + Sync + 'static {
    /// The reservation that a connection gets.
    type Reservation: Reservation;

    /// Reserves the slot for the next attempt. The previous connection has ended by then.
    fn reserve(&self) -> Self::Reservation;

    /// Resolves with the keys for the next attempt, if they have generations, once none are being
    /// stored.
    fn keys(&self) -> impl Future<Output = Option<Arc<KeyRing>>> + Send {
        std::future::ready(None)
    }

    /// Returns whether the invitation can change at all.
    fn is_renewable(&self) -> bool;

    /// Returns the present invitation, if it has changed since the last call. It is called when the
    /// server did not accept the one in use.
    fn renewed(&self) -> Option<Renewed>;

    /// Takes the changes of the link that were made since the last call, oldest first. The next
    /// attempt uses them.
    fn changes(&self) -> Vec<Change> {
        Vec::new()
    }

    /// Takes note of a connection that was established, of its URL, and of the address that it leads to.
    fn connected(&self, _: &Endpoint, _: Option<SocketAddr>) {}

    /// Takes note of an attempt that has failed.
    fn failed(&self, _: &FailedAttempt) {}

    /// Resolves when there is a change to [take](Self::changes). An attempt or a pause ends then.
    fn changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// An attempt to connect that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The URL that was tried.
    pub endpoint: Endpoint,
    /// The address that a connection was opened to, if it came that far.
    pub address: Option<SocketAddr>,
    /// Why it has failed.
    pub explanation: Explanation,
}

/// A change of a link that is dialled.
#[derive(Clone, Debug)]
pub enum Change {
    /// Other secrets, for the same server at the same place.
    Credentials(Credentials),
    /// A newer invitation.
    Invitation(Renewed),
}

/// A newer invitation of the same link.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// The URL of the server.
    pub endpoint: Endpoint,
    /// Further URLs of it, which are tried when that one fails.
    pub fallbacks: Fallbacks,
    /// The secrets of the link.
    pub credentials: Credentials,
    /// The certificate authorities to trust, if one of the URLs is a `wss` URL.
    pub tls: Option<Tls>,
}

/// A client whose hello is authentic.
#[derive(Clone, Debug)]
pub struct AuthenticHello {
    /// The client, as it was invited when its hello was opened.
    pub client: Arc<InvitedClient>,
    /// The address that it connects from.
    pub address: IpAddr,
    /// The generation of the keys that it has used; 0 if they have none.
    pub generation: u64,
    /// The encoding that it uses.
    pub encoding: Encoding,
    /// Its instance, which the `hex` encoding does not transmit.
    pub instance: Option<Instance>,
}

/// A hello that was made with keys which are no longer valid: an invitation that was used, has expired
/// or was replaced, or a stolen or an old copy of a client's keys. It was refused like any other.
#[derive(Clone, Debug)]
pub struct WorthlessHello {
    /// The client whose keys they were.
    pub client: Arc<InvitedClient>,
    /// The address that it came from.
    pub address: IpAddr,
    /// Their generation.
    pub generation: u64,
    /// Why they are not valid.
    pub why: Why,
}

impl WorthlessHello {
    /// Returns why it was refused and what helps, in the words of the log.
    #[must_use]
    pub fn explanation(&self) -> Explanation {
        Cause::of_keys(self.why).into()
    }
}

/// The refusal of an authenticated peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer is told this code, in the `sealed` encoding.
    Close(CloseCode),
    /// The peer is told nothing.
    Silent,
}

impl Refusal {
    /// Returns why a client is refused and what helps, in the words of the log, if that concerns a person.
    #[must_use]
    pub fn explanation(self) -> Option<Explanation> {
        match self {
            Self::Close(code) => Cause::of_close(code).map(Explanation::from),
            Self::Silent => None,
        }
    }
}
