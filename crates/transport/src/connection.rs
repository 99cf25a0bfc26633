//! One established connection: the one task that owns the socket, whichever side has dialled and
//! whatever encoding is spoken. It knows no protocol but ping and close.
//! Implements `docs/protocol.md` §7.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use paddington_wire::{CloseCode, Encoding, Frame, ReceiveError, Session, Transmission};
use tokio::time::{Instant, Sleep};

use crate::handshake::Established;
use crate::traffic::Traffic;
use crate::websocket::{Incoming, WebSocket};
use crate::{End, Network, Timeouts};

/// So many messages are read, or written before a flush, at a time.
const BATCH: usize = 64;
/// So many answers to pings wait at most; a peer that asks faster gets fewer answers.
const REPLIES: usize = 4;

/// A machine that has slept for longer than this may have lost its connections.
const SLEEP: Duration = Duration::from_secs(10);
/// How long the peer has for a sign of life after that.
const AFTER_SLEEP: Duration = Duration::from_secs(3);

/// An established connection. [`run`](Self::run) it.
pub struct Connection<T> {
    socket: WebSocket,
    session: Session,
    traffic: T,
    timeouts: Timeouts,
    network: Arc<dyn Network>,
    /// Frames of the connection's own: pings and their answers.
    own: VecDeque<Frame>,
    /// Whether something is written and not flushed.
    dirty: bool,
    clock: Clock,
    closing: Option<Closing>,
}

/// When what happened, and what is to be looked at next.
struct Clock {
    sleep: Pin<Box<Sleep>>,
    heard: Instant,
    /// Whether anything that proves the peer alive has arrived since `heard` was last set.
    heard_now: bool,
    /// Whether this side does not listen at the moment: then silence says nothing.
    deaf: bool,
    ping_at: Instant,
    unanswered: bool,
    pings: u64,
    /// Since when the socket takes nothing, and how much it had taken by then.
    stuck: Option<(Instant, u64)>,
    /// When the session's keys are to be renewed.
    renew_at: Option<Instant>,
    /// How long the machine had slept when that was last looked at.
    slept: Duration,
    /// Until when the peer has to show a sign of life, because the machine has slept.
    suspect_until: Option<Instant>,
}

/// A connection that only finishes what it has begun.
struct Closing {
    end: End,
    until: Instant,
    /// How much the socket had taken when that was set.
    written: u64,
    /// Whether the other side is to confirm by closing its end, so that nothing under way is lost.
    confirm: bool,
}

impl<T: Traffic> Connection<T> {
    pub(crate) fn new(
        established: Established<T>,
        timeouts: Timeouts,
        network: Arc<dyn Network>,
    ) -> Self {
        let Established { socket, session, traffic } = established;
        let now = Instant::now();
        let clock = Clock {
            sleep: Box::pin(tokio::time::sleep(timeouts.ping_interval)),
            heard: now,
            heard_now: false,
            deaf: false,
            ping_at: now + timeouts.ping_interval,
            unanswered: false,
            pings: 0,
            stuck: None,
            renew_at: None,
            slept: network.slept(),
            suspect_until: None,
        };
        let own = VecDeque::with_capacity(REPLIES);
        Self {
            socket,
            session,
            traffic,
            timeouts,
            network,
            own,
            dirty: false,
            clock,
            closing: None,
        }
    }

    /// Ends the session after `age`, so that the client comes back with new keys.
    pub(crate) fn renew_after(&mut self, age: Duration) {
        if self.session.encoding() == Encoding::Sealed {
            self.clock.renew_at = Some(Instant::now() + age);
        }
    }

    /// Carries traffic until the connection ends, and says why it did.
    pub async fn run(mut self) -> End {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.traffic.ended(&end);
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            match self.poll_once(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
    }

    /// Reads, writes, looks at the clock. Returns whether more can be done at once: if not, all of
    /// them have the waker.
    fn poll_once(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let ticked = self.poll_clock(cx)?;
        let closing = self.closing.is_some();
        let may_read = self.poll_read(cx)?;
        let may_write = self.poll_write(cx)?;
        // who closes reads what it had no room for, and has set another time
        let closes = self.closing.is_some() && !closing;
        Ok(ticked || may_read || may_write || closes)
    }

    /// Reads a batch. Returns whether it was full, so that more may be there.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut full = true;
        for _ in 0..BATCH {
            if self.closing.is_none() && self.traffic.poll_room(cx).is_pending() {
                (self.clock.deaf, full) = (true, false);
                break;
            }
            self.clock.deaf = false;
            match self.socket.poll_receive(cx) {
                Poll::Pending => {
                    full = false;
                    break;
                }
                Poll::Ready(Ok(message)) => self.take(&message)?,
                Poll::Ready(Err(error)) => {
                    return Err(self
                        .closing
                        .take()
                        .map_or(End::Lost(error), |closing| closing.end));
                }
            }
        }
        if std::mem::take(&mut self.clock.heard_now) {
            self.clock.heard = Instant::now();
            self.clock.suspect_until = None;
        }
        Ok(full)
    }

    fn take(&mut self, message: &Incoming) -> Result<(), End> {
        let Some(arrived) = message.as_arrived() else { return Ok(()) };
        if arrived == Transmission::Close && self.session.encoding() == Encoding::Sealed {
            return Ok(()); // what matters was said under the seal, or the stream ends here
        }
        match self.session.decode(arrived) {
            Ok(Some(frame)) => {
                self.clock.heard_now = true;
                self.take_frame(frame)
            }
            Ok(None) => Ok(()), // no sign of life: anybody between could have sent it
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
            Frame::Pong(_) => self.clock.unanswered = false,
            _ => {}
        }
        if let Frame::Close(code) = frame {
            return self.close(End::PeerClosed(code), None);
        }
        if matches!(&self.closing, Some(Closing { end: End::Violation(_), .. })) {
            return Ok(()); // it has lost the right to be listened to
        }
        match self.traffic.receive(frame) {
            Ok(()) => Ok(()),
            Err(violation) => self.close(End::Violation(violation), Some(CloseCode::Violation)),
        }
    }

    /// Writes a batch. Returns whether it was full, so that more may wait.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut full = true;
        for _ in 0..BATCH {
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

    /// Begins to close, if that is asked for, although nothing can be written.
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
        if let Some(message) = self.session.encode(frame).map_err(End::Exhausted)? {
            self.socket.feed(message).map_err(End::Lost)?;
            self.dirty = true;
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        match self.socket.poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.dirty = false;
                self.clock.stuck = None;
            }
            Poll::Ready(Err(error)) => return Err(self.lost(End::Lost(error))),
            Poll::Pending => {
                let written = self.socket.written();
                if self.clock.stuck.is_none_or(|(_, before)| before != written) {
                    self.clock.stuck = Some((Instant::now(), written));
                }
            }
        }
        Ok(())
    }

    /// Says goodbye, with `code` if the other side has not said it first, and from now on only
    /// finishes what was begun.
    fn close(&mut self, end: End, code: Option<CloseCode>) -> Result<(), End> {
        if self.closing.is_some() {
            return Ok(());
        }
        let until = Instant::now() + self.timeouts.close;
        self.clock.sleep.as_mut().reset(until);
        let written = self.socket.written();
        self.closing = Some(Closing { end, until, written, confirm: code.is_some() });
        let sealed = match code.map(|code| self.session.encode(&Frame::Close(code))) {
            Some(Ok(Some(message))) if message != Transmission::Close => Some(message),
            _ => None,
        };
        let goodbye = sealed.into_iter().chain([Transmission::Close]);
        for message in goodbye {
            if self.socket.feed(message).is_err() {
                break; // the socket is closed already, and flushing will say so
            }
        }
        self.dirty = true;
        Ok(())
    }

    /// The end to report when the socket has ended: what led to it, if that is known.
    fn lost(&mut self, end: End) -> End {
        self.closing.take().map_or(end, |closing| closing.end)
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.clock.sleep.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        let now = Instant::now();
        if self.closing.as_ref().is_some_and(|closing| closing.until <= now) {
            self.go_on_closing(now)?;
        }
        if self.clock.deaf {
            // An answer may be waiting unread, and the other side still has to hear from this one.
            self.clock.heard = now;
            self.clock.suspect_until = None;
            self.clock.unanswered = false;
        }
        self.notice_sleep(now);
        if self.dead_at() <= now {
            return Err(End::Dead);
        }
        if self.stuck_at().is_some_and(|stuck_at| stuck_at <= now) {
            return Err(End::Stuck);
        }
        if self.clock.renew_at.is_some_and(|renew_at| renew_at <= now) {
            self.clock.renew_at = None;
            let code = CloseCode::SessionAge;
            self.close(End::Closed(code), Some(code))?;
        }
        if self.clock.ping_at <= now {
            self.clock.ping_at = now + self.timeouts.ping_interval;
            self.ping();
        }
        let next = self.next_look(now);
        self.clock.sleep.as_mut().reset(next);
        Ok(true)
    }

    /// The time to close is over. A `hex` peer that still takes what was written before may go on: it
    /// will not be sent again.
    fn go_on_closing(&mut self, now: Instant) -> Result<(), End> {
        let written = self.socket.written();
        match &mut self.closing {
            Some(closing)
                if self.session.encoding() == Encoding::Hex
                    && self.dirty
                    && closing.written < written =>
            {
                closing.written = written;
                closing.until = now + self.timeouts.close;
                Ok(())
            }
            _ => Err(self.lost(End::Dead)),
        }
    }

    /// After a sleep of the machine the connection may be gone: asks at once, and does not wait long
    /// for the answer.
    fn notice_sleep(&mut self, now: Instant) {
        let slept = self.network.slept();
        if slept > self.clock.slept + SLEEP {
            self.clock.unanswered = false;
            self.clock.ping_at = now;
            self.clock.suspect_until = Some(now + AFTER_SLEEP);
        }
        self.clock.slept = slept;
    }

    /// When silence means that the peer is gone.
    fn dead_at(&self) -> Instant {
        let dead_at = self.clock.heard + self.timeouts.dead;
        self.clock.suspect_until.map_or(dead_at, |suspect| suspect.min(dead_at))
    }

    /// Asks for a sign of life, unless one is asked for already.
    fn ping(&mut self) {
        if !self.clock.unanswered && self.closing.is_none() {
            self.clock.unanswered = true;
            self.clock.pings += 1;
            self.own.push_back(Frame::Ping(self.clock.pings));
        }
    }

    /// When a write has been stuck for too long. A `hex` peer has no credit to slow its sender down
    /// with: it stops reading, and is not dead for that.
    fn stuck_at(&self) -> Option<Instant> {
        let stuck = self.clock.stuck.filter(|_| self.session.encoding() == Encoding::Sealed);
        stuck.map(|(since, _)| since + self.timeouts.write)
    }

    /// When the clock is to be looked at next.
    fn next_look(&self, now: Instant) -> Instant {
        let dead_at = self.dead_at();
        let stuck_at = self.stuck_at();
        let closed_at = self.closing.as_ref().map(|closing| closing.until);
        let optional = [stuck_at, closed_at, self.clock.renew_at].into_iter().flatten();
        let next = optional.chain([dead_at, self.clock.ping_at]).min().unwrap_or(dead_at);
        next.max(now)
    }
}

impl<T> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("session", &self.session)
            .field("closing", &self.closing.is_some())
            .finish_non_exhaustive()
    }
}
