//! A socket whose other end has to take what it is sent.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long the other end may take nothing.
const STALLED: Duration = Duration::from_secs(30);

/// A socket that fails once its other end has taken nothing for half a minute: whoever does not read an
/// answer or a stream holds no connection for ever.
pub(crate) struct Stalling<S> {
    socket: S,
    /// Runs while something waits to be written.
    limit: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, limit: None }
    }

    /// Passes on how far a write has come, and fails if it has waited for too long.
    fn within<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.limit = None;
            return written;
        }
        let limit = self.limit.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(limit.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.within(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.within(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.within(cx, closed)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.within(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_nothing_for_half_a_minute_loses_the_connection() {
        let (socket, mut reader) = duplex(16);
        let mut socket = Stalling::new(socket);
        let begun = Instant::now();
        let mut slow = [0; 16];
        for _ in 0..4 {
            socket.write_all(&[0; 16]).await.unwrap();
            sleep(STALLED - Duration::from_secs(1)).await;
            reader.read_exact(&mut slow).await.unwrap();
        }
        assert!(begun.elapsed() > STALLED, "slow is not stalled");
        socket.write_all(&[0; 16]).await.unwrap();
        let begun = Instant::now();
        let stalled = socket.write_all(&[0; 16]).await.unwrap_err();
        assert_eq!((stalled.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, STALLED));
    }
}
