//! Breaks one rule at a time, in the link or in its driver. A rule whose breach no scenario notices
//! would be a rule without a test.

#[cfg(feature = "faults")]
use paddington_wire::Fault;

use crate::check::{self, Found};
use crate::keys;
use crate::scenario::{Sabotage, Scenario};
use crate::scenarios;

/// The most states of a scenario that are looked at before the next one is tried.
const PATIENCE: usize = 400_000;

/// The place of the rules about keys.
const KEYS: &str = "keys";

/// The place of the rules about requests that are cancelled or fail.
#[cfg(feature = "faults")]
const CANCELS: &str = "requests, cancelled";

/// A broken rule.
#[derive(Clone, Copy, Debug)]
pub enum Mutant {
    /// In the link.
    #[cfg(feature = "faults")]
    Link(Fault),
    /// In the driver.
    Driver(Sabotage),
}

/// How a mutant was caught.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The scenario that has caught it.
    pub scenario: &'static str,
    /// Number of states that were looked at until then, in all scenarios.
    pub states: usize,
    /// The promise that was broken.
    pub promise: &'static str,
}

impl Mutant {
    /// Returns all mutants.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let all = Sabotage::ALL.iter().copied().map(Self::Driver);
        #[cfg(feature = "faults")]
        let all = Fault::ALL.iter().copied().filter(has_place).map(Self::Link).chain(all);
        all.collect()
    }

    /// Words in the names of the scenarios that should notice it.
    fn place(self) -> &'static str {
        match self {
            #[cfg(feature = "faults")]
            Self::Link(fault) => place(fault),
            Self::Driver(Sabotage::OneNumberSpace) => "sender crashes",
            Self::Driver(Sabotage::WrittenOnlyWhileWaiting) => "deadlines, durable",
            Self::Driver(Sabotage::RefusedButQueued) => "failing disk",
        }
    }

    /// Looks for a scenario that catches it: first where it should be noticed, then anywhere.
    #[must_use]
    pub fn hunt(self) -> Option<Caught> {
        if self.place() == KEYS {
            return self.hunt_keys();
        }
        let mut states = 0;
        let (first, others): (Vec<_>, Vec<_>) =
            scenarios::all(false).into_iter().partition(|it| it.name.contains(self.place()));
        first.into_iter().chain(others).find_map(|scenario| {
            let name = scenario.name;
            let found = self.explore(scenario);
            states += found.states;
            let (promise, _) = found.breach?;
            Some(Caught { scenario: name, states, promise })
        })
    }

    fn hunt_keys(self) -> Option<Caught> {
        #[cfg(feature = "faults")]
        if let Self::Link(fault) = self {
            fault.inject();
        }
        let found = keys::hunt(PATIENCE);
        #[cfg(feature = "faults")]
        Fault::heal();
        found.map(|(scenario, states, promise)| Caught { scenario, states, promise })
    }

    fn explore(self, scenario: Scenario) -> Found {
        match self {
            #[cfg(feature = "faults")]
            Self::Link(fault) => {
                fault.inject();
                let found = check::explore(scenario, 1, PATIENCE);
                Fault::heal();
                found
            }
            Self::Driver(sabotage) => {
                let scenario = Scenario { sabotage: Some(sabotage), ..scenario };
                check::explore(scenario, 1, PATIENCE)
            }
        }
    }
}

/// Returns whether the models should notice a fault. More streams than a READY lists are too many
/// states for them: the simulation notices that one.
#[cfg(feature = "faults")]
fn has_place(fault: &Fault) -> bool {
    *fault != Fault::UnlistedOvertaken
}

#[cfg(feature = "faults")]
fn place(fault: Fault) -> &'static str {
    match fault {
        Fault::AcknowledgeOnArrival | Fault::UnknownStreamFromZero => "receiver crashes",
        Fault::CursorDroppedWithSession | Fault::RepeatsTakenForNew => "cuts",
        Fault::DueAcknowledgementsDropped => "cuts",
        Fault::DeadSessionHeard => "overlap",
        Fault::CleanUpByName => "overlap",
        Fault::TicketsInAnyOrder => "sender crashes",
        Fault::RegressionRefused => "set back",
        Fault::WindowForgetsTheDead => "small window",
        Fault::UnlistedBeforeRemoved | Fault::UnlistedByAnyRemoval => "old stream",
        Fault::UnlistedOvertaken => "none",
        Fault::TransmittedBeforeStored => "durable sender crashes",
        Fault::TransmittedBeyondMark => "smallest marks",
        Fault::BatchDroppedForItsFirst => "overlap, in batches",
        Fault::LateGapNotTold => "receiving client",
        Fault::FinishedForgotten | Fault::GapHidesFinished => "unordered durable",
        Fault::EndedCursorsForgotten => "a twin",
        Fault::OutboxUnbounded => "full outbox",
        Fault::FlightUnbounded => "under way",
        Fault::CreditIgnored => "full window",
        Fault::RejectionsForgotten => "more rejections",
        Fault::PlacesIgnored | Fault::CallsNotRepeated => "requests, cuts",
        Fault::CallRepeatsTakenForNew => "requests, old and new",
        Fault::OldCallsKept | Fault::AnotherProcessAsked => "requests, answering",
        Fault::CancelFreesPlace | Fault::CancelsNotTold | Fault::CancelledForAnother => CANCELS,
        Fault::AnsweredCancelled | Fault::LateAnswersTold | Fault::FailuresIgnored => CANCELS,
        Fault::KeysToldUnstored | Fault::AgreedReplacedUnasked | Fault::FallenBackKept => KEYS,
        Fault::OldKeysForgottenByClient | Fault::OldKeysForgottenByServer => KEYS,
        Fault::OldKeysKept | Fault::BurnedForgotten => KEYS,
    }
}
