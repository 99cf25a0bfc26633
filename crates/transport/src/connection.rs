//! An established connection: the one task that owns the socket, the same for both sides and both
//! encodings. It handles pings and closing, and passes all other frames on to its [`Traffic`].
//! Implements `docs/protocol.md` §7.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use paddington_wire::{CloseCode, Encoding, Frame, ReceiveError, Session, Transmission};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::contract::Traffic;
use crate::handshake::Established;
use crate::liveness::Liveness;
use crate::progress::{Carried, Progress};
use crate::websocket::{ReceivedMessage, WebSocket};
use crate::{End, Network, Timeouts};

/// Number of messages that are read, or written before a flush, at a time.
const BURST: usize = 64;
/// Number of bytes after which a burst of reads ends early.
const BURST_BYTES: usize = 256 * 1024;
/// Number of full bursts after which other tasks get their turn. Data that is already in memory
/// does not count against the runtime's own budget.
const ROUNDS: usize = 16;
/// Number of pongs that are queued at most; a peer that pings faster gets fewer of them.
const REPLIES: usize = 4;

/// An established connection, driven by [`run`](Self::run).
pub struct Connection<T> {
    socket: WebSocket,
    session: Session,
    traffic: T,
    /// Time for the last frames and the closing handshake.
    close: Duration,
    /// The connection's own frames: pings and pongs.
    own: VecDeque<Frame>,
    /// Whether something has been written but not flushed.
    dirty: bool,
    /// Whether anything that proves the peer alive has arrived since `liveness` was last told.
    heard: bool,
    liveness: Liveness,
    closing: Option<Closing>,
}

/// The state of a connection that is closing, and only finishes what it has begun.
struct Closing {
    end: End,
    until: Instant,
    /// Number of bytes that the socket had taken when `until` was set.
    written: u64,
    /// Whether to wait until the peer closes its end, so that nothing in flight is lost.
    confirm: bool,
}

impl<T: Traffic> Connection<T> {
    pub(crate) fn new(
        established: Established<T>,
        timeouts: Timeouts,
        network: Arc<dyn Network>,
    ) -> Self {
        let Established { socket, session, traffic } = established;
        let encoding = session.encoding();
        let progress = Progress::new(socket.longest(), carried(&socket, encoding), Instant::now());
        Self {
            liveness: Liveness::new(timeouts, encoding, progress, network),
            socket,
            session,
            traffic,
            close: timeouts.close,
            own: VecDeque::with_capacity(REPLIES),
            dirty: false,
            heard: false,
            closing: None,
        }
    }

    /// Ends the session after `age`, so that the client connects again with new keys.
    pub(crate) fn renew_after(&mut self, age: Duration) {
        if self.session.encoding() == Encoding::Sealed {
            self.liveness.renew_after(age);
        }
    }

    /// Runs the connection on its own task.
    pub(crate) fn spawn(self, tasks: &TaskTracker) {
        tasks.spawn(async move { drop(self.run().await) });
    }

    /// Carries traffic until the connection ends, and returns why it did.
    pub async fn run(mut self) -> End {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.traffic.ended(&end);
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS {
            match self.poll_once(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads, writes and checks the clock. Returns whether more can be done at once; if not, the
    /// waker is registered with all three.
    fn poll_once(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let ticked = self.poll_clock(cx)?;
        let closing = self.closing.is_some();
        let may_read = self.poll_read(cx)?;
        let may_write = self.poll_write(cx)?;
        // closing sets a new deadline and reads without asking for room: poll both again
        let begins_to_close = self.closing.is_some() && !closing;
        Ok(ticked || may_read || may_write || begins_to_close)
    }

    /// Reads a burst. Returns whether it was full, so that more may be available.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let (mut full, mut read) = (true, 0);
        for _ in 0..BURST {
            if self.closing.is_none() && self.traffic.poll_room(cx).is_pending() {
                self.liveness.listen(false);
                full = false;
                break;
            }
            self.liveness.listen(true);
            match self.socket.poll_receive(cx) {
                Poll::Pending => {
                    full = false;
                    break;
                }
                Poll::Ready(Ok(message)) => {
                    read += message.len();
                    self.take(message)?;
                    if read >= BURST_BYTES {
                        break;
                    }
                }
                Poll::Ready(Err(error)) => {
                    return Err(self
                        .closing
                        .take()
                        .map_or(End::Lost(error), |closing| closing.end));
                }
            }
        }
        if std::mem::take(&mut self.heard) {
            self.liveness.hear(self.carried());
            if self.closing.is_none() && self.liveness.put_off() {
                self.socket.tidy();
            }
        }
        Ok(full)
    }

    fn take(&mut self, mut message: ReceivedMessage) -> Result<(), End> {
        let Some(arrived) = message.take() else { return Ok(()) };
        if arrived == Transmission::Close && self.session.encoding() == Encoding::Sealed {
            return Ok(()); // only a sealed CLOSE counts, and the stream is about to end
        }
        match self.session.decode(arrived) {
            Ok(Some(frame)) => {
                self.heard = true;
                self.take_frame(frame)
            }
            Ok(None) => Ok(()), // no sign of life: it is not authenticated
            Err(_) if self.closing.is_some() => Ok(()),
            Err(ReceiveError::Violation(violation)) => {
                self.close(End::Violation(violation), Some(CloseCode::Violation))
            }
            Err(error) => Err(End::Tampered(error)),
        }
    }

    fn take_frame(&mut self, frame: Frame) -> Result<(), End> {
        match frame {
            Frame::Ping(token) if self.own.len() < REPLIES => {
                self.own.push_back(Frame::Pong(token));
            }
            Frame::Pong(token) => {
                if let Some(round_trip) = self.liveness.hear_answer(token) {
                    self.traffic.measured(round_trip);
                }
            }
            _ => {}
        }
        if let Frame::Close(code) = frame {
            return self.close(End::PeerClosed(code), None);
        }
        if matches!(&self.closing, Some(Closing { end: End::Violation(_), .. })) {
            return Ok(()); // nothing more is accepted from a peer that broke the protocol
        }
        match self.traffic.receive(frame) {
            Ok(()) => Ok(()),
            Err(violation) => self.close(End::Violation(violation), Some(CloseCode::Violation)),
        }
    }

    /// Writes a burst. Returns whether it was full, so that more may be waiting.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut full = true;
        for _ in 0..BURST {
            let ready = self.socket.poll_ready(cx);
            if let Poll::Ready(Err(error)) = ready {
                return Err(self.lost(End::Lost(error)));
            }
            if ready.is_pending() {
                self.notice_closing(cx)?;
            }
            let frame = if ready.is_ready() { self.next_frame(cx) } else { None };
            let Some(frame) = frame else {
                full = false;
                break;
            };
            self.feed(&frame)?;
        }
        if self.dirty {
            self.flush(cx)?;
        }
        match &self.closing {
            Some(closing) if !self.dirty && !closing.confirm => Err(self.lost(End::Dead)),
            _ => Ok(full),
        }
    }

    /// Begins to close if the traffic asks for it, although nothing can be written.
    fn notice_closing(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        match self.traffic.poll_closing(cx) {
            Poll::Ready(code) if self.closing.is_none() => {
                self.close(End::Closed(code), Some(code))
            }
            _ => Ok(()),
        }
    }

    fn next_frame(&mut self, cx: &mut Context<'_>) -> Option<Frame> {
        if self.closing.is_some() {
            return None;
        }
        if let Some(frame) = self.own.pop_front() {
            return Some(frame);
        }
        match self.traffic.poll_transmit(cx) {
            Poll::Ready(frame) => Some(frame),
            Poll::Pending => None,
        }
    }

    fn feed(&mut self, frame: &Frame) -> Result<(), End> {
        if let Frame::Close(code) = frame {
            return self.close(End::Closed(*code), Some(*code));
        }
        let used = || self.socket.take_used();
        if let Some(message) = self.session.encode_in(used, frame).map_err(End::Exhausted)? {
            self.socket.feed(message).map_err(End::Lost)?;
            self.dirty = true;
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        match self.socket.poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.dirty = false;
                self.liveness.unstick();
            }
            Poll::Ready(Err(error)) => return Err(self.lost(End::Lost(error))),
            Poll::Pending => self.liveness.stick(self.socket.written()),
        }
        Ok(())
    }

    /// Begins to close: sends CLOSE with `code`, unless the peer closed first, and from now on only
    /// finishes what was begun.
    fn close(&mut self, end: End, code: Option<CloseCode>) -> Result<(), End> {
        if self.closing.is_some() {
            return Ok(());
        }
        let until = Instant::now() + self.close;
        self.liveness.look_at(until);
        let written = self.socket.written();
        self.closing = Some(Closing { end, until, written, confirm: code.is_some() });
        let sealed = match code.map(|code| self.session.encode(&Frame::Close(code))) {
            Some(Ok(Some(message))) if message != Transmission::Close => Some(message),
            _ => None,
        };
        let last = sealed.into_iter().chain([Transmission::Close]);
        for message in last {
            if self.socket.feed(message).is_err() {
                break; // the socket is closed already; flushing will report it
            }
        }
        self.dirty = true;
        Ok(())
    }

    /// Returns the end to report when the socket has ended: that of the closing, or else `end`.
    fn lost(&mut self, end: End) -> End {
        self.closing.take().map_or(end, |closing| closing.end)
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Poll::Ready(now) = self.liveness.poll(cx) else { return Ok(false) };
        if self.closing.as_ref().is_some_and(|closing| closing.until <= now) {
            self.go_on_closing(now)?;
        }
        self.liveness.look(self.carried(), now);
        if let Some(end) = self.liveness.end(now) {
            return Err(self.lost(end));
        }
        if self.liveness.take_renewal(now) {
            let code = CloseCode::SessionAge;
            self.close(End::Closed(code), Some(code))?;
        }
        match &self.closing {
            Some(closing) => self.liveness.look_at(closing.until),
            None => {
                self.own.extend(self.liveness.take_question(now).map(Frame::Ping));
                self.socket.tidy();
                self.liveness.look_again(now);
            }
        }
        Ok(true)
    }

    fn carried(&self) -> Carried {
        carried(&self.socket, self.session.encoding())
    }

    /// Ends the connection, whose time to close is over. A `hex` peer that still takes what was
    /// written before gets more time: it will not be sent again.
    fn go_on_closing(&mut self, now: Instant) -> Result<(), End> {
        let (written, carried) = (self.socket.written(), self.carried());
        match &mut self.closing {
            Some(closing)
                if self.session.encoding() == Encoding::Hex
                    && self.dirty
                    && closing.written < written =>
            {
                closing.written = written;
                closing.until = now + self.close;
                self.liveness.hear(carried); // no pings are sent any more that could prove it alive
                Ok(())
            }
            _ => Err(self.lost(End::Dead)),
        }
    }
}

/// Returns the bytes so far that may excuse silence. A `sealed` peer sends pings while a frame comes
/// to it, so what is written to it excuses nothing.
fn carried(socket: &WebSocket, encoding: Encoding) -> Carried {
    let written = if encoding == Encoding::Hex { socket.written() } else { 0 };
    Carried { received: socket.received(), written }
}

impl<T> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("session", &self.session)
            .field("closing", &self.closing.is_some())
            .finish_non_exhaustive()
    }
}
