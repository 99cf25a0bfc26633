//! The situations that are explored, each with its reason, in two sizes: one that every change can
//! afford, and a long one.

use crate::scenario::Keeping::{Durable, Memory};
use crate::scenario::{Budget, Scenario};

/// Nothing happens, nothing goes wrong.
const NOTHING: Budget = Budget {
    sends: [0, 0],
    cuts: 0,
    redials: 0,
    crashes: [0, 0],
    set_backs: [0, 0],
    failures: [0, 0],
    rejections: 0,
    ticks: 0,
};

/// What the others are variations of.
const PLAIN: Scenario = Scenario {
    name: "plain",
    keeping: [Memory, Memory],
    window: 100,
    frames: 2,
    handlers: 1,
    late_answers: false,
    left_over: 0,
    mortal: None,
    budget: NOTHING,
    sabotage: None,
};

/// Every scenario, small or large.
#[must_use]
pub fn all(long: bool) -> Vec<Scenario> {
    let pick = |(small, large): (Scenario, Budget)| {
        let budget = if long { large } else { small.budget };
        Scenario { budget, ..small }
    };
    [in_memory(), on_disk(), with_fates()].into_iter().flatten().map(pick).collect()
}

/// Both services keep everything in memory. Each scenario with its budget in the long form.
fn in_memory() -> Vec<(Scenario, Budget)> {
    let sends = |client, server| Budget { sends: [client, server], ..NOTHING };
    let client_crashes = |times| Budget { crashes: [times, 0], ..NOTHING };
    vec![
        // Both services live, the network cuts what it likes.
        (
            Scenario { name: "cuts", budget: Budget { cuts: 2, ..sends(2, 1) }, ..PLAIN },
            Budget { cuts: 3, ..sends(2, 2) },
        ),
        // The client begins a new session while frames of the old one are still on their way.
        (
            Scenario {
                name: "old and new session overlap",
                budget: Budget { redials: 2, ..sends(2, 0) },
                ..PLAIN
            },
            Budget { redials: 2, ..sends(2, 1) },
        ),
        // The sender dies: what it had promised is gone, and nothing old may disturb the new life,
        // not even the READY of the dead process that is still on its way.
        (
            Scenario {
                name: "sender crashes",
                budget: Budget { sends: [3, 0], cuts: 1, ..client_crashes(1) },
                ..PLAIN
            },
            Budget { sends: [3, 0], cuts: 1, ..client_crashes(2) },
        ),
        // The receiver dies: nothing is lost, what it was handling comes again.
        (
            Scenario {
                name: "receiver crashes",
                budget: Budget { crashes: [0, 1], cuts: 1, ..sends(3, 0) },
                ..PLAIN
            },
            Budget { crashes: [0, 2], cuts: 1, ..sends(3, 1) },
        ),
        // Both die.
        (
            Scenario {
                name: "both crash",
                budget: Budget { crashes: [1, 1], ..sends(2, 1) },
                ..PLAIN
            },
            Budget { crashes: [2, 1], ..sends(2, 1) },
        ),
        // Dead lives of the client have left messages in the server's inbox: its window is full.
        (
            Scenario {
                name: "sender crashes, small window",
                window: 2,
                budget: Budget { sends: [4, 0], ..client_crashes(1) },
                ..PLAIN
            },
            Budget { sends: [4, 0], ..client_crashes(2) },
        ),
        // One message fits into the window.
        (
            Scenario {
                name: "smallest window",
                window: 1,
                budget: Budget { cuts: 1, ..sends(3, 1) },
                ..PLAIN
            },
            Budget { cuts: 2, ..sends(3, 2) },
        ),
        // Two handlers at a time: what is finished out of order is not acknowledged too early.
        (
            Scenario {
                name: "unordered handlers",
                handlers: 2,
                budget: Budget { cuts: 1, crashes: [0, 1], ..sends(3, 0) },
                ..PLAIN
            },
            Budget { cuts: 2, crashes: [0, 1], ..sends(4, 0) },
        ),
    ]
}

/// At least one service has a disk, which is behind with everything it may be behind with.
fn on_disk() -> Vec<(Scenario, Budget)> {
    let sends = |client, server| Budget { sends: [client, server], ..NOTHING };
    let (sender, receiver) = ([Durable, Memory], [Memory, Durable]);
    vec![
        (
            Scenario {
                name: "durable sender crashes",
                keeping: sender,
                budget: Budget { crashes: [1, 0], ..sends(3, 0) },
                ..PLAIN
            },
            Budget { crashes: [2, 0], ..sends(2, 0) },
        ),
        // Streams of two lives, of which the disk forgets later than the peer acknowledges.
        (
            Scenario {
                name: "durable sender, old stream",
                keeping: sender,
                frames: 1,
                left_over: 2,
                budget: Budget { cuts: 1, crashes: [1, 0], ..NOTHING },
                ..PLAIN
            },
            Budget { cuts: 1, crashes: [1, 0], ..sends(1, 0) },
        ),
        (
            Scenario {
                name: "durable receiver crashes",
                keeping: receiver,
                budget: Budget { crashes: [0, 2], ..sends(3, 0) },
                ..PLAIN
            },
            Budget { crashes: [0, 2], cuts: 1, ..sends(3, 1) },
        ),
        (
            Scenario {
                name: "durable, both crash",
                keeping: [Durable, Durable],
                frames: 1,
                budget: Budget { crashes: [1, 1], ..sends(1, 0) },
                ..PLAIN
            },
            Budget { crashes: [1, 1], ..sends(2, 0) },
        ),
        // The disk tells only later what it has done, and fails once.
        (
            Scenario {
                name: "late answers of a failing disk",
                keeping: sender,
                late_answers: true,
                budget: Budget { failures: [1, 0], ..sends(3, 0) },
                ..PLAIN
            },
            Budget { failures: [1, 0], crashes: [1, 0], ..sends(3, 0) },
        ),
        // The client is set back to a copy of its disk. What it accepts from then on is not lost.
        (
            Scenario {
                name: "set back to an old copy",
                keeping: sender,
                frames: 1,
                budget: Budget { set_backs: [1, 0], ..sends(3, 0) },
                ..PLAIN
            },
            Budget { set_backs: [1, 0], crashes: [1, 0], ..sends(3, 0) },
        ),
        // Messages have reached the server twice, through two lives of the client.
        (
            Scenario {
                name: "durable sender, overlap",
                keeping: sender,
                frames: 1,
                budget: Budget { redials: 1, crashes: [1, 0], ..sends(2, 0) },
                ..PLAIN
            },
            Budget { redials: 1, crashes: [2, 0], ..sends(2, 0) },
        ),
    ]
}

/// Messages expire, or are given up by the handler.
fn with_fates() -> Vec<(Scenario, Budget)> {
    let sends = |client, server| Budget { sends: [client, server], ..NOTHING };
    vec![
        // What has expired leaves a gap and no hole, however often it is told.
        (
            Scenario {
                name: "deadlines",
                mortal: Some(1),
                budget: Budget { cuts: 1, ticks: 1, ..sends(3, 0) },
                ..PLAIN
            },
            Budget { cuts: 2, ticks: 1, ..sends(3, 1) },
        ),
        (
            Scenario {
                name: "deadlines, durable sender crashes",
                keeping: [Durable, Memory],
                frames: 1,
                mortal: Some(1),
                budget: Budget { crashes: [1, 0], ticks: 1, ..sends(3, 0) },
                ..PLAIN
            },
            Budget { crashes: [1, 0], cuts: 1, ticks: 1, ..sends(3, 0) },
        ),
        (
            Scenario {
                name: "deadlines, unordered durable receiver crashes",
                keeping: [Memory, Durable],
                handlers: 2,
                mortal: Some(2),
                budget: Budget { crashes: [0, 1], ticks: 1, ..sends(3, 0) },
                ..PLAIN
            },
            Budget { crashes: [0, 2], ticks: 1, ..sends(4, 0) },
        ),
        // A rejection survives the loss of the acknowledgement that tells it.
        (
            Scenario {
                name: "rejections",
                budget: Budget { cuts: 2, rejections: 2, ..sends(3, 0) },
                ..PLAIN
            },
            Budget { cuts: 3, rejections: 2, ..sends(3, 1) },
        ),
    ]
}
