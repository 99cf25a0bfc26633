//! Asking: requests to a peer, and the futures that wait for their answers. Implements
//! `docs/protocol.md` §5.4 for the requester.

use std::sync::Arc;
use std::time::Duration;

use paddington_wire::link::{CallEnd, OutgoingRequest, RequestRefused};
use paddington_wire::{Content, Message};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Peer;
use super::peer::wake;
use super::standing::Standing;
use crate::current::{self, is_handler_of};
use crate::{Exchange, Reply, RequestError, SendError};

/// A request that waits for its answer. Dropping it cancels the request.
struct Pending {
    peer: Arc<Peer>,
    call: u64,
    answer: oneshot::Receiver<CallEnd>,
    waits: bool,
}

impl Exchange {
    /// Asks a peer and waits for its reply, for `timeout` at most. If the peer is not connected, the
    /// request waits until it is.
    ///
    /// Dropping the future cancels the request: the peer is told, and drops the future of its
    /// handler. A handler may request from the peer whose message or request it handles: the reply
    /// goes to this future directly. Requests are in memory only, also with an outbox in a file.
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
        let mut pending = peer.ask(message.into_content(), current::depth(), deadline)?;
        pending.reply(deadline).await
    }
}

impl Peer {
    fn ask(
        self: &Arc<Self>,
        content: Content,
        depth: u8,
        deadline: Option<Instant>,
    ) -> Result<Pending, RequestError> {
        let len = content.len();
        let max = self.shared.config.transport.limits.max_payload;
        if len > max as usize {
            return Err(SendError::TooLong { len, max }.into());
        }
        let deadline = deadline.map(|deadline| self.shared.time(deadline));
        let mut state = self.lock();
        self.check_standing(&state)?;
        if !self.is_here(&state) {
            return Err(RequestError::Elsewhere(self.name.clone()));
        }
        let Some(link) = state.sealed_link() else {
            return Err(RequestError::Hex(self.name.clone()));
        };
        let request = OutgoingRequest { payload: content.into(), depth, deadline };
        let call = link.request(request).map_err(|refused| self.refusal_of(refused, len))?;
        let answer = state.calls_mut().waiters.add(call);
        let connection = state.take_connection_waker();
        drop(state);
        wake(connection);
        Ok(Pending { peer: Arc::clone(self), call, answer, waits: true })
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

    /// Gives up a request, unless its answer has come. Returns whether it had none.
    fn give_up(&self, call: u64, expired: bool) -> bool {
        let mut state = self.lock();
        if !state.calls_mut().waiters.remove(call) {
            return false;
        }
        let tells = state.sealed_link().is_some_and(|link| link.give_up_request(call, expired));
        let connection = if tells { state.take_connection_waker() } else { None };
        drop(state);
        wake(connection);
        true
    }
}

impl Pending {
    async fn reply(&mut self, deadline: Option<Instant>) -> Result<Reply, RequestError> {
        let answered = match deadline {
            Some(deadline) => timeout_at(deadline, &mut self.answer).await,
            None => Ok((&mut self.answer).await),
        };
        self.waits = false;
        let end = match answered {
            Ok(end) => end.ok(),
            Err(_) if self.peer.give_up(self.call, true) => return Err(RequestError::TimedOut),
            Err(_) => self.answer.try_recv().ok(),
        };
        let Some(end) = end else {
            let name = self.peer.name.clone();
            return Err(match self.peer.standing() {
                Standing::Removed => RequestError::Removed(name),
                Standing::Away => RequestError::Moved(name),
                _ => RequestError::Cancelled,
            });
        };
        Reply::new(end, &self.peer.name)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.waits {
            self.peer.give_up(self.call, false);
        }
    }
}
