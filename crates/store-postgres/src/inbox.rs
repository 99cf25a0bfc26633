//! What this replica is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paddington_exchange::store::{Signal, Signals};
use tokio::sync::mpsc;

/// Number of signals that wait to be taken.
const ROOM: usize = 8_192;

/// Where signals arrive. A clone is the same inbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Nobody is told anything before somebody listens.
    to: Option<mpsc::Sender<Signal>>,
    /// There was no room, and `Lost` waits for some.
    is_full: bool,
}

impl Inbox {
    /// Returns what arrives from now on.
    pub(crate) fn listen(&self) -> Signals {
        let (to, signals) = mpsc::channel(ROOM);
        *self.lock() = State { to: Some(to), is_full: false };
        signals
    }

    pub(crate) fn deliver(&self, signal: Signal) {
        let mut state = self.lock();
        let Some(to) = &state.to else { return };
        if state.is_full || to.try_send(signal).is_ok() {
            return;
        }
        let (to, inbox) = (to.clone(), self.clone());
        state.is_full = true;
        tokio::spawn(async move {
            let Ok(room) = to.reserve().await else { return };
            let mut state = inbox.lock();
            state.is_full = false;
            room.send(Signal::Lost);
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use paddington_wire::LinkId;

    use super::*;

    #[tokio::test]
    async fn what_has_no_room_is_replaced_by_lost() {
        let inbox = Inbox::default();
        let signal = |byte| Signal::Settled { link: LinkId::from([byte; 16]) };
        inbox.deliver(signal(0));
        let mut signals = inbox.listen();
        for _ in 0..ROOM + 100 {
            inbox.deliver(signal(1));
        }
        for _ in 0..ROOM {
            assert_eq!(signals.recv().await, Some(signal(1)));
        }
        assert_eq!(signals.recv().await, Some(Signal::Lost));
        inbox.deliver(signal(2));
        assert_eq!(signals.recv().await, Some(signal(2)));
    }
}
