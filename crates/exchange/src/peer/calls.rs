//! The calls of one peer: the futures that wait for its answers, and its own requests.

use std::collections::HashMap;

use paddington_wire::link::CallEnd;
use tokio::sync::oneshot;

use super::asked::Asked;

/// The calls of one peer, in both directions.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) waiters: Waiters,
    pub(super) asked: Asked,
}

/// The futures that wait for the answers of one peer, by request.
#[derive(Debug, Default)]
pub(super) struct Waiters(HashMap<u64, oneshot::Sender<CallEnd>>);

impl Waiters {
    /// Adds a request. Returns what becomes its end.
    pub(super) fn add(&mut self, call: u64) -> oneshot::Receiver<CallEnd> {
        let (waiter, end) = oneshot::channel();
        self.0.insert(call, waiter);
        end
    }

    /// Removes a request. Returns whether it had not ended.
    pub(super) fn remove(&mut self, call: u64) -> bool {
        self.0.remove(&call).is_some()
    }

    pub(super) fn end(&mut self, call: u64, end: CallEnd) {
        if let Some(waiter) = self.0.remove(&call) {
            let _ = waiter.send(end); // whoever has waited may have given up at this moment
        }
    }

    /// Ends all requests without an answer.
    pub(super) fn abandon(&mut self) {
        self.0.clear();
    }
}
