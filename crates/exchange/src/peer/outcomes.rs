//! Outcomes of messages that were not handled, for the receipts that wait for them.
//!
//! An outcome is kept as long as a receipt may ask for it, and no longer: receipts of one page share
//! a block of memory, which goes with the last of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use paddington_wire::RejectText;
use paddington_wire::link::Outcome;

use super::Number;
use crate::faults::{Fault, broken};

/// The number of consecutive messages whose receipts share a page.
const PAGE: u64 = 1_024;

/// Outcomes of a range of messages.
#[derive(Debug, Default)]
pub(crate) struct Page {
    outcomes: Mutex<BTreeMap<Number, (Outcome, RejectText)>>,
}

/// The pages of one peer.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// The page of the newest messages, and its index.
    newest: Option<(u64, Arc<Page>)>,
    /// Older pages, oldest first.
    older: VecDeque<(u64, Weak<Page>)>,
}

impl Page {
    /// Returns the outcome of a message of this page, if it was not handled.
    pub(crate) fn get(&self, number: Number) -> Option<Outcome> {
        self.lock().get(&number).map(|(outcome, _)| *outcome)
    }

    /// Returns what the peer has said about a message of this page that it has rejected.
    pub(crate) fn text(&self, number: Number) -> RejectText {
        self.lock().get(&number).map_or(RejectText::NONE, |(_, text)| text.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Number, (Outcome, RejectText)>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcomes {
    /// Returns the page for the receipt of a new message.
    pub(super) fn page(&mut self, number: Number) -> Arc<Page> {
        let index = number / PAGE;
        match &self.newest {
            Some((newest, page)) if *newest == index => return Arc::clone(page),
            Some((newest, page)) => self.older.push_back((*newest, Arc::downgrade(page))),
            None => {}
        }
        self.older.retain(|(_, page)| page.strong_count() > 0);
        let page = Arc::new(Page::default());
        self.newest = Some((index, Arc::clone(&page)));
        page
    }

    /// Keeps an outcome, if a receipt may ask for it.
    pub(super) fn keep(&self, number: Number, outcome: Outcome, text: RejectText) {
        let index = number / PAGE;
        let newest = self.newest.as_ref().filter(|(newest, _)| *newest == index);
        let page = newest.map(|(_, page)| Arc::clone(page)).or_else(|| {
            if broken(Fault::OutcomesForgotten) {
                return None;
            }
            let found = self.older.binary_search_by_key(&index, |(index, _)| *index).ok()?;
            self.older[found].1.upgrade()
        });
        if let Some(page) = page {
            page.lock().insert(number, (outcome, text));
        }
    }
}

impl Outcomes {
    /// Forgets the outcomes from `number` on: these numbers are given again.
    pub(super) fn forget_from(&mut self, number: Number) {
        let older = self.older.iter().filter_map(|(_, page)| page.upgrade());
        for page in older.chain(self.newest.iter().map(|(_, page)| Arc::clone(page))) {
            page.lock().retain(|known, _| *known < number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_kept_for_as_long_as_its_receipt() {
        let mut outcomes = Outcomes::default();
        let held: Vec<_> = (1..=20_000).map(|number| outcomes.page(number)).collect();
        for number in 1..=20_000 {
            outcomes.keep(number, Outcome::Expired, RejectText::NONE);
        }
        let all = held
            .iter()
            .zip(1..)
            .filter(|(page, number)| page.get(*number) == Some(Outcome::Expired));
        assert_eq!(all.count(), 20_000);
    }

    #[test]
    fn outcomes_that_nobody_asks_for_take_no_memory() {
        let mut outcomes = Outcomes::default();
        for number in 1..=1_000_000 {
            drop(outcomes.page(number));
            outcomes.keep(number, Outcome::TooLong, RejectText::NONE);
        }
        assert!(outcomes.older.len() <= 1, "{}", outcomes.older.len());
        let (_, newest) = outcomes.newest.unwrap();
        assert!(newest.lock().len() as u64 <= PAGE);
    }
}
