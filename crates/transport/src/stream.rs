//! The byte stream below a WebSocket.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::causes;
use crate::frame_heads::{FrameHeads, LONGEST_HEAD};

/// Anything that carries bytes in both directions: TCP, TLS over it, or a pipe in a test.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Number of bytes that are read at once when the peer has sent more than is asked for.
const STORE: usize = 64 * 1024;

/// A stranger sent, or announced, more than it may.
#[derive(Debug, Error)]
#[error("too much was sent before authentication")]
pub(crate) struct TooMuch;

impl TooMuch {
    /// Returns whether it is what caused `error`.
    pub(crate) fn caused(error: &(dyn std::error::Error + 'static)) -> bool {
        causes::inner::<Self>(error).is_some()
    }
}

/// A byte stream with a budget: until the peer is authenticated, no more than that is read. After
/// that, a stream that always fills the reader's buffer is read in larger pieces.
pub struct Stream {
    io: Box<dyn Io>,
    unread: Bytes,
    budget: Option<usize>,
    /// The frames of the message that is awaited from a stranger, after the upgrade.
    frames: Option<FrameHeads>,
    written: u64,
    /// Number of bytes that a trusted peer has sent so far.
    received: u64,
    /// Bytes that were read before they were asked for.
    store: BytesMut,
    /// Whether the peer is authenticated, so that more may be read than is asked for.
    trusted: bool,
    /// Whether the last read filled the whole buffer.
    flows: bool,
    /// Whether the store was used since the last [`tidy`](Self::tidy).
    stored: bool,
}

impl Stream {
    /// Wraps a byte stream.
    #[must_use]
    pub fn new(io: impl Io + 'static) -> Self {
        Self {
            io: Box::new(io),
            unread: Bytes::new(),
            budget: None,
            frames: None,
            written: 0,
            received: 0,
            store: BytesMut::new(),
            trusted: false,
            flows: false,
            stored: false,
        }
    }

    /// Puts back bytes that were read too early, before those that were put back already.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        if self.unread.is_empty() {
            self.unread = bytes;
        } else {
            self.unread = [bytes, self.unread.clone()].concat().into();
        }
    }

    /// Allows `budget` more bytes to be read, or any number if it is `None`.
    pub(crate) fn set_budget(&mut self, budget: Option<usize>) {
        self.budget = budget;
    }

    /// Allows one WebSocket message to be read, and control frames before it, of up to `longest` bytes
    /// together. A frame that claims to be longer is refused by its head, and what follows the message
    /// stays unread.
    pub(crate) fn allow_message(&mut self, longest: usize) {
        self.budget = Some(longest + LONGEST_HEAD);
        self.frames = Some(FrameHeads::new(longest));
    }

    /// Allows any number of bytes to be read, even before they are asked for: the peer is
    /// authenticated.
    pub(crate) fn trust(&mut self) {
        self.budget = None;
        self.frames = None;
        self.trusted = true;
    }

    /// Returns the number of bytes written so far, which tells a slow peer from a stuck one.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Returns the number of bytes that arrived since the peer is [trusted](Self::trust), whether or not
    /// they were asked for.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Frees the store, if it was not used since the last call.
    pub(crate) fn tidy(&mut self) {
        if !std::mem::take(&mut self.stored) && self.store.is_empty() {
            self.store = BytesMut::new();
        }
    }

    /// Reads, by way of the store if more is available than is asked for.
    fn poll_read_more(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.store.is_empty() && self.flows {
            self.stored = true;
            self.store.reserve(STORE);
            let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.store));
            let read = read?;
            self.flows = read >= STORE;
            self.received += read as u64;
        }
        if self.store.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            let read = buf.filled().len() - before;
            self.flows = buf.remaining() == 0 && read > 0;
            self.received += read as u64;
        } else {
            let len = self.store.len().min(buf.remaining());
            buf.put_slice(&self.store[..len]);
            self.store.advance(len);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from a trusted peer to the end of `buffer`. Returns the number of bytes, 0 at the end of the
    /// stream.
    pub(crate) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        for early in [&mut self.unread as &mut dyn Buf, &mut self.store] {
            let len = early.remaining().min(buffer.remaining_mut());
            if len > 0 {
                buffer.put(early.take(len));
                return Poll::Ready(Ok(len));
            }
        }
        let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, buffer))?;
        self.received += read as u64;
        Poll::Ready(Ok(read))
    }

    /// Charges bytes of a stranger, and returns how many of them may be read now.
    fn follow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = match &mut self.frames {
            Some(frames) => frames.take(bytes).map_err(|_| io::Error::other(TooMuch))?,
            None => bytes.len(),
        };
        if len == 0 && !bytes.is_empty() {
            return Err(io::Error::other(TooMuch)); // none of them belongs to the awaited message
        }
        if let Some(budget) = &mut self.budget {
            *budget = budget.saturating_sub(len);
        }
        Ok(len)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let allowed = self.budget.unwrap_or(usize::MAX).min(buf.remaining());
        if allowed == 0 && buf.remaining() > 0 {
            return Poll::Ready(Err(io::Error::other(TooMuch)));
        }
        if !self.unread.is_empty() {
            let offered = self.unread.slice(..allowed.min(self.unread.len()));
            let len = self.follow(&offered)?;
            buf.put_slice(&offered[..len]);
            self.unread.advance(len);
            return Poll::Ready(Ok(()));
        }
        if self.trusted {
            return self.poll_read_more(cx, buf);
        }
        let before = buf.filled().len();
        if allowed == buf.remaining() {
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(allowed));
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buf.advance(read);
        }
        let read = &buf.filled()[before..];
        let len = self.follow(read)?;
        if len < read.len() {
            self.unread = Bytes::copy_from_slice(&read[len..]);
            buf.set_filled(before + len);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(len)) = polled {
            self.written += len as u64;
        }
        polled
    }

    /// Passes all slices on: TLS gives its last words only one chance to be written.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(len)) = polled {
            self.written += len as u64;
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("budget", &self.budget).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_fast_peer_is_read_in_larger_pieces_and_the_memory_is_freed_later() {
        let (near, mut far) = tokio::io::duplex(1024 * 1024);
        let mut stream = Stream::new(near);
        stream.trust();
        let sent: Vec<u8> = (0..3 * STORE).map(|index| (index % 251) as u8).collect();
        far.write_all(&sent).await.unwrap();
        far.shutdown().await.unwrap();
        let (mut read, mut small) = (Vec::new(), [0; 1000]);
        loop {
            let len = stream.read(&mut small).await.unwrap();
            if len == 0 {
                break;
            }
            read.extend_from_slice(&small[..len]);
        }
        assert!(read == sent);
        stream.store.reserve(1);
        stream.tidy();
        assert!(stream.store.capacity() > 0, "it was used just now");
        stream.tidy();
        assert_eq!(stream.store.capacity(), 0);
    }

    #[tokio::test]
    async fn nothing_is_read_ahead_from_a_stranger() {
        let (near, mut far) = tokio::io::duplex(1024 * 1024);
        let mut stream = Stream::new(near);
        far.write_all(&vec![1; 2 * STORE]).await.unwrap();
        stream.set_budget(Some(2_000));
        let mut small = [0; 1_000];
        stream.read_exact(&mut small).await.unwrap();
        stream.read_exact(&mut small).await.unwrap();
        assert!(stream.read(&mut small).await.is_err());
        stream.set_budget(None);
        stream.read_exact(&mut small).await.unwrap();
        stream.read_exact(&mut small).await.unwrap();
        assert_eq!(stream.store.capacity(), 0);
        stream.trust();
        stream.read_exact(&mut small).await.unwrap();
        stream.read_exact(&mut small).await.unwrap();
        assert!(stream.store.len() > small.len());
    }

    #[tokio::test]
    async fn no_more_than_the_budget_is_read() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut stream = Stream::new(near);
        stream.unread(Bytes::from_static(b"abc"));
        stream.set_budget(Some(5));
        far.write_all(b"defgh").await.unwrap();
        let mut read = [0; 5];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"abcde");
        assert!(stream.read(&mut read).await.is_err());
        stream.set_budget(None);
        assert_eq!(stream.read(&mut read).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_stranger_is_read_to_the_end_of_its_message_and_no_further() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut stream = Stream::new(near);
        stream.unread(Bytes::from_static(&[0x82, 3, b'a']));
        far.write_all(&[b'b', b'c', 0x82, 2, b'd']).await.unwrap();
        far.write_all(b"e").await.unwrap();
        stream.allow_message(10);
        let mut read = [0; 100];
        assert_eq!(stream.read(&mut read).await.unwrap(), 3);
        assert_eq!(stream.read(&mut read).await.unwrap(), 2);
        assert!(stream.read(&mut read).await.is_err(), "it is not asked for");
        stream.allow_message(2);
        assert_eq!(stream.read(&mut read).await.unwrap(), 4);
        assert_eq!(read[..4], [0x82, 2, b'd', b'e']);

        far.write_all(&[0x82, 126, 1, 1]).await.unwrap();
        stream.allow_message(256);
        let error = stream.read(&mut read).await.unwrap_err();
        assert!(TooMuch::caused(&error));
    }
}
