//! What a transport needs from those who use it. It carries frames; whose they are, what they mean
//! and which connection may carry them is decided behind these traits.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use paddington_wire::{
    CloseCode, Credentials, Encoding, Frame, Instance, InvitedClients, PeerName, Ready, Violation,
};

use crate::{End, Endpoint};

/// What flows through one connection.
pub trait Traffic: Send + 'static {
    /// The next frame to transmit. After [`Frame::Close`] nothing more is asked for.
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<Frame>;

    /// Resolves when the connection is to close, and with which code. It is asked where nothing can
    /// be transmitted, because what was written before is not taken.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<CloseCode>;

    /// Resolves when another frame may be handed over. PendingConnection here stops the reading, which is
    /// how a `hex` link, which has no credit, slows its peer down.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Takes a frame that arrived, of whatever kind: any frame is a sign of life.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the peer broke the protocol; it is told so, and the connection ends.
    fn receive(&mut self, frame: Frame) -> Result<(), Violation>;

    /// The connection has ended.
    fn ended(self, end: &End);
}

/// The place that a connection is about to take.
pub trait Reservation: Send + 'static {
    /// What flows through the connection.
    type Traffic: Traffic;
    /// The place, once this side has said what it keeps and what it has.
    type ReadyReservation: ReadyReservation<Traffic = Self::Traffic>;

    /// This side's READY as of now, right before it is sealed.
    fn ready(self) -> (Ready, Self::ReadyReservation);

    /// Takes the place in the `hex` encoding, where nothing is declared.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if a newer connection has taken it.
    fn establish(self) -> Result<Self::Traffic, Refusal>;
}

/// A place for which this side's READY is sealed.
pub trait ReadyReservation: Send + 'static {
    /// What flows through the connection.
    type Traffic: Traffic;

    /// Takes the place: the peer is authenticated, and this is its READY.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if a newer connection has taken it, or the peer's READY makes no sense.
    fn establish(self, theirs: &Ready) -> Result<Self::Traffic, Refusal>;
}

/// A service that listens.
pub trait Host: Clone + Send + Sync + 'static {
    /// The place that a client gets.
    type Reservation: Reservation;

    /// The clients that are expected, as of now.
    fn clients(&self) -> Arc<InvitedClients>;

    /// Decides about a client whose hello is authentic. This may take as long as it takes to find
    /// out whether an older connection of the same client still lives.
    fn reserve(
        &self,
        hello: AuthenticHello,
    ) -> impl Future<Output = Result<Self::Reservation, Refusal>> + Send;
}

/// A service that dials. It is asked for a place before each attempt.
pub trait Caller: Send + Sync + 'static {
    /// The place that the connection takes.
    type Reservation: Reservation;

    /// The place for the next connection. The last one is over by then.
    fn reserve(&self) -> Self::Reservation;

    /// Whether the invitation may change at all.
    fn is_renewable(&self) -> bool;

    /// What to try instead, if the invitation has changed since it was last asked for. It is asked
    /// for when the server did not accept the present one.
    fn renewed(&self) -> Option<Renewed>;
}

/// A newer invitation of the same link.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// The secrets of the link.
    pub credentials: Credentials,
}

/// A client whose hello is authentic.
#[derive(Clone, Debug)]
pub struct AuthenticHello {
    /// The client's name.
    pub peer: PeerName,
    /// Where it connects from.
    pub address: IpAddr,
    /// What it speaks.
    pub encoding: Encoding,
    /// Its life, which the `hex` encoding does not tell.
    pub instance: Option<Instance>,
}

/// Why an authenticated peer does not get a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is told why, in the `sealed` encoding.
    Close(CloseCode),
    /// It is told nothing.
    Silent,
}
