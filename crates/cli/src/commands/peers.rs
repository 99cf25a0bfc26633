//! `paddington peers` and `paddington show`.

use paddington_admin::model::{Keys, Peer, Role, State};
use serde::Serialize;

use crate::access::Access;
use crate::args::PeerName;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Table};
use crate::view;

/// A peer, as far as it is known without the service, and how it is if the service runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) encoding: String,
    pub(crate) link: String,
    pub(crate) range: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) fallback_urls: Vec<String>,
    pub(crate) keys: Keys,
    /// `None` if the service does not run.
    pub(crate) status: Option<Peer>,
}

impl From<Peer> for Entry {
    fn from(peer: Peer) -> Self {
        Self {
            name: peer.name.clone(),
            role: peer.role,
            encoding: peer.encoding.clone(),
            link: peer.link.clone(),
            range: peer.range.clone(),
            url: peer.url.clone(),
            fallback_urls: peer.urls.iter().skip(1).map(|it| it.url.clone()).collect(),
            keys: peer.keys.clone(),
            status: Some(peer),
        }
    }
}

#[derive(Serialize)]
struct Listed {
    running: bool,
    peers: Vec<Entry>,
}

pub(crate) async fn list(output: Output) -> Result<(), Failure> {
    let mut access = Access::open().await?;
    let listed = Listed { peers: access.peers().await?, running: access.is_live() };
    output.print(&listed, |listed| match listed.peers.as_slice() {
        [] => {
            "There are no peers: invite a client with `paddington invite`, or join a server with \
               `paddington join`."
                .to_owned()
        }
        peers => table(peers),
    })
}

fn table(peers: &[Entry]) -> String {
    let mut table = Table::new(&["PEER", "ROLE", "STATE", "WHERE", "KEYS"]);
    for peer in peers {
        let place = peer.range.clone().or_else(|| peer.url.clone()).unwrap_or_default();
        table.add([
            peer.name.clone(),
            view::role(peer.role).to_owned(),
            peer.status.as_ref().map_or("not running".to_owned(), view::state),
            place,
            view::keys(&peer.keys, peer.role),
        ]);
    }
    table.text()
}

pub(crate) async fn show(args: &PeerName, output: Output) -> Result<(), Failure> {
    let peers = Access::open().await?.peers().await?;
    let peer = peers.into_iter().find(|peer| peer.name == args.peer).ok_or_else(|| {
        Failure::new(Exit::Refused, format!("no peer is called {:?}", args.peer))
            .with_remedy("`paddington peers` lists them.")
    })?;
    output.print(&peer, details)
}

fn details(peer: &Entry) -> String {
    let mut table = Table::new(&["PEER", &peer.name]);
    let mut add = |name: &str, value: String| table.add([name.to_owned(), value]);
    add("role", view::role(peer.role).to_owned());
    add("encoding", peer.encoding.clone());
    if let Some(range) = &peer.range {
        add("connects from", range.clone());
    }
    for url in peer.url.iter().chain(&peer.fallback_urls) {
        let urls = peer.status.iter().flat_map(|status| &status.urls);
        let tried = urls.clone().find(|tried| tried.url == *url).filter(|_| urls.count() > 1);
        add("url", tried.map_or_else(|| url.clone(), view::url));
    }
    add("keys", view::keys(&peer.keys, peer.role));
    if let Some(since) = &peer.keys.since {
        add("keys since", since.clone());
    }
    add("link", peer.link.clone());
    match &peer.status {
        None => add("state", "the service does not run".to_owned()),
        Some(status) => live(status, add),
    }
    table.text()
}

/// Adds what only a service that runs knows.
fn live(peer: &Peer, mut add: impl FnMut(&str, String)) {
    add("state", view::state(peer));
    if let Some(since) = &peer.since {
        add("since", since.clone());
    }
    if let Some(address) = &peer.address {
        add("address", address.clone());
    }
    if !peer.software.is_empty() {
        add("software", peer.software.clone());
    }
    if let Some(round_trip) = peer.round_trip_seconds {
        add("round trip", view::seconds(round_trip));
    }
    add("waiting", view::waiting(&peer.outbox));
    if let Some(sent) = &peer.sent {
        let lost = sent.rejected + sent.expired + sent.too_long;
        add(
            "sent",
            format!("{} handled of {} accepted, {lost} given up", sent.handled, sent.accepted),
        );
    }
    let received = &peer.received;
    let (handled, failed, letters) = (received.handled, received.failed, received.dead_letters);
    add("received", format!("{handled} handled, {failed} failed, {letters} dead letters"));
    if peer.halted {
        add("handling", "stopped, because the handler has failed".to_owned());
    }
    if let Some(error) = peer.last_error.as_ref().filter(|_| peer.state == State::Away) {
        add("last error", format!("{} ({})", error.text, error.at));
        if let Some(remedy) = &error.remedy {
            add("what to do", remedy.clone());
        }
    }
}
