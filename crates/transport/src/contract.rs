//! The traits that a user of the transport implements. The transport only carries frames; the
//! implementations decide what they mean, and which connection may carry a peer's frames.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use paddington_wire::{
    CloseCode, Credentials, Encoding, Frame, Instance, InvitedClient, InvitedClients, Ready,
    Violation,
};

use crate::{End, Endpoint, Tls};

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

    /// Ends the traffic: the connection is over.
    fn ended(self, end: &End);
}

/// The right of a connection to take a slot.
pub trait Reservation: Send + 'static {
    /// The traffic of the connection.
    type Traffic: Traffic;
    /// The reservation after this side's READY was made.
    type ReadyReservation: ReadyReservation<Traffic = Self::Traffic>;

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

    /// Takes the slot: the peer is authenticated, and `theirs` is its READY.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if a newer connection has taken the slot, or the peer's READY is invalid.
    fn establish(self, theirs: &Ready) -> Result<Self::Traffic, Refusal>;
}

/// A service that listens.
pub trait Host: Clone + Send + Sync + 'static {
    /// The reservation that a client gets.
    type Reservation: Reservation;

    /// Returns the clients that are invited, which may change at any time.
    fn clients(&self) -> Arc<InvitedClients>;

    /// Decides on a client whose hello is authentic. This may take until it is known whether an
    /// older connection of the same client is still alive.
    fn reserve(
        &self,
        hello: AuthenticHello,
    ) -> impl Future<Output = Result<Self::Reservation, Refusal>> + Send;
}

/// A service that dials.
pub trait Caller: Send + Sync + 'static {
    /// The reservation that a connection gets.
    type Reservation: Reservation;

    /// Reserves the slot for the next attempt. The previous connection has ended by then.
    fn reserve(&self) -> Self::Reservation;

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

    /// Resolves when there is a change to [take](Self::changes). An attempt or a pause ends then.
    fn changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
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
    /// The secrets of the link.
    pub credentials: Credentials,
    /// The certificate authorities to trust, if the URL is a `wss` URL.
    pub tls: Option<Tls>,
}

/// A client whose hello is authentic.
#[derive(Clone, Debug)]
pub struct AuthenticHello {
    /// The client, as it was invited when its hello was opened.
    pub client: Arc<InvitedClient>,
    /// The address that it connects from.
    pub address: IpAddr,
    /// The encoding that it uses.
    pub encoding: Encoding,
    /// Its instance, which the `hex` encoding does not transmit.
    pub instance: Option<Instance>,
}

/// The refusal of an authenticated peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer is told this code, in the `sealed` encoding.
    Close(CloseCode),
    /// The peer is told nothing.
    Silent,
}
