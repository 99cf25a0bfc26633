//! The numbers of a service, in the OpenMetrics format; `exposition.rs` writes them for others.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use paddington::store::StoreHealth;
use paddington::{PeerStatus, ReplicaStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::app::App;

/// Number of peers that have values of their own, by name: each is a label of fourteen series.
const PEERS: usize = 10_000;

/// Writes all numbers.
pub(crate) fn write(app: &Arc<App>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Numbers(Arc::clone(app))));
    let mut written = String::new();
    text::encode(&mut written, &registry)?;
    Ok(written)
}

#[derive(Debug)]
struct Numbers(Arc<App>);

/// A counter or a gauge of each peer.
struct OfPeers {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    value: Value,
}

enum Value {
    Counter(fn(&PeerStatus) -> Option<u64>),
    Number(fn(&PeerStatus) -> i64),
    Seconds(fn(&PeerStatus) -> Option<f64>),
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut peers = self.0.service.peers();
        let (known, ready) = (number(peers.len()), self.0.ready(&peers).ready);
        peers.truncate(PEERS);
        for metric in gauges().iter().chain(&counters()) {
            metric.encode(&mut encoder, &peers)?;
        }
        let help = "Peers that this service knows";
        gauge(&mut encoder, "paddington_peers", help, known)?;
        let help = "Whether the service can do its work";
        gauge(&mut encoder, "paddington_ready", help, i64::from(ready))?;
        if let Some(replica) = self.0.service.exchange().replica() {
            of_replica(&mut encoder, &replica)?;
        }
        if let Some(store) = self.0.service.exchange().store() {
            of_store(&mut encoder, &store.health())?;
        }
        let help = "Connections that were refused, by how far they had come";
        let counter = MetricType::Counter;
        let mut refusals = encoder.encode_descriptor("paddington_refusals", help, None, counter)?;
        for (stage, count) in self.0.service.exchange().refusal_counts() {
            let labels = [("stage", stage)];
            refusals.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

/// Whether a replica lives, what it owns, and how often links have come to it and gone.
fn of_replica(encoder: &mut DescriptorEncoder<'_>, replica: &ReplicaStatus) -> fmt::Result {
    let help = "Seconds for which the other replicas certainly count this one as living";
    let lease = i64::try_from(replica.lease.as_secs()).unwrap_or(i64::MAX);
    gauge(encoder, "paddington_lease_seconds", help, lease)?;
    if replica.leases.len() > 1 {
        of_databases(encoder, &replica.leases)?;
    }
    let help = "Links that this replica owns";
    gauge(encoder, "paddington_links_owned", help, number(replica.links))?;
    for (name, help, count) in [
        ("paddington_links_claimed", "Links that this replica has claimed", replica.claimed),
        ("paddington_links_yielded", "Links that it has given up", replica.yielded),
        ("paddington_links_deposed", "Links that it has lost to others", replica.deposed),
    ] {
        counter(encoder, name, help, count)?;
    }
    Ok(())
}

/// In which of several databases a replica lives.
fn of_databases(encoder: &mut DescriptorEncoder<'_>, leases: &[Duration]) -> fmt::Result {
    let help = "Seconds for which this replica certainly lives, in each of several databases";
    let name = "paddington_database_lease_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (number, lease) in (1_u32..).zip(leases) {
        let labels = [("database", number.to_string())];
        let lease = i64::try_from(lease.as_secs()).unwrap_or(i64::MAX);
        family.encode_family(&labels)?.encode_gauge(&lease)?;
    }
    Ok(())
}

/// How fast the store is, and what it has done.
fn of_store(encoder: &mut DescriptorEncoder<'_>, health: &StoreHealth) -> fmt::Result {
    for (name, help, count) in [
        ("paddington_store_commits", "Transactions that were committed", health.commits),
        ("paddington_store_messages", "Messages that they have stored", health.appended),
    ] {
        counter(encoder, name, help, count)?;
    }
    let help = "Duration of the last commits";
    let (name, unit) = ("paddington_store_commit", Some(&Unit::Seconds));
    let mut commit = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (quantile, time) in [("0.5", health.commit_p50), ("0.99", health.commit_p99)] {
        commit.encode_family(&[("quantile", quantile)])?.encode_gauge(&time.as_secs_f64())?;
    }
    let help = "Removed rows that still take up room, for each row that is there";
    gauge(encoder, "paddington_store_bloat", help, health.bloat.try_into().unwrap_or(i64::MAX))
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &str,
    value: i64,
) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &str,
    count: u64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

impl OfPeers {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>, peers: &[PeerStatus]) -> fmt::Result {
        let kind = match self.value {
            Value::Counter(_) => MetricType::Counter,
            Value::Number(_) | Value::Seconds(_) => MetricType::Gauge,
        };
        let unit = self.unit.as_ref();
        let mut metric = encoder.encode_descriptor(self.name, self.help, unit, kind)?;
        for peer in peers {
            let labels = [("peer", peer.name.as_str())];
            match self.value {
                Value::Counter(value) => {
                    let Some(value) = value(peer) else { continue };
                    metric
                        .encode_family(&labels)?
                        .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
                }
                Value::Number(value) => {
                    metric.encode_family(&labels)?.encode_gauge(&value(peer))?;
                }
                Value::Seconds(value) => {
                    let Some(value) = value(peer) else { continue };
                    metric.encode_family(&labels)?.encode_gauge(&value)?;
                }
            }
        }
        Ok(())
    }
}

fn number(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn gauges() -> [OfPeers; 4] {
    let of = |name, help, value| OfPeers { name, help, unit: None, value };
    let seconds = |name, help, value| OfPeers {
        name,
        help,
        unit: Some(Unit::Seconds),
        value: Value::Seconds(value),
    };
    [
        of(
            "paddington_peer_connected",
            "Whether the peer is connected",
            Value::Number(|peer| i64::from(peer.is_connected())),
        ),
        of(
            "paddington_peer_outbox_messages",
            "Messages that wait for the peer",
            Value::Number(|peer| number(peer.outbox_messages)),
        ),
        seconds(
            "paddington_peer_outbox_oldest",
            "Time that the oldest message has waited for the peer",
            |peer| Some(peer.oldest.as_secs_f64()),
        ),
        seconds("paddington_peer_round_trip", "The last round trip that was measured", |peer| {
            peer.round_trip.map(|time| time.as_secs_f64())
        }),
    ]
}

fn counters() -> [OfPeers; 10] {
    let counter =
        |name, help, value| OfPeers { name, help, unit: None, value: Value::Counter(value) };
    [
        counter(
            "paddington_peer_messages_accepted",
            "Messages for the peer that were accepted",
            |peer| peer.counts.map(|counts| counts.accepted),
        ),
        counter("paddington_peer_messages_handled", "Messages that the peer has handled", |peer| {
            peer.counts.map(|counts| counts.acknowledged)
        }),
        counter(
            "paddington_peer_messages_rejected",
            "Messages that the peer has rejected",
            |peer| peer.counts.map(|counts| counts.rejected),
        ),
        counter(
            "paddington_peer_messages_expired",
            "Messages for the peer whose time ran out",
            |peer| peer.counts.map(|counts| counts.expired),
        ),
        counter(
            "paddington_peer_messages_too_long",
            "Messages for the peer that were longer than it accepts",
            |peer| peer.counts.map(|counts| counts.too_long),
        ),
        counter(
            "paddington_peer_received_handled",
            "Messages of the peer that were handled",
            |peer| Some(peer.handled),
        ),
        counter(
            "paddington_peer_received_failed",
            "Messages of the peer that the handler has failed on",
            |peer| Some(peer.failed),
        ),
        counter(
            "paddington_peer_dead_letters",
            "Messages of the peer that became dead letters",
            |peer| Some(peer.counters.dead_letters),
        ),
        counter("paddington_peer_requests", "Requests to the peer", |peer| {
            Some(peer.calls.counts.requested)
        }),
        counter(
            "paddington_peer_sessions",
            "Connections with the peer that were established",
            |peer| Some(peer.counters.sessions),
        ),
    ]
}
