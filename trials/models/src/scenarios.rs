//! The situations that are explored, each with its reason, in two sizes: one that every change can
//! afford, and a long one.

use crate::bound::Bound;
use crate::scenario::Keeping::{Durable, Memory};
use crate::scenario::{Budget, Scenario};

/// A scenario, and what may happen in its small and in its long form.
type Sized = (Scenario, [Budget; 2]);

/// Nothing happens, nothing goes wrong.
const NOTHING: Budget = Budget {
    sends: [0, 0],
    asks: [0, 0],
    cuts: 0,
    redials: 0,
    crashes: [0, 0],
    set_backs: [0, 0],
    failures: [0, 0],
    rejections: 0,
    refusals: 0,
    cancels: 0,
    ticks: 0,
    twins: 0,
};

/// The scenario of which all others are variations.
const PLAIN: Scenario = Scenario {
    name: "plain",
    keeping: [Memory, Memory],
    window: 100,
    together: 1,
    frames: 2,
    handlers: 1,
    late_answers: false,
    left_over: 0,
    spread: false,
    outbox: 8,
    in_flight: 8,
    requests: 8,
    mark_step: 128,
    rejections: 8,
    listed: 8,
    ended: 0,
    bound: None,
    mortal: None,
    budget: NOTHING,
    sabotage: None,
};

/// The client has a disk, and the server has not.
const CLIENT_DISK: Scenario = Scenario { keeping: [Durable, Memory], ..PLAIN };
/// The server has a disk, and the client has not.
const SERVER_DISK: Scenario = Scenario { keeping: [Memory, Durable], ..PLAIN };

/// Returns every scenario, small or large.
#[must_use]
pub fn all(long: bool) -> Vec<Scenario> {
    let sized = [
        alive(),
        with_requests(),
        with_cancels(),
        restarted(),
        sender_on_disk(),
        receiver_on_disk(),
        with_outcomes(),
        in_batches(),
        at_bounds(),
    ];
    let pick = |(scenario, [small, large]): Sized| {
        let budget = if long { large } else { small };
        Scenario { budget, ..scenario }
    };
    sized.into_iter().flatten().map(pick).collect()
}

/// A budget of messages from the client and from the server.
const fn sends(client: u8, server: u8) -> Budget {
    Budget { sends: [client, server], ..NOTHING }
}

/// A budget of requests from the client and from the server.
const fn asks(client: u8, server: u8) -> Budget {
    Budget { asks: [client, server], ..NOTHING }
}

/// Scenarios in which both services live.
fn alive() -> Vec<Sized> {
    vec![
        // The network cuts what it likes.
        (
            Scenario { name: "cuts", ..PLAIN },
            [Budget { cuts: 2, ..sends(2, 1) }, Budget { cuts: 3, ..sends(2, 2) }],
        ),
        // The client begins a new session while frames of the old one are still on their way.
        (
            Scenario { name: "old and new session overlap", ..PLAIN },
            [Budget { redials: 2, ..sends(2, 0) }, Budget { redials: 2, ..sends(2, 1) }],
        ),
        // One message fits into the window.
        (
            Scenario { name: "smallest window", window: 1, ..PLAIN },
            [Budget { cuts: 1, ..sends(3, 1) }, Budget { cuts: 2, ..sends(3, 2) }],
        ),
    ]
}

/// Scenarios in which processes without a disk die and are started again.
fn restarted() -> Vec<Sized> {
    let client = |times| Budget { crashes: [times, 0], ..NOTHING };
    let server = |times| Budget { crashes: [0, times], ..NOTHING };
    vec![
        // The sender's outbox is gone, and nothing old may disturb the new instance, not even
        // the READY of the dead process that is still on its way.
        (
            Scenario { name: "sender crashes", ..PLAIN },
            [
                Budget { sends: [3, 0], cuts: 1, ..client(1) },
                Budget { sends: [3, 0], cuts: 1, ..client(2) },
            ],
        ),
        // Dead instances of the client have left messages in the server's inbox: its window is
        // full.
        (
            Scenario { name: "sender crashes, small window", window: 2, ..PLAIN },
            [Budget { sends: [4, 0], ..client(1) }, Budget { sends: [4, 0], ..client(2) }],
        ),
        // Nothing is lost: messages that the receiver was handling come again.
        (
            Scenario { name: "receiver crashes", ..PLAIN },
            [
                Budget { sends: [3, 0], cuts: 1, ..server(1) },
                Budget { sends: [3, 1], cuts: 1, ..server(2) },
            ],
        ),
        // A client that was receiving dies, and its last acknowledgement comes after the server has
        // told its successor where it will go on.
        (
            Scenario { name: "receiving client crashes", ..PLAIN },
            [Budget { sends: [0, 2], ..client(1) }, Budget { sends: [0, 3], ..client(2) }],
        ),
        (
            Scenario { name: "both crash", ..PLAIN },
            [Budget { crashes: [1, 1], ..sends(2, 1) }, Budget { crashes: [2, 1], ..sends(2, 1) }],
        ),
        // Messages that are finished out of order are not acknowledged too early.
        (
            Scenario { name: "unordered handlers", handlers: 2, ..PLAIN },
            [
                Budget { sends: [3, 0], cuts: 1, ..server(1) },
                Budget { sends: [4, 0], cuts: 1, ..server(1) },
            ],
        ),
    ]
}

/// Scenarios in which the client keeps on a disk what it sends. When the process dies, the disk is
/// behind with everything that it may be behind with.
fn sender_on_disk() -> Vec<Sized> {
    let client = |times| Budget { crashes: [times, 0], ..NOTHING };
    vec![
        (
            Scenario { name: "durable sender crashes", ..CLIENT_DISK },
            [Budget { sends: [3, 0], ..client(1) }, Budget { sends: [2, 0], ..client(2) }],
        ),
        // Streams of two instances, which the disk forgets later than the peer acknowledges them.
        (
            Scenario { name: "durable sender, old stream", frames: 1, left_over: 2, ..CLIENT_DISK },
            [Budget { cuts: 1, ..client(1) }, Budget { sends: [1, 0], cuts: 1, ..client(1) }],
        ),
        // Messages reach the server on two connections, and from two instances.
        (
            Scenario { name: "durable sender, overlap", frames: 1, ..CLIENT_DISK },
            [
                Budget { sends: [1, 0], redials: 1, ..client(1) },
                Budget { sends: [2, 0], redials: 1, ..client(1) },
            ],
        ),
        // The disk answers later than it writes, and fails once.
        (
            Scenario { name: "late answers of a failing disk", late_answers: true, ..CLIENT_DISK },
            [
                Budget { failures: [1, 0], cuts: 1, ..sends(3, 0) },
                Budget { sends: [3, 0], failures: [1, 0], ..client(1) },
            ],
        ),
        // Marks of transmission that are as small as can be: what was transmitted says so, whoever of
        // the two has died.
        (
            Scenario { name: "smallest marks, both crash", frames: 1, mark_step: 1, ..CLIENT_DISK },
            [
                Budget { crashes: [1, 1], ..sends(2, 0) },
                Budget { crashes: [1, 1], cuts: 1, ..sends(2, 0) },
            ],
        ),
        // The client is set back to a copy of its disk. Nothing that it accepts afterwards is lost.
        (
            Scenario { name: "set back to an old copy", frames: 1, ..CLIENT_DISK },
            [
                Budget { set_backs: [1, 0], ..sends(3, 0) },
                Budget { set_backs: [1, 0], cuts: 1, ..sends(3, 0) },
            ],
        ),
    ]
}

/// Scenarios in which the server keeps on a disk what it has handled.
fn receiver_on_disk() -> Vec<Sized> {
    let both = Scenario { keeping: [Durable, Durable], frames: 1, ..PLAIN };
    vec![
        (
            Scenario { name: "durable receiver crashes", ..SERVER_DISK },
            [
                Budget { crashes: [0, 2], ..sends(3, 0) },
                Budget { crashes: [0, 2], cuts: 1, ..sends(3, 0) },
            ],
        ),
        (
            Scenario { name: "durable, both crash", ..both },
            [Budget { crashes: [1, 1], ..sends(1, 0) }, Budget { crashes: [1, 1], ..sends(2, 0) }],
        ),
        // A gap comes after a message that was finished out of order.
        (
            Scenario {
                name: "deadlines, unordered durable receiver crashes",
                handlers: 2,
                mortal: Some(2),
                ..SERVER_DISK
            },
            [
                Budget { crashes: [0, 1], ticks: 1, ..sends(3, 0) },
                Budget { crashes: [0, 2], ticks: 1, ..sends(4, 0) },
            ],
        ),
    ]
}

/// Scenarios in which messages expire, or are given up by the handler.
fn with_outcomes() -> Vec<Sized> {
    vec![
        // An expired message leaves a gap and no hole, however often the gap is told.
        (
            Scenario { name: "deadlines", mortal: Some(1), ..PLAIN },
            [
                Budget { cuts: 1, ticks: 1, ..sends(3, 0) },
                Budget { cuts: 2, ticks: 1, ..sends(3, 1) },
            ],
        ),
        (
            Scenario {
                name: "deadlines, durable sender crashes",
                frames: 1,
                mortal: Some(1),
                ..CLIENT_DISK
            },
            [
                Budget { crashes: [1, 0], ticks: 1, ..sends(3, 0) },
                Budget { crashes: [1, 0], cuts: 1, ticks: 1, ..sends(3, 0) },
            ],
        ),
        // A rejection survives the loss of the acknowledgement that tells it.
        (
            Scenario { name: "rejections", ..PLAIN },
            [
                Budget { cuts: 2, rejections: 2, ..sends(3, 0) },
                Budget { cuts: 2, rejections: 2, ..sends(3, 1) },
            ],
        ),
    ]
}

/// Scenarios in which messages that wait travel in one frame.
fn in_batches() -> Vec<Sized> {
    const BATCHES: Scenario = Scenario { together: 6, ..PLAIN };
    vec![
        (
            Scenario { name: "cuts, in batches", ..BATCHES },
            [Budget { cuts: 2, ..sends(3, 1) }, Budget { cuts: 3, ..sends(3, 2) }],
        ),
        // Part of a batch has come on the old connection.
        (
            Scenario { name: "old and new session overlap, in batches", ..BATCHES },
            [Budget { redials: 2, ..sends(3, 0) }, Budget { redials: 2, ..sends(3, 1) }],
        ),
        // A batch is cut where the window ends.
        (
            Scenario { name: "small window, in batches", window: 3, ..BATCHES },
            [Budget { cuts: 1, ..sends(4, 1) }, Budget { cuts: 2, ..sends(5, 1) }],
        ),
        // Part of what was one batch is in the next one.
        (
            Scenario { name: "cuts, in batches of two", together: 2, ..BATCHES },
            [Budget { cuts: 2, ..sends(4, 0) }, Budget { cuts: 2, ..sends(5, 1) }],
        ),
        // A batch begins with messages that are handled, and ends with others.
        (
            Scenario {
                name: "deadlines, unordered durable receiver crashes, in batches",
                keeping: [Memory, Durable],
                handlers: 2,
                mortal: Some(2),
                ..BATCHES
            },
            [
                Budget { crashes: [0, 1], ticks: 1, ..sends(3, 0) },
                Budget { crashes: [0, 2], ticks: 1, ..sends(4, 0) },
            ],
        ),
        // A batch ends where the disk is behind.
        (
            Scenario {
                name: "durable sender crashes, in batches",
                keeping: [Durable, Memory],
                ..BATCHES
            },
            [
                Budget { crashes: [1, 0], ..sends(3, 0) },
                Budget { crashes: [1, 0], cuts: 1, ..sends(3, 0) },
            ],
        ),
        (
            Scenario { name: "rejections, in batches", ..BATCHES },
            [
                Budget { cuts: 2, rejections: 2, ..sends(3, 0) },
                Budget { cuts: 2, rejections: 2, ..sends(3, 1) },
            ],
        ),
    ]
}

/// Scenarios with small bounds of `docs/limits.md`, each of which has to be reached.
fn at_bounds() -> Vec<Sized> {
    let bound = |name, bound| Scenario { name, bound: Some(bound), ..PLAIN };
    vec![
        // What is not accepted is told, and never delivered.
        (
            Scenario { outbox: 1, ..bound("full outbox", Bound::Outbox) },
            [Budget { cuts: 1, ..sends(3, 1) }, Budget { cuts: 2, ..sends(4, 1) }],
        ),
        // An acknowledgement makes room under way.
        (
            Scenario { in_flight: 1, ..bound("one message under way", Bound::Flight) },
            [Budget { cuts: 1, ..sends(3, 1) }, Budget { cuts: 2, ..sends(4, 1) }],
        ),
        // Credit comes back when a message is handled.
        (
            Scenario { window: 2, ..bound("full window", Bound::Window) },
            [Budget { cuts: 1, ..sends(4, 0) }, Budget { cuts: 2, ..sends(4, 1) }],
        ),
        // Completions wait for a session in which the peer shows what it knows.
        (
            Scenario {
                rejections: 1,
                ..bound("more rejections than READY waits for", Bound::Rejections)
            },
            [
                Budget { cuts: 1, rejections: 3, ..sends(3, 0) },
                Budget { cuts: 2, rejections: 3, ..sends(4, 0) },
            ],
        ),
        // What was handled and not acknowledged does not come again when the first process is back.
        (
            Scenario { ended: 1, ..bound("a twin takes the place", Bound::Ended) },
            [
                Budget { twins: 1, cuts: 1, ..sends(2, 0) },
                Budget { twins: 2, cuts: 1, ..sends(3, 0) },
            ],
        ),
    ]
}

/// Scenarios with requests, beside a message where it costs little.
fn with_requests() -> Vec<Sized> {
    vec![
        // One place: the second request waits for the answer of the first.
        (
            Scenario {
                requests: 1,
                bound: Some(Bound::Places),
                ..Scenario { name: "requests, cuts", ..PLAIN }
            },
            [Budget { cuts: 1, ..asks(2, 0) }, Budget { cuts: 2, sends: [1, 0], ..asks(2, 1) }],
        ),
        (
            Scenario { name: "requests, old and new session overlap", ..PLAIN },
            [Budget { redials: 2, ..asks(1, 0) }, Budget { redials: 2, ..asks(1, 1) }],
        ),
        // What one process was asked is asked of no other one.
        (
            Scenario { name: "requests, answering server crashes", ..PLAIN },
            [
                Budget { crashes: [0, 1], ..asks(2, 0) },
                Budget { crashes: [0, 1], cuts: 1, ..asks(2, 1) },
            ],
        ),
        (
            Scenario { name: "requests, asking client crashes", ..PLAIN },
            [
                Budget { crashes: [1, 0], ..asks(2, 0) },
                Budget { crashes: [1, 0], cuts: 1, ..asks(2, 1) },
            ],
        ),
        // A second process comes between two sessions with the first one.
        (
            Scenario { name: "requests, a twin", ended: 1, ..PLAIN },
            [Budget { twins: 1, ..asks(1, 1) }, Budget { twins: 1, cuts: 1, ..asks(1, 1) }],
        ),
    ]
}

/// Scenarios in which requests are cancelled, or fail. They are apart from the others, because a
/// cancel is possible at every moment of a request, and multiplies the states accordingly: one of
/// them crosses whatever it can cross, and a second one comes in the long form only.
fn with_cancels() -> Vec<Sized> {
    vec![
        // One place: it is free when the answer has come, whether or not anybody waits for that.
        (
            Scenario { name: "requests, cancelled or failed", requests: 1, ..PLAIN },
            [
                Budget { cuts: 1, cancels: 1, refusals: 1, ..asks(2, 0) },
                Budget { cuts: 1, cancels: 2, refusals: 1, ..asks(2, 1) },
            ],
        ),
        // Messages, one of which fits into the window, take no notice.
        (
            Scenario { name: "requests, cancelled beside messages", window: 1, ..PLAIN },
            [
                Budget { cuts: 1, cancels: 1, sends: [2, 0], ..asks(1, 0) },
                Budget { cuts: 1, cancels: 1, refusals: 1, sends: [2, 1], ..asks(1, 0) },
            ],
        ),
        // No answer comes any more, and no place is occupied for it.
        (
            Scenario { name: "requests, cancelled, answering server crashes", ..PLAIN },
            [
                Budget { crashes: [0, 1], cancels: 1, ..asks(2, 0) },
                Budget { crashes: [0, 1], cuts: 1, cancels: 1, refusals: 1, ..asks(2, 0) },
            ],
        ),
        // A cancel of the dead process is not one of its successor, whose calls have the same numbers.
        (
            Scenario { name: "requests, cancelled, asking client crashes", ..PLAIN },
            [
                Budget { crashes: [1, 0], cancels: 1, ..asks(2, 0) },
                Budget { crashes: [1, 0], cuts: 1, cancels: 1, refusals: 1, ..asks(2, 0) },
            ],
        ),
    ]
}
