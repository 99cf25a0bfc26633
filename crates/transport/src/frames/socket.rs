//! The WebSocket of an established connection: messages in both directions, Pings that are answered, and
//! the closing handshake. Implements RFC 6455, §5.5 and §7.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::AsyncWrite;

use super::head::Kind;
use super::reader::{Arrival, FrameReader};
use super::writer::FrameWriter;
use crate::Stream;

/// The connection is gone, or what has arrived are no WebSocket frames within the limits.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    /// The stream has failed.
    #[error("the stream has failed")]
    Io(#[from] io::Error),
    /// Both sides have closed the WebSocket.
    #[error("the connection was closed")]
    Closed,
    /// The stream has ended without a Close.
    #[error("the connection was reset without a closing handshake")]
    Reset,
    /// This side has sent its Close.
    #[error("the WebSocket is being closed")]
    Closing,
    /// Bits are set that no extension uses.
    #[error("a reserved bit is set in a frame")]
    ReservedBits,
    /// There are no frames of this kind.
    #[error("a frame is of an unknown kind")]
    UnknownKind,
    /// A control frame is cut, is too long, or has half a code.
    #[error("a control frame is malformed")]
    Control,
    /// A client's frame is not masked, or a server's is.
    #[error("a frame has a mask from a server, or none from a client")]
    Mask,
    /// A message begins within another one, or goes on without a beginning.
    #[error("the parts of messages are out of order")]
    Fragment,
    /// A message is longer than is allowed.
    #[error("a message has more than {max} bytes")]
    TooLong {
        /// The most bytes that it may have.
        max: usize,
    },
    /// Something has arrived after a Close.
    #[error("a frame has arrived after the Close")]
    AfterClose,
}

/// The WebSocket of an established connection.
pub(crate) struct FrameSocket {
    stream: Stream,
    reader: FrameReader,
    writer: FrameWriter,
    is_server: bool,
    state: State,
    /// A Pong or a Close that answers the peer's. Of several Pings, the last one is answered.
    answer: Option<(Kind, BytesMut)>,
    /// Whether an answer is not flushed yet.
    unflushed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    ClosedByUs,
    ClosedByPeer,
    Ended,
}

impl FrameError {
    /// Returns whether the peer is to blame.
    pub(crate) fn is_violation(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == io::ErrorKind::Other,
            Self::Closed | Self::Reset => false,
            _ => true,
        }
    }
}

/// Errors of streams are equal if their kinds are.
impl PartialEq for FrameError {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Io(one), Self::Io(other)) => one.kind() == other.kind(),
            (Self::TooLong { max: one }, Self::TooLong { max: other }) => one == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl FrameSocket {
    /// Goes on with a stream on which nothing of a message was read or written. Messages of up to
    /// `longest` bytes are accepted.
    pub(crate) fn new(stream: Stream, is_server: bool, longest: usize) -> Self {
        Self {
            stream,
            reader: FrameReader::new(is_server, longest),
            writer: FrameWriter::new(!is_server),
            is_server,
            state: State::Open,
            answer: None,
            unflushed: false,
        }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Returns the length of the longest message that is accepted, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.reader.longest()
    }

    /// Returns a buffer for a long message, if there is one.
    pub(crate) fn take_used(&mut self) -> Option<BytesMut> {
        self.writer.take_used()
    }

    /// Frees memory, if little was received since the last call.
    pub(crate) fn tidy(&mut self) {
        self.reader.tidy();
        self.writer.tidy();
    }

    /// Receives what comes next. Pings are answered, and so is a Close.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arrival, FrameError>> {
        let received = ready!(self.poll_next(cx));
        if received.is_err() {
            self.state = State::Ended;
        }
        Poll::Ready(received)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrival, FrameError>> {
        if self.state == State::Ended {
            return Poll::Ready(Err(FrameError::Closed));
        }
        if self.answer.is_some() || self.unflushed {
            // A socket that takes nothing does not keep this side from reading.
            if let Poll::Ready(flushed) = self.poll_flush(cx) {
                flushed?;
            }
        }
        let is_answered = self.answer.is_none() && !self.unflushed;
        if self.is_server && self.state == State::ClosedByPeer && is_answered {
            return Poll::Ready(Err(FrameError::Closed)); // the server ends the stream
        }
        let arrived = ready!(self.reader.poll_next(&mut self.stream, cx));
        let Some(arrival) = arrived.map_err(|error| self.blamed(error))? else {
            let closed = self.state == State::ClosedByPeer;
            let error = if closed { FrameError::Closed } else { FrameError::Reset };
            return Poll::Ready(Err(error));
        };
        if self.state == State::ClosedByPeer {
            return Poll::Ready(Err(FrameError::AfterClose));
        }
        self.answer(&arrival);
        Poll::Ready(Ok(arrival))
    }

    /// Prepares the answer to a Ping or a Close.
    fn answer(&mut self, arrival: &Arrival) {
        match arrival {
            Arrival::Ping(data) if self.state == State::Open => {
                self.answer = Some((Kind::Pong, BytesMut::from(&data[..])));
            }
            Arrival::Close(code) => {
                if self.state == State::Open {
                    let code = code.map_or_else(BytesMut::new, |code| BytesMut::from(&code[..]));
                    self.answer = Some((Kind::Close, code));
                }
                self.state = State::ClosedByPeer;
            }
            _ => {}
        }
    }

    /// Returns the error by which the end of a stream is told: once the peer has closed, a reset is no
    /// surprise.
    fn blamed(&self, error: FrameError) -> FrameError {
        match error {
            FrameError::Io(error)
                if self.state == State::ClosedByPeer
                    && error.kind() == io::ErrorKind::ConnectionReset =>
            {
                FrameError::Closed
            }
            error => error,
        }
    }

    /// Resolves when there is room for a message.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        self.writer.poll_room(&mut self.stream, cx).map_err(FrameError::Io)
    }

    /// Queues a message.
    ///
    /// # Errors
    ///
    /// [`FrameError::Closing`] after a Close of either side.
    pub(crate) fn feed(&mut self, message: BytesMut) -> Result<(), FrameError> {
        if self.state != State::Open {
            return Err(FrameError::Closing);
        }
        self.writer.feed(Kind::Binary, message);
        Ok(())
    }

    /// Queues a Close, if neither side has sent one.
    pub(crate) fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::ClosedByUs;
            self.answer = None; // no Pong comes after it
            self.writer.feed(Kind::Close, BytesMut::new());
        }
    }

    /// Resolves when everything that was queued is written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        // A peer that sends Pings and reads nothing must not fill the memory.
        ready!(self.poll_ready(cx))?;
        if let Some((kind, payload)) = self.answer.take() {
            self.writer.feed(kind, payload);
            self.unflushed = true;
        }
        ready!(self.writer.poll_write(&mut self.stream, cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Returns the number of bytes that wait to be written.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.writer.waiting()
    }

    /// Returns the bytes of memory in its buffers.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.reader.memory() + self.writer.memory()
    }
}
