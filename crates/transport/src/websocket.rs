//! A WebSocket (RFC 6455): messages over a byte stream. This is the only file that uses
//! tungstenite's message types. An established `sealed` connection goes on with `frames`.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_util::{Sink, SinkExt, Stream as _};
use paddington_wire::{Arrived, Outgoing, Transmission};
use thiserror::Error;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::Stream;
use crate::frames::{Arrival, FrameError, FrameSocket};

/// Number of bytes that the WebSocket reads at once. The whole buffer is zeroed before every read
/// and stays resident; a longer message gets the room that it needs.
const READ_BUFFER: usize = 4 * 1024;
/// Number of bytes that are collected before they are written without a flush.
const WRITE_BUFFER: usize = 128 * 1024;

/// The connection is gone, or something arrived that is not a WebSocket message within the limits.
#[derive(Debug, Error)]
#[error("the WebSocket failed")]
pub struct SocketError(#[source] Cause);

/// Why a WebSocket has failed.
#[derive(Debug, Error)]
enum Cause {
    #[error(transparent)]
    Before(Box<tungstenite::Error>),
    #[error(transparent)]
    Established(FrameError),
}

impl SocketError {
    /// Returns whether the peer is to blame: what arrived is not a WebSocket message within the
    /// limits.
    pub(crate) fn is_violation(&self) -> bool {
        let error = match &self.0 {
            Cause::Before(error) => &**error,
            Cause::Established(error) => return error.is_violation(),
        };
        match error {
            tungstenite::Error::Protocol(error) => {
                *error != ProtocolError::ResetWithoutClosingHandshake
            }
            tungstenite::Error::Capacity(_) => true,
            tungstenite::Error::Io(error) => error.kind() == io::ErrorKind::Other, // the budget
            _ => false,
        }
    }
}

impl From<tungstenite::Error> for SocketError {
    fn from(error: tungstenite::Error) -> Self {
        Self(Cause::Before(Box::new(error)))
    }
}

impl From<FrameError> for SocketError {
    fn from(error: FrameError) -> Self {
        Self(Cause::Established(error))
    }
}

/// A WebSocket over a byte stream.
pub(crate) struct WebSocket {
    inner: Inner,
    /// Whether this is the server's end.
    is_server: bool,
}

enum Inner {
    /// During the handshake, and on a `hex` link.
    Tungstenite(Box<WebSocketStream<Stream>>),
    /// On an established `sealed` link.
    Frames(Box<FrameSocket>),
    /// Between the two.
    Neither,
}

/// A message that arrived.
#[derive(Debug)]
pub(crate) enum ReceivedMessage {
    /// A message of a `hex` link, or before a connection is established.
    Message(Message),
    /// A message of an established `sealed` link.
    Arrival(Arrival),
}

impl WebSocket {
    /// Creates the client's end. Messages of up to `max_message` bytes are accepted.
    pub(crate) async fn client(stream: Stream, max_message: usize) -> Self {
        Self::new(stream, Role::Client, max_message).await
    }

    /// Creates the server's end. Messages of up to `max_message` bytes are accepted.
    pub(crate) async fn server(stream: Stream, max_message: usize) -> Self {
        Self::new(stream, Role::Server, max_message).await
    }

    async fn new(stream: Stream, role: Role, max_message: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(2 * WRITE_BUFFER + max_message)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        let is_server = role == Role::Server;
        let socket = WebSocketStream::from_raw_socket(stream, role, Some(config)).await;
        Self { inner: Inner::Tungstenite(Box::new(socket)), is_server }
    }

    /// Allows the peer to send one more message, of up to `max_message` bytes. No memory is reserved
    /// for a longer one.
    pub(crate) fn allow(&mut self, max_message: usize) {
        if let Inner::Tungstenite(socket) = &mut self.inner {
            socket.get_mut().allow_message(max_message);
        }
    }

    /// Allows the peer to send any number of messages, each within the limit.
    pub(crate) fn allow_all(&mut self) {
        if let Inner::Tungstenite(socket) = &mut self.inner {
            socket.get_mut().trust();
        }
    }

    /// Goes on with binary messages only, as on a `sealed` link, of which any number is allowed. Nothing
    /// of the next message was read: what follows the one that was [allowed](Self::allow) stays in the
    /// stream.
    pub(crate) async fn establish(&mut self) -> Result<(), SocketError> {
        if let Inner::Tungstenite(socket) = &mut self.inner {
            socket.flush().await?; // nothing may be left in its buffer
        }
        let longest = self.longest();
        self.inner = match std::mem::replace(&mut self.inner, Inner::Neither) {
            Inner::Tungstenite(socket) => {
                let mut stream = socket.into_inner();
                stream.trust();
                Inner::Frames(Box::new(FrameSocket::new(stream, self.is_server, longest)))
            }
            other => other,
        };
        Ok(())
    }

    /// Frees memory, if little was received since the last call.
    pub(crate) fn tidy(&mut self) {
        match &mut self.inner {
            Inner::Tungstenite(socket) => socket.get_mut().tidy(),
            Inner::Frames(socket) => socket.tidy(),
            Inner::Neither => {}
        }
    }

    /// Returns a buffer for a long message, if there is one.
    pub(crate) fn take_used(&mut self) -> Option<BytesMut> {
        match &mut self.inner {
            Inner::Frames(socket) => socket.take_used(),
            Inner::Tungstenite(_) | Inner::Neither => None,
        }
    }

    fn stream(&self) -> Option<&Stream> {
        match &self.inner {
            Inner::Tungstenite(socket) => Some(socket.get_ref()),
            Inner::Frames(socket) => Some(socket.stream()),
            Inner::Neither => None,
        }
    }

    /// Returns the number of bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.stream().map_or(0, Stream::written)
    }

    /// Returns the number of bytes that arrived since the peer is authenticated.
    pub(crate) fn received(&self) -> u64 {
        self.stream().map_or(0, Stream::received)
    }

    /// Returns the length of the longest message that is accepted, in bytes.
    pub(crate) fn longest(&self) -> usize {
        match &self.inner {
            Inner::Tungstenite(socket) => {
                socket.get_config().max_message_size.unwrap_or(usize::MAX)
            }
            Inner::Frames(socket) => socket.longest(),
            Inner::Neither => 0,
        }
    }

    /// Receives the next message.
    pub(crate) async fn receive(&mut self) -> Result<ReceivedMessage, SocketError> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Sends a message at once.
    pub(crate) async fn send(&mut self, message: Outgoing) -> Result<(), SocketError> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.feed(message)?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ReceivedMessage, SocketError>> {
        let socket = match &mut self.inner {
            Inner::Tungstenite(socket) => socket,
            Inner::Frames(socket) => {
                let arrived = ready!(socket.poll_receive(cx));
                return Poll::Ready(arrived.map(ReceivedMessage::Arrival).map_err(Into::into));
            }
            Inner::Neither => return Poll::Ready(Err(FrameError::Closed.into())),
        };
        Poll::Ready(match ready!(Pin::new(socket).poll_next(cx)) {
            Some(message) => message.map(ReceivedMessage::Message).map_err(SocketError::from),
            None => Err(tungstenite::Error::ConnectionClosed.into()),
        })
    }

    /// Resolves when there is room for a message.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        match &mut self.inner {
            Inner::Tungstenite(socket) => Pin::new(socket).poll_ready(cx).map_err(Into::into),
            Inner::Frames(socket) => socket.poll_ready(cx).map_err(Into::into),
            Inner::Neither => Poll::Ready(Err(FrameError::Closed.into())),
        }
    }

    /// Queues a message for which there is room.
    pub(crate) fn feed(&mut self, message: Outgoing) -> Result<(), SocketError> {
        let socket = match &mut self.inner {
            Inner::Tungstenite(socket) => socket,
            Inner::Frames(socket) => {
                match message {
                    Transmission::Binary(bytes) => socket.feed(bytes)?,
                    Transmission::Close => socket.close(),
                    // Those of a `hex` link.
                    Transmission::Text(_) | Transmission::Ping | Transmission::Pong => {}
                }
                return Ok(());
            }
            Inner::Neither => return Err(FrameError::Closed.into()),
        };
        Ok(Pin::new(socket).start_send(into_message(message))?)
    }

    /// Resolves when everything that was queued is written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        match &mut self.inner {
            Inner::Tungstenite(socket) => Pin::new(socket).poll_flush(cx).map_err(Into::into),
            Inner::Frames(socket) => socket.poll_flush(cx).map_err(Into::into),
            Inner::Neither => Poll::Ready(Err(FrameError::Closed.into())),
        }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebSocket(..)")
    }
}

impl ReceivedMessage {
    /// Returns the length of the message, in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Arrival(Arrival::Binary(bytes)) => bytes.len(),
            Self::Arrival(_) => 0,
        }
    }

    /// Takes the message out as the wire's type; `None` for a raw frame.
    pub(crate) fn take(&mut self) -> Option<Arrived<'_>> {
        match self {
            Self::Message(message) => match message {
                Message::Text(text) => Some(Transmission::Text(text.as_str())),
                Message::Binary(bytes) => Some(Transmission::Binary(std::mem::take(bytes).into())),
                Message::Ping(_) => Some(Transmission::Ping),
                Message::Pong(_) => Some(Transmission::Pong),
                Message::Close(_) => Some(Transmission::Close),
                Message::Frame(_) => None,
            },
            Self::Arrival(arrival) => Some(match arrival {
                Arrival::Binary(bytes) => Transmission::Binary(std::mem::take(bytes)),
                Arrival::Text => Transmission::Text(""),
                Arrival::Ping(_) => Transmission::Ping,
                Arrival::Pong => Transmission::Pong,
                Arrival::Close(_) => Transmission::Close,
            }),
        }
    }
}

fn into_message(outgoing: Outgoing) -> Message {
    match outgoing {
        Transmission::Text(text) => Message::Text(text.into()),
        Transmission::Binary(bytes) => Message::Binary(bytes.freeze()),
        Transmission::Ping => Message::Ping(bytes::Bytes::new()),
        Transmission::Pong => Message::Pong(bytes::Bytes::new()),
        Transmission::Close => Message::Close(None),
    }
}
