//! The targets.

use paddington_bench::Bound::{AtLeast, AtMost};
use paddington_bench::Figure::{Beside, More, Number, Ratio};
use paddington_bench::{Bar, Bound, Contender, Envelope, Figure};

use super::cluster::SYNCHRONOUS;
use super::crowd::{ONE_ADDRESS, ONE_NETWORK, OWN_ADDRESSES};

const KIB: f64 = 1024.0;

const OURS: &str = Contender::Sealed.name();
const TWICE: &str = Contender::Twice.name();
const ZEROMQ: &str = Contender::ZeroMq.name();
const NATS: &str = Contender::Nats.name();
const NATS_TLS: &str = Contender::NatsTls.name();
const COMMONWARE: &str = Contender::Commonware.name();
const ORIGINAL: &str = Contender::Naive.name();
const NATS_CALLS: &str = Contender::NatsRequests.name();
const GRPC: &str = Contender::Grpc.name();
const SEALED: &str = Envelope::Sealed.name();
const HEX: &str = Envelope::Hex.name();

/// All of them.
pub(crate) const BARS: &[Bar] = &[
    envelope(
        "P1",
        "sealed relative to a pass of each of ring's ciphers, 64 KiB",
        SEALED,
        64.0,
        0.95,
        0.98,
    ),
    envelope("P1", "sealed, 256 B", SEALED, 0.25, 0.9, 0.95),
    envelope("P2", "sealed relative to the original's format, 64 KiB", SEALED, 64.0, 40.0, 45.0),
    envelope("P2", "sealed, 256 B", SEALED, 0.25, 20.0, 25.0),
    envelope("P2", "P3: `hex` relative to the original's format, 64 KiB", HEX, 64.0, 15.5, 15.5),
    envelope("P2", "P3: `hex`, 256 B", HEX, 0.25, 6.1, 6.1),
    ours("P4", "round trips of 16 B relative to a bare WebSocket", 16.0, Ratio, AtLeast(0.9, 0.95)),
    ours("P4c", "the same, on one core", 16.0, Ratio, AtLeast(0.8, 0.85)),
    stream("a stream of 16 B relative to a WebSocket with ring's ciphers", 16.0),
    stream("a stream of 256 B", 256.0),
    stream("a stream of 4 KiB", 4.0 * KIB),
    stream("a stream of 64 KiB", 64.0 * KIB),
    ours("P5", "256 B, messages per second", 256.0, Number("per s"), AtLeast(1.8e6, 2e6)),
    other("P6", "stream of ZeroMQ CURVE relative to ours, 256 B", ZEROMQ, 256.0, 1.0),
    other("P6", "stream of ZeroMQ CURVE relative to ours, 4 KiB", ZEROMQ, 4.0 * KIB, 1.0),
    other("P6", "stream of ZeroMQ CURVE relative to ours, 64 KiB", ZEROMQ, 64.0 * KIB, 1.0),
    other("P6p", "round trips of ZeroMQ CURVE, 256 B", ZEROMQ, 256.0, 1.0),
    other("P6p", "round trips of ZeroMQ CURVE, 64 KiB", ZEROMQ, 64.0 * KIB, 1.0),
    other("P6", "stream of NATS with TLS relative to ours, 256 B", NATS_TLS, 256.0, 1.0),
    other("P6", "stream of NATS with TLS relative to ours, 4 KiB", NATS_TLS, 4.0 * KIB, 1.0),
    other("P6", "stream of NATS with TLS relative to ours, 64 KiB", NATS_TLS, 64.0 * KIB, 1.0),
    other("P6p", "round trips of NATS with TLS, 256 B", NATS_TLS, 256.0, 1.0),
    other("P6p", "round trips of NATS with TLS, 64 KiB", NATS_TLS, 64.0 * KIB, 1.0),
    other("P6", "stream of NATS without TLS relative to ours, 256 B", NATS, 256.0, 1.0),
    other("P6", "stream of NATS without TLS relative to ours, 4 KiB", NATS, 4.0 * KIB, 1.0),
    other("P6", "stream of NATS without TLS relative to ours, 64 KiB", NATS, 64.0 * KIB, 1.0),
    other("P6p", "round trips of NATS without TLS, 256 B", NATS, 256.0, 1.0),
    other("P6p", "round trips of NATS without TLS, 64 KiB", NATS, 64.0 * KIB, 1.0),
    other("P6", "stream of commonware-p2p relative to ours, 4 KiB", COMMONWARE, 4.0 * KIB, 1.0),
    other("P6", "stream of the original's format relative to ours, 256 B", ORIGINAL, 256.0, 0.05),
    idle("KiB of an idle connection, of 1 000", "KiB each", 24.0, 16.0),
    idle("its wake-ups in 10 s", "wake-ups in 10 s each", 0.5, 0.5),
    ours(
        "P8",
        "processor time of a round trip among 1 000 peers, all busy, relative to ring's ciphers alone",
        1_000.0,
        Beside("CPU µs each", TWICE),
        AtMost(1.3, 1.15),
    ),
    ours(
        "P8p",
        "the same, 5 000 a second in all",
        1_000.0,
        Beside("CPU µs each", TWICE),
        AtMost(1.3, 1.15),
    ),
    ours("P8p", "their p99 relative to that with 1 peer", 1_000.0, Ratio, AtMost(2.5, 2.0)),
    ours("P9", "64 senders relative to the store alone", 64.0, Ratio, AtLeast(0.95, 0.98)),
    ours("P10", "ms from the start of both to a message", 1.0, Number("ms"), AtMost(5.0, 3.0)),
    request("P11", "`request` relative to messages, 16 B", 16.0),
    request("P11", "`request` relative to messages, 4 KiB", 4.0 * KIB),
    request("P11m", "the same with 64 in flight, 16 B", 16.0),
    request("P11m", "the same with 64 in flight, 4 KiB", 4.0 * KIB),
    other("P19", "calls of NATS with TLS relative to `request`, 16 B", NATS_CALLS, 16.0, 1.0),
    other("P19", "calls of NATS with TLS relative to `request`, 4 KiB", NATS_CALLS, 4.0 * KIB, 1.0),
    other("P19m", "the same with 64 in flight, NATS with TLS, 16 B", NATS_CALLS, 16.0, 1.0),
    other("P19m", "the same with 64 in flight, NATS with TLS, 4 KiB", NATS_CALLS, 4.0 * KIB, 1.0),
    other("P19", "calls of gRPC with TLS relative to `request`, 16 B", GRPC, 16.0, 1.0),
    other("P19", "calls of gRPC with TLS relative to `request`, 4 KiB", GRPC, 4.0 * KIB, 1.0),
    other("P19m", "the same with 64 in flight, gRPC with TLS, 16 B", GRPC, 16.0, 1.0),
    other("P19m", "the same with 64 in flight, gRPC with TLS, 4 KiB", GRPC, 4.0 * KIB, 1.0),
    ours("P12", "the local API relative to the service alone", 100.0, Ratio, AtLeast(0.5, 0.7)),
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
    ours(
        "P13c",
        "links claimed in a second after their owner has died",
        2_000.0,
        Number("per s"),
        AtLeast(2_500.0, 5_000.0),
    ),
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
    storm("s until 10 000 clients are back, each expected at its own address", OWN_ADDRESSES),
    storm("the same, all expected in one network", ONE_NETWORK),
    storm("the same, all behind one address", ONE_ADDRESS),
    Bar {
        experiment: "P14",
        what: "µs to refuse a stranger with 100 000 links, more than with one",
        contender: OURS,
        at: 100_000.0,
        figure: More("µs to refuse"),
        bound: AtMost(20.0, 10.0),
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
    kib: f64,
    bar: f64,
    aim: f64,
) -> Bar {
    Bar { experiment, what, contender, at: kib * KIB, figure: Ratio, bound: AtLeast(bar, aim) }
}

const fn stream(what: &'static str, at: f64) -> Bar {
    ours("P5", what, at, Ratio, AtLeast(1.0, 1.0))
}

const fn idle(what: &'static str, number: &'static str, bar: f64, aim: f64) -> Bar {
    ours("P7", what, 1_000.0, Number(number), AtMost(bar, aim))
}

const fn storm(what: &'static str, contender: &'static str) -> Bar {
    let (figure, bound) = (Number("s"), AtMost(5.0, 3.0));
    Bar { experiment: "storm", what, contender, at: 10_000.0, figure, bound }
}

const fn ours(
    experiment: &'static str,
    what: &'static str,
    at: f64,
    figure: Figure,
    bound: Bound,
) -> Bar {
    Bar { experiment, what, contender: OURS, at, figure, bound }
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
    let (contender, bound) = (Contender::Requests.name(), AtLeast(0.9, 0.95));
    Bar { experiment, what, contender, at, figure: Ratio, bound }
}

/// The rate of another system, relative to paddington's, which should be lower.
const fn other(
    experiment: &'static str,
    what: &'static str,
    contender: &'static str,
    at: f64,
    bar: f64,
) -> Bar {
    Bar { experiment, what, contender, at, figure: Ratio, bound: AtMost(bar, bar) }
}
