//! The targets.

use paddington_bench::Bound::{AtLeast, AtMost};
use paddington_bench::Figure::{Number, OfFirst, Ratio};
use paddington_bench::{Bar, Bound, Figure};

use super::cluster::SYNCHRONOUS;

const KIB: f64 = 1024.0;

/// All of them.
pub(crate) const BARS: &[Bar] = &[
    envelope(
        "P1",
        "sealed relative to a pass of each of ring's two ciphers, 64 KiB",
        "sealed",
        64.0 * KIB,
        0.95,
        0.98,
    ),
    envelope("P1", "the same, 256 B", "sealed", 256.0, 0.9, 0.95),
    envelope(
        "P2",
        "sealed relative to the original's format, 64 KiB",
        "sealed",
        64.0 * KIB,
        40.0,
        50.0,
    ),
    envelope("P2", "the same, 256 B", "sealed", 256.0, 8.0, 10.0),
    envelope(
        "P2",
        "P3: hex relative to the original's format, 64 KiB",
        "hex",
        64.0 * KIB,
        20.0,
        27.0,
    ),
    envelope("P2", "P3: the same, 256 B", "hex", 256.0, 6.0, 8.0),
    ours("P4", "round trips of 16 B relative to a bare WebSocket", 16.0, Ratio, AtLeast(0.6, 0.8)),
    ours("P4c", "the same, on one core", 16.0, Ratio, AtLeast(0.6, 0.8)),
    request("P15", "round trips of `request`, 16 B, relative to those of messages", 16.0),
    request("P15", "4 KiB", 4.0 * KIB),
    request("P15m", "the same with 64 in flight, 16 B", 16.0),
    request("P15m", "4 KiB", 4.0 * KIB),
    ours(
        "P5",
        "stream of 16 B relative to a WebSocket with ring twice",
        16.0,
        Ratio,
        AtLeast(0.5, 0.7),
    ),
    ours("P5", "256 B", 256.0, Ratio, AtLeast(0.5, 0.7)),
    ours("P5", "4 KiB", 4.0 * KIB, Ratio, AtLeast(0.5, 0.7)),
    ours("P5", "64 KiB", 64.0 * KIB, Ratio, AtLeast(0.5, 0.7)),
    ours("P5", "256 B, messages per second", 256.0, Number("per s"), AtLeast(250_000.0, 500_000.0)),
    other("ZeroMQ CURVE relative to paddington, 4 KiB", "ZeroMQ CURVE", 4.0 * KIB, 1.0, 1.0),
    other("ZeroMQ CURVE relative to paddington, 64 KiB", "ZeroMQ CURVE", 64.0 * KIB, 1.0, 1.0),
    other("NATS with TLS relative to paddington, 4 KiB", "NATS with TLS", 4.0 * KIB, 1.0, 1.0),
    other("NATS with TLS relative to paddington, 64 KiB", "NATS with TLS", 64.0 * KIB, 1.0, 1.0),
    other(
        "the original's format relative to paddington, 256 B",
        "naive wire format",
        256.0,
        0.05,
        0.05,
    ),
    ours(
        "P7",
        "KiB per idle connection, with 1 000",
        1_000.0,
        Number("KiB each"),
        AtMost(64.0, 32.0),
    ),
    ours(
        "P7",
        "wake-ups per idle connection in 10 s",
        1_000.0,
        Number("wake-ups in 10 s each"),
        AtMost(1.0, 1.0),
    ),
    ours(
        "P8p",
        "rate with 1 000 peers relative to 1",
        1_000.0,
        OfFirst("per s"),
        AtLeast(0.8, 0.9),
    ),
    ours("P8p", "p99 with 1 000 peers relative to 1", 1_000.0, Ratio, AtMost(3.0, 3.0)),
    ours("P9", "64 senders relative to the store alone", 64.0, Ratio, AtLeast(0.8, 0.95)),
    ours(
        "P10",
        "ms from the start of both to the first message",
        1.0,
        Number("ms"),
        AtMost(50.0, 20.0),
    ),
    ours("P13", "64 senders relative to SQLite", 64.0, Ratio, AtLeast(0.8, 1.0)),
    ours("P13", "one sender relative to SQLite", 1.0, Ratio, AtLeast(0.35, 0.5)),
    ours(
        "P13",
        "64 senders relative to PostgreSQL's group commit of a row each",
        64.0,
        Number("/ a row per transaction"),
        AtLeast(0.7, 0.9),
    ),
    ours(
        "P13",
        "64 senders relative to batches without anything else",
        64.0,
        Number("/ in batches"),
        AtLeast(0.7, 0.9),
    ),
    standby("64 senders with a synchronous standby relative to SQLite", 64.0, AtLeast(0.6, 0.8)),
    standby("one sender with a synchronous standby relative to SQLite", 1.0, AtLeast(0.2, 0.35)),
    Bar {
        experiment: "P13f",
        what: "p50 from `send` to the handler at another replica, relative to that of `send`",
        contender: "to a peer at another replica",
        at: 1.0,
        figure: Number("p50 / accepted"),
        bound: AtMost(3.0, 2.0),
    },
    killed(40.0),
    killed(120.0),
    ours(
        "P13m",
        "s to start with 100 000 clients",
        100_000.0,
        Number("s to start"),
        AtMost(1.0, 0.5),
    ),
    ours("P13m", "KiB for each of them", 100_000.0, Number("KiB each"), AtMost(1.0, 0.5)),
    Bar {
        experiment: "storm",
        what: "s until 10 000 clients in one network are back",
        contender: "all expected in one network",
        at: 10_000.0,
        figure: Number("s"),
        bound: AtMost(5.0, 5.0),
    },
    ours("P14", "s to start with 100 000 links", 100_000.0, Number("s to start"), AtMost(2.0, 1.0)),
    ours("P14", "KiB for each of 100 000 links", 100_000.0, Number("KiB each"), AtMost(2.0, 2.0)),
    ours(
        "P16",
        "p99 while peers are added and removed relative to before, 1 000 peers",
        1_000.0,
        Number("p99, during / before"),
        AtMost(2.0, 1.5),
    ),
    ours("P16", "ms to add a peer", 1_000.0, Number("ms to add"), AtMost(5.0, 1.0)),
    ours("P17", "the local API relative to the service alone", 100.0, Ratio, AtLeast(0.5, 0.7)),
    ours("P18", "ms a scrape, 1 000 peers", 1_000.0, Number("ms a scrape"), AtMost(20.0, 10.0)),
    ours(
        "P18",
        "% of a core for an open page, 200 peers",
        200.0,
        Number("% of a core for a page"),
        AtMost(1.0, 0.5),
    ),
];

const fn envelope(
    experiment: &'static str,
    what: &'static str,
    contender: &'static str,
    at: f64,
    bar: f64,
    aim: f64,
) -> Bar {
    Bar { experiment, what, contender, at, figure: Ratio, bound: AtLeast(bar, aim) }
}

const fn ours(
    experiment: &'static str,
    what: &'static str,
    at: f64,
    figure: Figure,
    bound: Bound,
) -> Bar {
    Bar { experiment, what, contender: "paddington", at, figure, bound }
}

/// The longest first delay of a client is 500 ms.
const fn killed(kills: f64) -> Bar {
    let what = "ms from a kill until the next message is handled, p99";
    ours("P13k", what, kills, Number("p99 ms"), AtMost(750.0, 600.0))
}

const fn standby(what: &'static str, at: f64, bound: Bound) -> Bar {
    Bar { experiment: "P13", what, contender: SYNCHRONOUS, at, figure: Ratio, bound }
}

const fn request(experiment: &'static str, what: &'static str, at: f64) -> Bar {
    let (contender, bound) = ("paddington, `request`", AtLeast(0.9, 1.0));
    Bar { experiment, what, contender, at, figure: Ratio, bound }
}

/// A figure of another system, relative to paddington's, which should be lower.
const fn other(what: &'static str, contender: &'static str, at: f64, bar: f64, aim: f64) -> Bar {
    Bar { experiment: "P6", what, contender, at, figure: Ratio, bound: AtMost(bar, aim) }
}
