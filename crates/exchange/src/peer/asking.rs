//! Asking: requests to a peer, and the futures that wait for their answers. Implements
//! `docs/protocol.md` §5.4 for the requester. What another replica has to ask is in `cluster/relay/`.

use std::sync::Arc;
use std::time::Duration;

use paddington_wire::link::{OutgoingRequest, RequestRefused};
use paddington_wire::{Message, Payload};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Peer;
use super::calls::{Overdue, RequestEnd};
use super::peer::wake;
use super::standing::Standing;
use crate::current::{self, is_handler_of};
use crate::{Exchange, Reply, RequestError, SendError};

/// A request that waits for its answer. Dropping it cancels the request.
pub(crate) struct Pending {
    peer: Arc<Peer>,
    call: u64,
    answer: oneshot::Receiver<RequestEnd>,
    waits: bool,
}

/// Where a request is to be made.
pub(crate) enum Made {
    /// It waits for its answer here.
    Here(Pending),
    /// At another replica, which owns the link or will.
    Elsewhere(OutgoingRequest),
}

impl Exchange {
    /// Asks a peer and waits for its reply, for `timeout` at most. If the peer is not connected, the
    /// request waits until it is.
    ///
    /// Dropping the future cancels the request: the peer is told, and drops the future of its
    /// handler. A handler may request from the peer whose message or request it handles: the reply
    /// goes to this future directly. Requests are in memory only, also with an outbox in a file. Where
    /// replicas share a store, the one that has the peer asks it (`docs/cluster.md`, "Requests").
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use paddington_wire::Message;
    ///
    /// # use paddington_exchange::{Config, Exchange, Setup, Storage};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let setup = Setup {
    /// #     name: "hub".parse()?,
    /// #     listen: None,
    /// #     clients: Vec::new(),
    /// #     servers: Vec::new(),
    /// #     network: paddington_transport::system(),
    /// #     store: Storage::Memory,
    /// #     key_store: None,
    /// #     config: Config::default(),
    /// # };
    /// # let exchange = Exchange::start(setup, async |_| Ok::<(), std::io::Error>(())).await?;
    /// let question = Message::new("sensor", "temperature");
    /// match exchange.request(question, Duration::from_secs(5)).await {
    ///     Ok(reply) => println!("{}", reply.payload()),
    ///     Err(error) => println!("no reply: {error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError`], which says whether the peer may have handled the request.
    pub async fn request(&self, message: Message, limit: Duration) -> Result<Reply, RequestError> {
        if !self.core().lifecycle.accepts(|| is_handler_of(self.core())) {
            return Err(SendError::ShuttingDown.into());
        }
        let peer = self.known(message.recipient())?;
        let deadline = Instant::now().checked_add(limit);
        let payload = Payload::from(message.into_content());
        let unsent = match peer.ask(payload, current::depth(), deadline)? {
            Made::Here(mut pending) => match pending.reply().await {
                Ok(replied) => return replied,
                Err(unsent) => unsent,
            },
            Made::Elsewhere(request) => request,
        };
        let Some(cluster) = &self.core().cluster else { return Err(RequestError::Cancelled) };
        let bounds = peer.shared.link(true);
        // Boxed, so that the futures of all other requests are smaller.
        Box::pin(cluster.asking().ask(&peer.mailbox, unsent, deadline, &bounds)).await
    }
}

impl Peer {
    /// Makes a request, or returns it if another replica has to make it.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if it is not accepted.
    pub(crate) fn ask(
        self: &Arc<Self>,
        payload: Payload,
        depth: u8,
        deadline: Option<Instant>,
    ) -> Result<Made, RequestError> {
        let len = payload.len();
        let max = self.shared.config.transport.limits.max_payload;
        if len > max as usize {
            return Err(SendError::TooLong { len, max }.into());
        }
        let mut state = self.lock();
        self.check_standing(&state)?;
        let until = deadline.map(|deadline| self.shared.time(deadline));
        let request = OutgoingRequest { payload, depth, deadline: until };
        if !self.is_here(&state) {
            return Ok(Made::Elsewhere(request));
        }
        let Some(link) = state.sealed_link() else {
            return Err(RequestError::Hex(self.name.clone()));
        };
        let call = link.request(request).map_err(|refused| self.refusal_of(refused, len))?;
        let waiters = &mut state.calls_mut().waiters;
        let answer = waiters.add(call, deadline);
        if let Some(deadline) = deadline
            && let Some(before) = waiters.look_by(deadline)
        {
            self.shared.looks.plan(self, before, deadline);
        }
        let connection = state.take_connection_waker();
        drop(state);
        wake(connection);
        Ok(Made::Here(Pending { peer: Arc::clone(self), call, answer, waits: true }))
    }

    fn refusal_of(&self, refused: RequestRefused, len: usize) -> RequestError {
        let peer = self.name.clone();
        match refused {
            RequestRefused::TooDeep => RequestError::TooDeep,
            RequestRefused::Full { requests, .. } => RequestError::Full { peer, requests },
            RequestRefused::TooLong { max } => SendError::TooLong { len, max }.into(),
            _ => RequestError::NotAnswering(peer),
        }
    }

    /// Returns why a request ends without an answer that was sent.
    fn broken_off(&self) -> RequestError {
        let name = self.name.clone();
        match self.standing() {
            Standing::Removed => RequestError::Removed(name),
            _ if self.shared.stopping.is_cancelled() => RequestError::Cancelled,
            Standing::Away | Standing::Yielding => RequestError::Moved(name),
            _ => RequestError::Cancelled,
        }
    }

    /// Cancels a request, unless its answer has come.
    fn cancel(&self, call: u64) {
        let mut state = self.lock();
        if !state.calls_mut().waiters.remove(call) {
            return;
        }
        let tells = state.sealed_link().is_some_and(|link| link.give_up_request(call, false));
        let connection = if tells { state.take_connection_waker() } else { None };
        drop(state);
        wake(connection);
    }

    /// Ends the requests whose time is over by `now`, and plans the next look.
    pub(super) fn end_overdue(self: &Arc<Self>, now: Instant) {
        let mut state = self.lock();
        let Overdue { ended, before, next } = state.calls_mut().waiters.take_overdue(now);
        if let Some(next) = next {
            self.shared.looks.plan(self, before, next);
        }
        let mut tells = false;
        for (call, _) in &ended {
            tells |= state.sealed_link().is_some_and(|link| link.give_up_request(*call, true));
        }
        let connection = if tells { state.take_connection_waker() } else { None };
        drop(state);
        wake(connection);
        for (_, waiter) in ended {
            let _ = waiter.send(RequestEnd::Overdue); // it may have been cancelled at this moment
        }
    }
}

impl Pending {
    /// Waits for the reply.
    ///
    /// # Errors
    ///
    /// The request, if it was not sent and another replica has to make it.
    pub(crate) async fn reply(&mut self) -> Result<Result<Reply, RequestError>, OutgoingRequest> {
        let end = (&mut self.answer).await;
        self.waits = false;
        match end {
            Ok(RequestEnd::Here(end)) => Ok(Reply::new(end, &self.peer.name)),
            Ok(RequestEnd::Unsent(request)) => Err(request),
            Ok(RequestEnd::Overdue) => Ok(Err(RequestError::TimedOut)),
            Err(_) => Ok(Err(self.peer.broken_off())),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.waits {
            self.peer.cancel(self.call);
        }
    }
}
