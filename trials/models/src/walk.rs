//! Random walks: more messages, crashes and faults at a time than can be explored in every order.
//!
//! A walk is one instance of the model, from nothing until nothing can happen any more. Trouble is
//! rarer than progress, and at the end everything has to be settled.

use crate::action::Action;
use crate::ledger::Breach;
use crate::random::Random;
use crate::scenario::Keeping::{Durable, Memory};
use crate::scenario::{Budget, Scenario};
use crate::world::World;

/// One in this many events may be trouble.
const TROUBLE: usize = 6;
/// The length that only a walk in circles reaches.
const ENDLESS: usize = 20_000;

/// The result of a walk.
#[derive(Clone, Debug)]
pub struct Walked {
    /// The events, in order.
    pub actions: Vec<Action>,
    /// The promise that was broken.
    pub breach: Option<Breach>,
}

/// Draws a scenario with 5 and 3 messages, 4 crashes and 4 faults.
#[must_use]
pub fn scenario(random: &mut Random) -> Scenario {
    let mut keeping = || if random.below(2) == 0 { Memory } else { Durable };
    let keeping = [keeping(), keeping()];
    let client = random.below(5) as u8;
    let cuts = random.below(5) as u8;
    let fails = |side: usize| u8::from(keeping[side] == Durable);
    let set_back = random.below(4) == 0;
    Scenario {
        name: "walk",
        keeping,
        window: [1, 2, 3, 100][random.below(4)],
        together: [1, 1, 2, 6][random.below(4)],
        frames: 1 + random.below(4),
        handlers: 1 + random.below(3),
        late_answers: random.below(2) == 0,
        left_over: if keeping[0] == Durable { random.below(3) as u8 } else { 0 },
        spread: random.below(2) == 0,
        outbox: [2, 8][random.below(2)],
        in_flight: [1, 8][random.below(2)],
        requests: [1, 2, 8][random.below(3)],
        mark_step: [1, 2, 128][random.below(3)],
        rejections: 1 + random.below(2),
        listed: 2 + random.below(2),
        ended: 8,
        bound: None,
        mortal: [None, Some(0), Some(1), Some(2)][random.below(4)],
        budget: Budget {
            sends: [5, 3],
            asks: [random.below(4) as u8, random.below(3) as u8],
            cuts,
            redials: 4 - cuts,
            crashes: [client, 4 - client],
            set_backs: if set_back { [fails(0), fails(1)] } else { [0, 0] },
            failures: [fails(0), fails(1)],
            rejections: random.below(3) as u8,
            ticks: random.below(2) as u8,
            twins: 0,
            // Drawn last: a seed still has the scenario that it had before there were any.
            refusals: random.below(2) as u8,
            cancels: random.below(3) as u8,
        },
        sabotage: None,
    }
}

/// Takes the walk that belongs to `seed`.
#[must_use]
pub fn walk(seed: u64) -> Walked {
    let mut random = Random::new(seed);
    let scenario = scenario(&mut random);
    let mut world = World::new(&scenario);
    let (mut taken, mut possible) = (Vec::new(), Vec::new());
    while taken.len() < ENDLESS {
        let Some(action) = next(&world, &scenario, &mut random, &mut possible) else {
            let stuck = world.breach.is_none() && !world.is_settled();
            let breach = if stuck { Some(Breach::Stuck) } else { world.breach };
            return Walked { actions: taken, breach };
        };
        world = action.1;
        taken.push(action.0);
    }
    Walked { actions: taken, breach: Some(Breach::Stuck) }
}

/// Takes the next event that changes anything: trouble now and then, else progress.
fn next(
    world: &World,
    scenario: &Scenario,
    random: &mut Random,
    possible: &mut Vec<Action>,
) -> Option<(Action, World)> {
    possible.clear();
    world.actions(scenario, possible);
    let trouble = random.below(TROUBLE) == 0 && possible.iter().any(|action| action.is_trouble());
    possible.retain(|action| action.is_trouble() == trouble);
    while !possible.is_empty() {
        let action = possible.swap_remove(random.below(possible.len()));
        let mut next = world.clone();
        if next.step(action, scenario) {
            return Some((action, next));
        }
    }
    None
}
