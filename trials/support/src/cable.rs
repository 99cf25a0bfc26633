//! Connections that can be cut and frozen at each of their ends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A cable between two ends, 0 and 1.
pub struct Cable<T> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    /// The state of each end.
    states: [State; 2],
    wakers: Vec<Waker>,
    /// An end that was dropped while the other one was not to notice.
    gone: Option<T>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Whole,
    Cut,
    Frozen,
}

impl<T> Default for Cable<T> {
    fn default() -> Self {
        let inner = Inner { states: [State::Whole; 2], wakers: Vec::new(), gone: None };
        Self { inner: Mutex::new(inner) }
    }
}

impl<T> fmt::Debug for Cable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cable").finish_non_exhaustive()
    }
}

impl<T> Cable<T> {
    /// Resets both ends.
    pub fn cut(&self) {
        self.set_both(State::Cut);
    }

    /// Lets ends that are frozen go on.
    pub(crate) fn thaw(&self) {
        for end in 0..2 {
            let is_frozen = self.inner.lock().unwrap().states[end] == State::Frozen;
            if is_frozen {
                self.set(end, State::Whole);
            }
        }
    }

    pub(crate) fn set_both(&self, state: State) {
        self.set(0, state);
        self.set(1, state);
    }

    pub(crate) fn set(&self, end: usize, state: State) {
        let wakers = {
            let mut inner = self.inner.lock().unwrap();
            inner.states[end] = state;
            std::mem::take(&mut inner.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until bytes pass at this end.
    fn poll_passes(&self, end: usize, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner.lock().unwrap();
        if !inner.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            inner.wakers.push(cx.waker().clone());
        }
        match inner.states[end] {
            State::Whole => Poll::Ready(Ok(())),
            State::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            State::Frozen => Poll::Pending,
        }
    }
}

/// One end of a cable.
#[derive(Debug)]
pub struct CableEnd<T> {
    /// Taken when the end is dropped.
    io: Option<T>,
    side: usize,
    cable: Arc<Cable<T>>,
}

impl<T: Unpin> CableEnd<T> {
    /// Makes the end 0 or 1 of a cable, which carries the bytes of `io`.
    pub fn new(io: T, side: usize, cable: &Arc<Cable<T>>) -> Self {
        Self { io: Some(io), side, cable: Arc::clone(cable) }
    }

    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        pass: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match self.cable.poll_passes(self.side, cx) {
            Poll::Ready(Ok(())) => pass(Pin::new(self.io.as_mut().unwrap()), cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for CableEnd<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_with(cx, |io, cx| io.poll_read(cx, buf))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CableEnd<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |io, cx| io.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, AsyncWrite::poll_shutdown)
    }
}

/// A frozen end does not notice that the other one is dropped.
impl<T> Drop for CableEnd<T> {
    fn drop(&mut self) {
        let mut inner = self.cable.inner.lock().unwrap();
        if inner.states[1 - self.side] == State::Frozen {
            inner.gone = self.io.take();
        }
    }
}
