//! Every order of what may happen, in situations that are small enough.

use stateright::{Model, Property};

use super::act::{Act, Budget, Rule};
use super::judge::Breach;
use super::world::World;
use crate::check::{self, search};

/// What an exploration has found.
pub type Found = check::Found<Act>;

/// How much goes wrong, under a name.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// The name.
    pub name: &'static str,
    /// What has happened before: what is too far from the beginning is not found in every order.
    pub before: &'static [Act],
    /// What may happen, what has happened included.
    pub budget: Budget,
}

impl Situation {
    fn world(&self, without: Option<Rule>) -> World {
        let mut world = World::new(self.budget, without);
        for act in self.before {
            world.step(*act);
        }
        world
    }
}

/// The peer is connected to replica 0.
const CONNECTED: &[Act] = &[Act::Dial(0), Act::Claim(0), Act::Deliver(0, 0), Act::Deliver(0, 1)];
/// After that, the standby does not have the message that the peer has.
const BEHIND: &[Act] =
    &[Act::Copy, Act::Accept(0, true), Act::Hear(0), Act::Transmit(Some(0)), Act::Deliver(0, 0)];
const FORGOTTEN: [Act; 9] = joined(CONNECTED, BEHIND);
/// Both of the peer's messages have arrived at replica 0, which has handled the first one.
const HANDLED: &[Act] = &[
    Act::Send,
    Act::Send,
    Act::Dial(0),
    Act::Claim(0),
    Act::Deliver(0, 0),
    Act::Deliver(0, 1),
    Act::Transmit(None),
    Act::Transmit(None),
    Act::Deliver(0, 1),
    Act::Deliver(0, 1),
    Act::Begin(0),
    Act::End(0),
    Act::Gather(0),
];
/// After that the replica was cut off before that was stored, and replica 1 has handled both.
const HANDLED_ELSEWHERE: &[Act] = &[
    Act::CutOff(0),
    Act::Lapse(0),
    Act::Expire(0),
    Act::Redial,
    Act::Finish(0, 1),
    Act::Dial(1),
    Act::Claim(0),
    Act::Deliver(0, 0),
    Act::Deliver(0, 1),
    Act::Transmit(None),
    Act::Transmit(None),
    Act::Deliver(0, 1),
    Act::Deliver(0, 1),
    Act::Begin(1),
    Act::End(1),
    Act::Begin(1),
    Act::End(1),
    Act::Gather(1),
    Act::Write(1),
];
const LATE: [Act; 32] = joined(HANDLED, HANDLED_ELSEWHERE);

const fn joined<const N: usize>(first: &[Act], then: &[Act]) -> [Act; N] {
    let mut all = [Act::Send; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < first.len() { first[at] } else { then[at - first.len()] };
        at += 1;
    }
    all
}

/// The situations of the short form, or those of the long one.
#[must_use]
pub fn situations(long: bool) -> Vec<Situation> {
    let none = Budget::default();
    let situation = |name, before, budget| Situation { name, before, budget };
    let late = Budget { sends: 2, cut_offs: 1, redials: 1, kills: 1, ..none };
    let broken = Budget { sends: 1, accepts: 1, cuts: 1, ..none };
    let cut_off = Budget { sends: 1, cut_offs: 1, redials: 1, ..none };
    if long {
        return vec![
            situation(
                "replicas: moves, long",
                &[],
                Budget { sends: 2, accepts: 1, redials: 1, ..none },
            ),
            situation("replicas: breaks, long", &[], Budget { accepts: 2, ..broken }),
            situation("replicas: killed, long", &[], Budget { kills: 1, ..broken }),
            situation("replicas: cut off, long", &[], Budget { sends: 2, ..cut_off }),
            situation(
                "replicas: late writes, long",
                HANDLED,
                Budget { redials: 2, kills: 0, ..late },
            ),
            situation(
                "replicas: sessions, long",
                &[],
                Budget { sends: 2, ended: 1, redials: 1, ..none },
            ),
            situation(
                "replicas: failovers, long",
                CONNECTED,
                Budget { sends: 1, accepts: 2, failovers: 1, ..none },
            ),
        ];
    }
    vec![
        situation("replicas: moves", &[], Budget { sends: 2, redials: 1, ..none }),
        situation("replicas: connections break", CONNECTED, broken),
        situation("replicas: one is killed", CONNECTED, Budget { cuts: 0, kills: 1, ..broken }),
        situation("replicas: one is cut off", CONNECTED, cut_off),
        situation("replicas: late writes", &LATE, late),
        situation(
            "replicas: sessions end",
            HANDLED,
            Budget { sends: 2, ended: 1, redials: 1, ..none },
        ),
        situation("replicas: signals are lost", &[], Budget { accepts: 2, lost: 1, ..none }),
        situation("replicas: undecided commits", &[], Budget { accepts: 2, undecided: 1, ..none }),
        situation("replicas: failovers", &FORGOTTEN, Budget { accepts: 2, failovers: 1, ..none }),
    ]
}

/// Explores every state of a situation, without a rule or with all, or the first `limit` ones, or up to
/// the first breach.
#[must_use]
pub fn explore(situation: Situation, without: Option<Rule>, threads: usize, limit: usize) -> Found {
    search(Explored(situation, without), threads, limit)
}

/// Looks for a situation of the short form that breaks a promise without a rule. Returns its name, the
/// number of states that were looked at until then in all of them, and how it breaks.
#[must_use]
pub fn hunt(without: Rule, limit: usize) -> Option<(&'static str, usize, Found)> {
    let mut states = 0;
    let (first, others): (Vec<_>, Vec<_>) =
        situations(false).into_iter().partition(|it| it.name.contains(without.place()));
    first.into_iter().chain(others).find_map(|situation| {
        let found = explore(situation, Some(without), 1, limit);
        states += found.states;
        found.breach.is_some().then_some((situation.name, states, found))
    })
}

/// A situation, for the model checker.
struct Explored(Situation, Option<Rule>);

impl Model for Explored {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![self.0.world(self.1)]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        world.acts(acts);
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        let mut next = world.clone();
        next.step(act).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // One function for each promise, because a property is a function and not a closure.
        macro_rules! kept {
            ($($breach:ident)*) => {
                vec![$(Property::always(Breach::$breach.promise(), |_, world: &World| {
                    world.breach != Some(Breach::$breach)
                }),)*
                Property::always(Breach::Stuck.promise(), |_, world: &World| !world.is_stuck())]
            };
        }
        kept!(Lost Forgotten Doubled OutOfOrder NeverAccepted HandledAgain TwoHandlers
            CalledAfterTold HonestAccused Panic)
    }
}

impl World {
    /// Whether nothing goes on without further trouble although something is not settled.
    fn is_stuck(&self) -> bool {
        if self.breach.is_some() || self.is_settled() {
            return false;
        }
        let mut acts = Vec::new();
        self.acts(&mut acts);
        let goes_on = |&act: &Act| !act.is_trouble() && self.clone().step(act);
        !acts.iter().any(goes_on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_happened_before_can_happen() {
        for situation in situations(false).into_iter().chain(situations(true)) {
            let mut world = World::new(situation.budget, None);
            for act in situation.before {
                assert!(world.step(*act), "{}: {act:?} changes nothing", situation.name);
            }
            assert_eq!(world.breach, None, "{}", situation.name);
        }
    }
}
