//! A WebSocket (RFC 6455): messages over a byte stream. This is the only file that uses
//! tungstenite's message types.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt, Stream as _, StreamExt};
use paddington_wire::{Arrived, Outgoing, Transmission};
use thiserror::Error;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::Stream;

/// Number of bytes that the WebSocket reads at once. The whole buffer is zeroed before every read
/// and stays resident; a longer message gets the room that it needs.
const READ_BUFFER: usize = 4 * 1024;
/// Number of bytes that are collected before they are written without a flush.
const WRITE_BUFFER: usize = 128 * 1024;

/// The connection is gone, or something arrived that is not a WebSocket message within the limits.
#[derive(Debug, Error)]
#[error("the WebSocket failed")]
pub struct SocketError(#[source] Box<tungstenite::Error>);

impl SocketError {
    /// Returns whether the peer is to blame: what arrived is not a WebSocket message within the
    /// limits.
    pub(crate) fn is_violation(&self) -> bool {
        match &*self.0 {
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
        Self(Box::new(error))
    }
}

/// A WebSocket over a byte stream.
pub(crate) struct WebSocket {
    inner: WebSocketStream<Stream>,
}

/// A message that arrived.
#[derive(Debug)]
pub(crate) struct ReceivedMessage(Message);

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
        Self { inner: WebSocketStream::from_raw_socket(stream, role, Some(config)).await }
    }

    /// Allows the peer to send one more message, of up to `max_message` bytes. No memory is reserved
    /// for a longer one.
    pub(crate) fn allow(&mut self, max_message: usize) {
        self.inner.get_mut().allow_message(max_message);
    }

    /// Allows the peer to send any number of messages, each within the limit.
    pub(crate) fn allow_all(&mut self) {
        self.inner.get_mut().trust();
    }

    /// Frees memory, if little was received since the last call.
    pub(crate) fn tidy(&mut self) {
        self.inner.get_mut().tidy();
    }

    /// Returns the number of bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.inner.get_ref().written()
    }

    /// Returns the number of bytes that arrived since the peer is authenticated.
    pub(crate) fn received(&self) -> u64 {
        self.inner.get_ref().received()
    }

    /// Returns the length of the longest message that is accepted, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.inner.get_config().max_message_size.unwrap_or(usize::MAX)
    }

    /// Receives the next message.
    pub(crate) async fn receive(&mut self) -> Result<ReceivedMessage, SocketError> {
        match self.inner.next().await {
            Some(message) => Ok(ReceivedMessage(message?)),
            None => Err(tungstenite::Error::ConnectionClosed.into()),
        }
    }

    /// Sends a message at once.
    pub(crate) async fn send(&mut self, message: Outgoing) -> Result<(), SocketError> {
        Ok(self.inner.send(into_message(message)).await?)
    }

    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ReceivedMessage, SocketError>> {
        Poll::Ready(match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
            Some(message) => message.map(ReceivedMessage).map_err(SocketError::from),
            None => Err(tungstenite::Error::ConnectionClosed.into()),
        })
    }

    /// Resolves when there is room for a message.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.inner).poll_ready(cx).map_err(SocketError::from)
    }

    /// Queues a message for which there is room.
    pub(crate) fn feed(&mut self, message: Outgoing) -> Result<(), SocketError> {
        Ok(Pin::new(&mut self.inner).start_send(into_message(message))?)
    }

    /// Resolves when everything that was queued is written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(SocketError::from)
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
        self.0.len()
    }

    /// Returns the message as the wire's type, or `None` for a raw frame.
    pub(crate) fn as_arrived(&self) -> Option<Arrived<'_>> {
        match &self.0 {
            Message::Text(text) => Some(Transmission::Text(text.as_str())),
            Message::Binary(bytes) => Some(Transmission::Binary(bytes)),
            Message::Ping(_) => Some(Transmission::Ping),
            Message::Pong(_) => Some(Transmission::Pong),
            Message::Close(_) => Some(Transmission::Close),
            Message::Frame(_) => None,
        }
    }
}

fn into_message(outgoing: Outgoing) -> Message {
    match outgoing {
        Transmission::Text(text) => Message::Text(text.into()),
        Transmission::Binary(bytes) => Message::Binary(bytes),
        Transmission::Ping => Message::Ping(bytes::Bytes::new()),
        Transmission::Pong => Message::Pong(bytes::Bytes::new()),
        Transmission::Close => Message::Close(None),
    }
}
