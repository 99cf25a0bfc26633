//! Explores a scenario in every order of events.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::action::Action;
use crate::ledger::Breach;
use crate::scenario::Scenario;
use crate::world::World;

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Found<A = Action> {
    /// Number of different states, up to the first breach.
    pub states: usize,
    /// Number of events that lead to the most remote state.
    pub depth: usize,
    /// Time that it took.
    pub took: Duration,
    /// Whether the bound that the scenario is meant for was reached.
    pub reached: bool,
    /// The broken promise, and the events that break it.
    pub breach: Option<(&'static str, Vec<A>)>,
}

/// Explores every state of a scenario, or the first `limit` ones, or up to the first breach.
#[must_use]
pub fn explore(scenario: Scenario, threads: usize, limit: usize) -> Found {
    let reached = Arc::new(AtomicBool::new(scenario.bound.is_none()));
    let found = search(Explored(scenario, Arc::clone(&reached)), threads, limit);
    Found { reached: reached.load(Ordering::Relaxed), ..found }
}

/// Explores every state of a model, or the first `limit` ones, or up to the first breach.
pub(crate) fn search<M>(model: M, threads: usize, limit: usize) -> Found<M::Action>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + fmt::Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + fmt::Debug + PartialEq + Send + Sync + 'static,
{
    let start = Instant::now();
    let checker = model
        .checker()
        .threads(threads)
        .target_state_count(limit)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let discoveries = checker.discoveries().into_iter();
    let shortest = discoveries
        .map(|(promise, path)| (promise, path.into_actions()))
        .min_by_key(|(_, actions)| actions.len());
    Found {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: start.elapsed(),
        reached: true,
        breach: shortest,
    }
}

/// A scenario, for the model checker, and whether its bound was reached.
struct Explored(Scenario, Arc<AtomicBool>);

impl Model for Explored {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.0)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if self.0.bound.is_some_and(|bound| bound.is_reached(world, &self.0)) {
            self.1.store(true, Ordering::Relaxed);
        }
        world.actions(&self.0, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.step(action, &self.0).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // One function for each promise, because a property is a function and not a closure.
        macro_rules! kept {
            ($($breach:ident)*) => {
                vec![$(Property::always(Breach::$breach.promise(), |_, world: &World| {
                    world.breach != Some(Breach::$breach)
                }),)*
                Property::always(Breach::Stuck.promise(), |model, world| !model.is_stuck(world))]
            };
        }
        kept!(Duplicate OutOfOrder NeverAccepted WrongNumber NumberTwice FinishedAgain
            RepeatNotFlagged Forgotten WrongOutcome OverWindow OverOutbox OverFlight
            NotConserved HonestAccused StoreHasHole AskedTwice AskedOutOfTurn WrongAnswer Panic)
    }
}

impl Explored {
    /// Returns whether nothing goes on without further trouble although something is not settled.
    fn is_stuck(&self, world: &World) -> bool {
        if world.breach.is_some() || world.is_settled() {
            return false;
        }
        let mut actions = Vec::new();
        world.actions(&self.0, &mut actions);
        let goes_on = |&action: &Action| {
            !action.is_trouble()
                && !world.is_for_nobody(action)
                && world.clone().step(action, &self.0)
        };
        !actions.iter().any(goes_on)
    }
}
