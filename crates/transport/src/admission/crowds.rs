//! Pending connections, sorted by where they come from, and which of them give way.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::prefix::{Member, Prefix};

/// Time for which a connection whose request was answered keeps its place among those of its
/// address, to send its hello.
pub(super) const ANSWERED: Duration = Duration::from_millis(250);

/// Pending connections, sorted by where they come from.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    pub(super) strangers: BTreeSet<Member>,
    pub(super) known: BTreeSet<Member>,
    /// The same by their addresses.
    pub(super) at: HashMap<Prefix, Here>,
}

/// The pending connections of one address.
#[derive(Debug, Default)]
pub(super) struct Here {
    /// The silent ones, the oldest first.
    silent: BTreeSet<u64>,
    /// Those whose request was answered, in that order.
    answered: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) from: Option<Prefix>,
    /// Whether a connection from its address was established before.
    pub(super) known: bool,
    /// The time at which its request was answered. Before that, it is silent.
    pub(super) answered: Option<Instant>,
    pub(super) evicted: CancellationToken,
}

impl Crowds {
    pub(super) fn of(&mut self, known: bool) -> &mut BTreeSet<Member> {
        if known { &mut self.known } else { &mut self.strangers }
    }

    pub(super) fn add(&mut self, number: u64, entry: &Entry) {
        self.of(entry.known).insert((entry.from, number));
        let Some(from) = entry.from else { return };
        let here = self.at.entry(from).or_default();
        match entry.answered {
            None => here.silent.insert(number),
            Some(at) => here.answered.insert((at, number)),
        };
    }

    pub(super) fn remove(&mut self, number: u64, entry: &Entry) {
        self.of(entry.known).remove(&(entry.from, number));
        let Some(from) = entry.from else { return };
        let Some(here) = self.at.get_mut(&from) else { return };
        match entry.answered {
            None => here.silent.remove(&number),
            Some(at) => here.answered.remove(&(at, number)),
        };
        if here.len() == 0 {
            self.at.remove(&from);
        }
    }
}

impl Here {
    pub(super) fn len(&self) -> usize {
        self.silent.len() + self.answered.len()
    }

    /// Returns the one that gives way for another one, if any does: the oldest silent one, or the one whose
    /// request was answered first, if that was long ago.
    pub(super) fn victim(&self, now: Instant) -> Option<u64> {
        let late = || self.answered.first().filter(|(at, _)| *at + ANSWERED <= now);
        self.silent.first().copied().or_else(|| late().map(|(_, number)| *number))
    }
}
