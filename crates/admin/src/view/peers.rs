//! Peers and their links.

use std::collections::HashMap;

use paddington::{CallsStatus, Counts, Endpoint, LinkDetails, PeerStatus};

use super::count;
use crate::app::App;
use crate::model::{
    Inbox, LastError, OutboxStatus, Owner, Peer, PeerUrl, Received, Requests, Sent, State, time,
};
use crate::owners::Owners;

/// Returns all peers, by name, of which these are the statuses, and these own the links that this replica does not
/// own.
pub(crate) fn peers(app: &App, statuses: Vec<PeerStatus>, owners: &Owners) -> Vec<Peer> {
    let links = app.service.links();
    let links: HashMap<&str, &LinkDetails> =
        links.iter().map(|link| (link.name.as_str(), link)).collect();
    // A peer that has just been added or removed may be in one of the two only.
    let with_link = |status: PeerStatus| {
        let link = *links.get(status.name.as_str())?;
        Some(shown(app, status, link, owners))
    };
    statuses.into_iter().filter_map(with_link).collect()
}

/// Returns one peer.
pub(crate) async fn peer(app: &App, name: &str) -> Option<Peer> {
    let owners = app.service.exchange().owners(Some(name)).await.unwrap_or_default();
    let status = app.service.peers().into_iter().find(|status| status.name.as_str() == name)?;
    let link = app.service.links().into_iter().find(|link| link.name == name)?;
    Some(shown(app, status, &link, &owners))
}

fn shown(app: &App, status: PeerStatus, link: &LinkDetails, owners: &Owners) -> Peer {
    let state = if status.is_connected() { State::Connected } else { State::Away };
    let counters = status.counters;
    Peer {
        role: link.role.into(),
        dialled: status.dialled,
        state,
        owned: status.owned,
        owner: owner(&status, owners),
        since: status.since.map(time),
        encoding: status.encoding.to_string(),
        software: status.software.to_string(),
        address: status.address.map(|address| address.to_string()),
        round_trip_seconds: status.round_trip.map(|time| time.as_secs_f64()),
        outbox: OutboxStatus {
            messages: count(status.outbox_messages),
            bytes: status.outbox_bytes,
            oldest_seconds: status.oldest.as_secs_f64(),
            in_flight: status.in_flight,
            stored: status.stored,
        },
        inbox: Inbox { messages: count(status.inbox_messages), bytes: status.inbox_bytes },
        sent: status.counts.map(sent),
        received: Received {
            handled: status.handled,
            failed: status.failed,
            dead_letters: counters.dead_letters,
        },
        requests: requests(status.calls),
        sessions: counters.sessions,
        keys: link.into(),
        link: link.link.to_string(),
        range: link.range.map(|range| range.to_string()),
        url: link.url.as_ref().map(ToString::to_string),
        urls: urls(&status, link),
        halted: status.halted,
        required: app.required.iter().any(|name| name == status.name.as_str()),
        last_error: status.last_error.map(last_error),
        name: status.name.into(),
    }
}

/// Returns the owner of a link that this replica does not own, if it is known.
fn owner(status: &PeerStatus, owners: &Owners) -> Option<Owner> {
    let replica = *owners.get(&status.name).filter(|_| status.owned == Some(false))?;
    Some(Owner { replica })
}

/// Returns all URLs of a server, whether or not they were tried.
fn urls(status: &PeerStatus, link: &LinkDetails) -> Vec<PeerUrl> {
    let shown = |url: &Endpoint| {
        let tried = status.urls.iter().find(|tried| tried.url == *url);
        PeerUrl {
            url: url.to_string(),
            in_use: status.is_connected() && tried.is_some_and(|tried| tried.is_good),
            last_error: tried.and_then(|tried| tried.last_error.clone()).map(last_error),
        }
    };
    link.url.iter().chain(&link.fallback_urls).map(shown).collect()
}

fn last_error(error: paddington::LastError) -> LastError {
    LastError {
        at: time(error.at),
        code: error.code.to_owned(),
        text: error.cause,
        remedy: error.remedy.map(str::to_owned),
    }
}

fn sent(counts: Counts) -> Sent {
    Sent {
        accepted: counts.accepted,
        handled: counts.acknowledged,
        rejected: counts.rejected,
        expired: counts.expired,
        too_long: counts.too_long,
    }
}

fn requests(calls: CallsStatus) -> Requests {
    Requests {
        requested: calls.counts.requested,
        answered: calls.counts.answered,
        failed: calls.counts.failed,
        expired: calls.counts.expired,
        cancelled: calls.counts.cancelled,
        waiting: count(calls.waiting),
        unanswered: count(calls.unanswered),
        relayed: calls.relayed.requested,
    }
}
