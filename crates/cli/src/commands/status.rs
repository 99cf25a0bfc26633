//! `paddington status`: how the service and its peers are, once.

use paddington_admin::model::{Peer, State, Status};

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
    lines.extend(service.replica.as_ref().map(|replica| {
        let lease = match replica.lease_seconds {
            0.0 => "its lease has lapsed".to_owned(),
            left => format!("its lease is good for {}", view::seconds(left)),
        };
        let links = match replica.links {
            1 => "1 link".to_owned(),
            count => format!("{count} links"),
        };
        format!("replica {}, which owns {links}; {lease}", replica.number)
    }));
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
    let orphans = status.orphans.iter();
    lines.extend(orphans.map(|it| {
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
            view::waiting(&peer.outbox),
            view::keys(&peer.keys, peer.role),
            error.map(|error| error.text.clone()).unwrap_or_default(),
        ]);
    }
    table.text()
}
