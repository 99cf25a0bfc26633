//! The last events of a service, and those to come.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use paddington::Event;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver};

use crate::model::{EventEntry, time};
use crate::sse;
use crate::view;

/// Number of events that are kept.
const KEPT: usize = 50;
/// Number of events that a stream may be behind before it ends.
const BEHIND: usize = 256;

/// The last events, and those to come.
#[derive(Debug)]
pub(crate) struct History {
    kept: Mutex<VecDeque<EventEntry>>,
    live: broadcast::Sender<Bytes>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::default(), live: broadcast::channel(BEHIND).0 }
    }

    /// Takes the events of a service, for as long as it runs, and calls `note` with each.
    pub(crate) async fn follow(&self, mut events: Receiver<Event>, note: impl Fn(&Event)) {
        loop {
            let entry = match events.recv().await {
                Ok(event) => {
                    note(&event);
                    view::event(&event, SystemTime::now())
                }
                Err(RecvError::Lagged(missed)) => EventEntry {
                    at: time(SystemTime::now()),
                    kind: "missed".to_owned(),
                    peer: None,
                    text: format!("{missed} events came too fast to be kept"),
                },
                Err(RecvError::Closed) => return,
            };
            self.take(entry);
        }
    }

    fn take(&self, entry: EventEntry) {
        let mut kept = self.lock();
        if let Some(event) = sse::event("event", &entry) {
            // Nobody may be listening. In the lock, so that whoever begins to listen gets it once.
            let _ = self.live.send(event);
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(entry);
    }

    /// Returns the last events, oldest first.
    pub(crate) fn list(&self) -> Vec<EventEntry> {
        self.lock().iter().cloned().collect()
    }

    /// Returns the last events, and a receiver of those that follow.
    pub(crate) fn subscribe(&self) -> (Vec<EventEntry>, Receiver<Bytes>) {
        let kept = self.lock();
        (kept.iter().cloned().collect(), self.live.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<EventEntry>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fifty_events_are_kept() {
        let history = History::new();
        for number in 0..60 {
            let text = number.to_string();
            let entry = EventEntry { at: String::new(), kind: "up".to_owned(), peer: None, text };
            history.take(entry);
        }
        let kept = history.list();
        assert_eq!((kept.len(), kept[0].text.as_str(), kept[49].text.as_str()), (50, "10", "59"));
    }
}
