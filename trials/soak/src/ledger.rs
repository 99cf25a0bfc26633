//! What a service was given: whether every message came once and in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Error, ensure};
use paddington::{Handler, Message};
use tokio::time::sleep;

use paddington_test_support::Random;

/// Numbers that have to come one by one. Copies are the same ledger.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    next: usize,
    fault: Option<String>,
    controls: Vec<String>,
}

impl Ledger {
    /// The handler that writes into it.
    pub(crate) fn handler(&self) -> impl Handler + use<> {
        let ledger = self.clone();
        move |message: Message| {
            ledger.enter(&message);
            std::future::ready(Ok::<(), Error>(()))
        }
    }

    /// A handler that takes up to `longest` for one message in `often`, and then writes into it.
    pub(crate) fn slow_handler(
        &self,
        random: Random,
        often: usize,
        longest: Duration,
    ) -> impl Handler + use<> {
        let (ledger, random) = (self.clone(), Arc::new(Mutex::new(random)));
        move |message: Message| {
            let pause = {
                let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
                (random.below(often) == 0).then(|| random.up_to(longest))
            };
            let ledger = ledger.clone();
            async move {
                if let Some(pause) = pause {
                    sleep(pause).await;
                }
                ledger.enter(&message);
                Ok::<(), Error>(())
            }
        }
    }

    fn enter(&self, message: &Message) {
        let mut entries = self.entries();
        if message.is_control() {
            entries.controls.push(message.payload().to_owned());
            return;
        }
        let number = message.payload().split(' ').next().and_then(|number| number.parse().ok());
        if number != Some(entries.next) && entries.fault.is_none() {
            let (next, came) = (entries.next, message.payload());
            entries.fault = Some(format!("{came:.20} came where {next} was due"));
        }
        entries.next += 1;
    }

    /// How many messages have come.
    ///
    /// # Errors
    ///
    /// If one of them was not the one that was due.
    pub(crate) fn count(&self) -> Result<usize, Error> {
        let entries = self.entries();
        let fault = entries.fault.clone().unwrap_or_default();
        ensure!(fault.is_empty(), "{fault}");
        Ok(entries.next)
    }

    /// What was told of the peer.
    pub(crate) fn controls(&self) -> Vec<String> {
        self.entries().controls.clone()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(texts: &[&str]) -> Ledger {
        let ledger = Ledger::default();
        texts.iter().for_each(|text| ledger.enter(&Message::new("x", *text)));
        ledger
    }

    #[test]
    fn what_comes_in_order_is_counted() {
        assert_eq!(ledger(&["0", "1 with more", "2"]).count().unwrap(), 3);
    }

    #[test]
    fn what_is_lost_doubled_or_late_is_noticed() {
        for texts in [["0", "2", "3"], ["0", "1", "1"], ["0", "2", "1"], ["1", "2", "3"]] {
            assert!(ledger(&texts).count().is_err(), "{texts:?}");
        }
    }
}
