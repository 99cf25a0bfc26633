//! The situations that are explored, each with its reason.

use crate::scenario::Keeping::{Durable, Memory};
use crate::scenario::{Budget, Scenario};

/// Nothing goes wrong, and there is a little of everything else.
const CALM: Scenario = Scenario {
    name: "calm",
    keeping: [Memory, Memory],
    window: 100,
    frames: 2,
    handlers: 1,
    late_answers: false,
    mortal: false,
    budget: Budget {
        sends: [2, 1],
        cuts: 0,
        redials: 0,
        crashes: [0, 0],
        set_backs: [0, 0],
        failures: [0, 0],
        rejections: 0,
        ticks: 0,
    },
    sabotage: None,
};

/// Every scenario, in the size that a check of every change can afford.
#[must_use]
pub fn short() -> Vec<Scenario> {
    let budget = CALM.budget;
    let durable = [Durable, Durable];
    vec![
        // Both services live, the network cuts what it likes.
        Scenario { name: "cuts", budget: Budget { sends: [2, 1], cuts: 2, ..budget }, ..CALM },
        // The client begins a new session while frames of the old one are still on their way.
        Scenario {
            name: "old and new session overlap",
            budget: Budget { sends: [2, 1], redials: 2, ..budget },
            ..CALM
        },
        // The sender dies: what it had promised is gone, and nothing old may disturb the new life.
        Scenario {
            name: "memory, sender crashes",
            budget: Budget { sends: [3, 0], crashes: [1, 0], cuts: 1, ..budget },
            ..CALM
        },
        // The receiver dies: nothing is lost, what it was handling comes again.
        Scenario {
            name: "memory, receiver crashes",
            budget: Budget { sends: [3, 0], crashes: [0, 1], cuts: 1, ..budget },
            ..CALM
        },
        // Both die. The READY of a dead client is still on its way when its successor connects.
        Scenario {
            name: "memory, both crash",
            budget: Budget { sends: [2, 1], crashes: [2, 1], ..budget },
            ..CALM
        },
        // Two dead lives of the client leave messages in the server's inbox; the window is full.
        Scenario {
            name: "memory, small window, sender crashes",
            window: 2,
            budget: Budget { sends: [4, 0], crashes: [2, 0], ..budget },
            ..CALM
        },
        // One message fits into the window.
        Scenario {
            name: "smallest window",
            window: 1,
            budget: Budget { sends: [3, 1], cuts: 1, ..budget },
            ..CALM
        },
        // A disk that is behind with trims and cursors when its service dies.
        Scenario {
            name: "durable, sender crashes",
            keeping: [Durable, Memory],
            budget: Budget { sends: [3, 0], crashes: [2, 0], ..budget },
            ..CALM
        },
        Scenario {
            name: "durable, receiver crashes",
            keeping: [Memory, Durable],
            budget: Budget { sends: [3, 0], crashes: [0, 2], ..budget },
            ..CALM
        },
        Scenario {
            name: "durable, both crash",
            keeping: durable,
            frames: 1,
            budget: Budget { sends: [2, 0], crashes: [1, 1], ..budget },
            ..CALM
        },
        // The disk tells only later what it has done, and fails once.
        Scenario {
            name: "durable, late answers and a failing disk",
            keeping: [Durable, Memory],
            late_answers: true,
            budget: Budget { sends: [3, 0], failures: [1, 0], crashes: [1, 0], ..budget },
            ..CALM
        },
        // Two handlers at a time: what is finished out of order is remembered.
        Scenario {
            name: "unordered handlers",
            handlers: 2,
            budget: Budget { sends: [3, 0], cuts: 1, crashes: [0, 1], ..budget },
            ..CALM
        },
        Scenario {
            name: "durable, unordered handlers, a deadline",
            keeping: [Memory, Durable],
            handlers: 2,
            mortal: true,
            budget: Budget { sends: [3, 0], crashes: [0, 1], ticks: 1, ..budget },
            ..CALM
        },
        // The client is set back to a copy of its disk. What it accepts from then on is not lost.
        Scenario {
            name: "durable, set back to an old copy",
            keeping: [Durable, Memory],
            frames: 1,
            budget: Budget { sends: [3, 0], set_backs: [1, 0], ..budget },
            ..CALM
        },
        // The READY of a dead client arrives after its successor's.
        Scenario {
            name: "durable, the READY of a dead process",
            keeping: [Durable, Memory],
            frames: 1,
            budget: Budget { sends: [2, 0], crashes: [2, 0], ..budget },
            ..CALM
        },
        // What has expired leaves a gap and no hole, however often it is told.
        Scenario {
            name: "deadlines",
            mortal: true,
            budget: Budget { sends: [2, 1], cuts: 2, ticks: 1, ..budget },
            ..CALM
        },
        Scenario {
            name: "durable, deadlines, sender crashes",
            keeping: [Durable, Memory],
            mortal: true,
            budget: Budget { sends: [3, 0], crashes: [1, 0], ticks: 1, ..budget },
            ..CALM
        },
        // A rejection survives the loss of the acknowledgement that tells it.
        Scenario {
            name: "rejections",
            budget: Budget { sends: [3, 0], cuts: 2, rejections: 2, ..budget },
            ..CALM
        },
    ]
}
