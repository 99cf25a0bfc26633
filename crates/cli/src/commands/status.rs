//! `paddington status`: how the service and its peers are, once.

use paddington_admin::model::{Peer, Replica, State, Status};

use crate::access::client;
use crate::args;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Table};
use crate::{view, watch};

/// How many of the last refusals are shown.
const REFUSALS: usize = 5;

pub(crate) async fn run(args: &args::Status, output: Output) -> Result<(), Failure> {
    let mut client = client().await?;
    if args.watch {
        return watch::run(client, output).await;
    }
    let status: Status = client.get("/v1/status").await?;
    output.print(&status, text)?;
    if status.ready.ready {
        Ok(())
    } else {
        Err(Failure::new(Exit::No, "the service is not ready"))
    }
}

pub(crate) fn text(status: &Status) -> String {
    let service = &status.service;
    let listening = match &service.listening {
        Some(address) => format!("listening on {address}"),
        None => "not listening".to_owned(),
    };
    let up = view::seconds(service.uptime_seconds);
    let mut lines =
        vec![format!("{} ({}), up for {up}, {listening}", service.name, service.software)];
    lines.extend(service.replica.as_ref().map(replica));
    lines.extend(service.replica.iter().flat_map(lapsed));
    lines.extend(service.store.as_ref().filter(|it| it.commits > 0).map(|store| {
        let [median, worst] =
            [store.commit_p50_seconds, store.commit_p99_seconds].map(view::seconds);
        format!(
            "the store: a commit takes {median} (p99 {worst}); {} so far",
            view::messages(store.messages)
        )
    }));
    lines.extend(status.ready.reasons.iter().map(|reason| format!("not ready: {reason}")));
    lines.push(String::new());
    lines.push(table(&status.peers));
    for peer in status.peers.iter().filter(|peer| peer.urls.len() > 1) {
        lines.push(format!("\nThe URLs of {}:", peer.name));
        lines.extend(peer.urls.iter().map(|url| format!("  {}", view::url(url))));
    }
    if status.orphans.is_none() {
        let unknown =
            "\nWhat is stored for links that are gone is unknown: the store has not answered.";
        lines.push(unknown.to_owned());
    }
    lines.extend(status.orphans.iter().flatten().map(|it| {
        format!(
            "\n{} stored for {}, whose link is gone: paddington purge {}",
            view::messages(it.messages),
            it.peer,
            it.link
        )
    }));
    if !status.refusals.is_empty() {
        lines.push("\nRefused lately:".to_owned());
    }
    for it in status.refusals.iter().take(REFUSALS) {
        let (cause, remedy) = (&it.cause, &it.remedy);
        lines.push(format!(
            "  {}  {} x{}  {cause}: {remedy}",
            view::moment(&it.last),
            it.address,
            it.count
        ));
    }
    lines.join("\n")
}

/// Says which replica this is.
fn replica(replica: &Replica) -> String {
    let lease = match replica.lease_seconds {
        0.0 => "its lease has lapsed".to_owned(),
        left => format!("its lease is good for {}", view::seconds(left)),
    };
    let links = match replica.links {
        1 => "1 link".to_owned(),
        count => format!("{count} links"),
    };
    format!("replica {}, which owns {links}; {lease}", replica.number)
}

/// Says in which of several databases the lease of a replica has lapsed.
fn lapsed(replica: &Replica) -> impl Iterator<Item = String> {
    let leases = replica.database_lease_seconds.iter();
    (1..).zip(leases).filter(|(_, lease)| **lease == 0.0).map(|(number, _)| {
        format!(
            "database {number}: the lease has lapsed, and messages of peers whose links live there are not handled \
             here"
        )
    })
}

pub(crate) fn table(peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "There are no peers: invite a client, or join a server.".to_owned();
    }
    let mut table =
        Table::new(&["PEER", "STATE", "ADDRESS", "ROUND TRIP", "WAITING", "KEYS", "LAST ERROR"]);
    for peer in peers {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let error = peer.last_error.as_ref().filter(|_| peer.state == State::Away);
        table.add([
            peer.name.clone(),
            view::state(peer),
            or_dash(peer.address.clone()),
            or_dash(peer.round_trip_seconds.map(view::seconds)),
            match peer.owned {
                Some(false) if peer.outbox.messages == 0 => "not known here".to_owned(),
                _ => view::waiting(&peer.outbox),
            },
            view::keys(&peer.keys, peer.role),
            error.map(|error| error.text.clone()).unwrap_or_default(),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::{Value, json};

    use super::*;

    /// A peer that is away, of which a replica also tells this.
    fn peer(name: &str, more: &Value) -> Peer {
        let mut peer = json!({
            "name": name, "role": "client", "dialled": false, "state": "away", "encoding": "sealed",
            "software": "", "sessions": 0, "link": "", "halted": false, "required": false,
            "outbox": {
                "messages": 0, "bytes": 0, "oldest_seconds": 0.0, "in_flight": 0, "stored": true
            },
            "inbox": {"messages": 0, "bytes": 0},
            "received": {"handled": 0, "failed": 0, "dead_letters": 0},
            "requests": {
                "requested": 0, "answered": 0, "failed": 0, "expired": 0, "cancelled": 0,
                "waiting": 0, "unanswered": 0
            },
            "keys": {"generation": 1},
        });
        let more = more.as_object().unwrap().clone();
        peer.as_object_mut().unwrap().extend(more);
        serde_json::from_value(peer).unwrap()
    }

    #[test]
    fn a_database_in_which_the_lease_has_lapsed_is_named() {
        let replica = |leases: &Value| -> Replica {
            let replica = json!({
                "number": 1, "lease_seconds": 9.0, "database_lease_seconds": leases, "links": 0
            });
            serde_json::from_value(replica).unwrap()
        };
        assert_eq!(lapsed(&replica(&json!([]))).count(), 0);
        let replica = replica(&json!([9.0, 0.0, 3.0]));
        let lines: Vec<_> = lapsed(&replica).collect();
        assert!(lines.len() == 1 && lines[0].starts_with("database 2: "), "{lines:?}");
    }

    #[test]
    fn orphans_that_the_store_has_not_told_are_unknown() {
        let shown = |orphans: Value| {
            let status = json!({
                "service": {
                    "name": "hub", "software": "", "started": "", "uptime_seconds": 0.0, "url": "",
                    "handler": "api", "changes": false
                },
                "ready": {"ready": true, "reasons": []},
                "peers": [], "refusals": [], "orphans": orphans, "events": []
            });
            text(&serde_json::from_value(status).unwrap())
        };
        let unknown =
            "What is stored for links that are gone is unknown: the store has not answered.";
        assert!(shown(Value::Null).ends_with(unknown), "{}", shown(Value::Null));
        assert!(!shown(json!([])).contains("gone"), "there are none");
        let one =
            json!({"peer": "shop", "link": "4f", "messages": 2, "bytes": 9, "dead_letters": 0});
        let shown = shown(json!([one]));
        let stored = "stored for shop, whose link is gone: paddington purge 4f";
        assert!(shown.ends_with(stored), "{shown}");
    }

    #[test]
    fn the_owner_of_a_link_that_another_replica_owns_is_named() {
        let peers = [
            peer("attic", &json!({})),
            peer("cellar", &json!({"owned": true})),
            peer("garage", &json!({"owned": false, "owner": {"replica": 5}})),
            peer("garden", &json!({"owned": false, "owner": {"replica": null}})),
            peer("gate", &json!({"owned": false})),
        ];
        let expected = [
            "PEER    STATE               ADDRESS  ROUND TRIP  WAITING         KEYS          LAST ERROR",
            "attic   away                -        -           nothing         generation 1",
            "cellar  away                -        -           nothing         generation 1",
            "garage  replica 5 owns it   -        -           not known here  generation 1",
            "garden  no replica owns it  -        -           not known here  generation 1",
            "gate    not here            -        -           not known here  generation 1",
        ];
        assert_eq!(strip_str(&table(&peers)).to_string(), expected.join("\n"));
        let told = serde_json::to_value(&peers).unwrap();
        let owners: Vec<_> = told.as_array().unwrap().iter().map(|it| it.get("owner")).collect();
        let (five, nobody) = (json!({"replica": 5}), json!({"replica": null}));
        assert_eq!(owners, [None, None, Some(&five), Some(&nobody), None]);
    }
}
