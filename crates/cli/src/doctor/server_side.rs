//! A client, from its server's side: where it is to come from, whether it could, and what was refused.

use std::time::{Duration, SystemTime};

use paddington::AddressRange;
use paddington_admin::model::{Peer, Refusal, State, Status};

use super::client_side::{connected, keys};
use super::cluster::elsewhere;
use super::evidence::Evidence;
use super::local::listen_address;
use super::refusals::{best, place, text};
use super::report::{Check, Finding};
use super::request::sentence;
use crate::commands::peers::Entry;
use crate::hosts::is_own_machine;

/// The time for which a refusal counts against a link that is up.
const LATELY: Duration = Duration::from_secs(600);
/// Number of refusals that are listed for a peer that is not known.
const LISTED: usize = 8;

pub(super) fn checks(entry: &Entry, evidence: &Evidence) -> Vec<Check> {
    let mut checks = vec![keys(entry)];
    let range = entry.range.as_ref().and_then(|range| range.parse::<AddressRange>().ok());
    match (&evidence.status, &entry.status) {
        (Some(status), Some(peer)) if peer.state == State::Connected => {
            checks.extend(connected(peer));
            checks.extend(intruders(status, entry, range.as_ref()));
        }
        _ if let Some(check) = elsewhere(&entry.name, evidence) => checks.push(check),
        (Some(status), Some(peer)) => {
            checks.extend(expired(entry, evidence));
            checks.push(listening(status));
            checks.push(arrivals(status, peer, entry, range.as_ref(), evidence));
            checks.extend(range.as_ref().and_then(|range| reachable(entry, evidence, range)));
        }
        _ => {
            checks.extend(expired(entry, evidence));
            checks.extend(range.as_ref().and_then(|range| reachable(entry, evidence, range)));
            let what = "what has arrived is not known, because the service does not run";
            checks.push(Check::unknown("arrivals", what));
        }
    }
    checks
}

/// Whether the only keys of the link are those of an invitation that has expired.
fn expired(entry: &Entry, evidence: &Evidence) -> Option<Check> {
    let end = entry.keys.invitation.as_ref()?.expires.as_ref()?;
    // Times of the same form are ordered as texts.
    (entry.keys.generation.is_none() && *end <= evidence.now).then(|| {
        let what = format!("its invitation was not used until {end}, and has expired");
        Check::failed("invitation", Finding::new("invitation_expired", what, renew(&entry.name)))
    })
}

fn renew(peer: &str) -> String {
    format!(
        "Write a new invitation (paddington renew {peer}), and let {peer}'s operator join with it."
    )
}

fn listening(status: &Status) -> Check {
    match &status.service.listening {
        Some(address) => Check::passed("listening", format!("the service listens on {address}")),
        None => Check::failed(
            "listening",
            Finding::new(
                "not_listening",
                "the service does not listen, although it has clients",
                "See its log for the reason, and start it again.",
            ),
        ),
    }
}

/// Whether clients of this range can get here at all.
fn reachable(entry: &Entry, evidence: &Evidence, range: &AddressRange) -> Option<Check> {
    let config = evidence.config.as_ref()?;
    let name = &entry.name;
    let host = config.url().host();
    if range.is_loopback() {
        return None;
    }
    if is_own_machine(host) {
        let what = format!("{name} is told to connect to {host:?}, which is its own machine");
        let remedy = format!(
            "Write the name by which it reaches this machine into url in service.toml. {}",
            renew(name)
        );
        return Some(Check::failed("url", Finding::new("url_is_loopback", what, remedy)));
    }
    let address = listen_address().filter(|address| address.ip().is_loopback())?;
    let has_proxy = config.settings().transport.proxies != paddington::TrustedProxies::default();
    (!has_proxy).then(|| {
        let what = format!(
            "it listens on {address}, which only this machine reaches, and {name} connects from {range}"
        );
        let remedy = "Write ip = \"0.0.0.0\" (or \"::\") into service.toml, or set the proxy in front of \
                      it in [settings.transport.proxies]; then start it again.";
        Check::failed("url", Finding::new("listens_on_loopback", what, remedy))
    })
}

/// Whether somebody came who may have been the client, and why they were refused.
fn arrivals(
    status: &Status,
    peer: &Peer,
    entry: &Entry,
    range: Option<&AddressRange>,
    evidence: &Evidence,
) -> Check {
    let since = peer.since.as_deref();
    // Somebody who had keys of the link, valid or not, was the client or has stolen them.
    let own = peer.last_error.as_ref().filter(|it| since.is_none_or(|since| *it.at >= *since));
    if let Some(error) = own
        && place(&error.code).is_some()
    {
        let remedy = remedy(&error.code, entry, None, error.remedy.as_deref());
        return Check::failed("arrivals", Finding::new(&error.code, error.text.clone(), remedy));
    }
    if let Some(refusal) = best(&status.refusals, range, since) {
        let expected = range.map(|range| format!("; {} is expected from {range}", peer.name));
        let text = format!("{}{}", text(refusal), expected.unwrap_or_default());
        let remedy = remedy(&refusal.code, entry, Some(refusal), Some(&refusal.remedy));
        return Check::failed("arrivals", Finding::new(&refusal.code, text, remedy));
    }
    let place = range.map(|range| format!(" from {range}")).unwrap_or_default();
    let since = since.unwrap_or(&status.service.started);
    let others = if evidence.is_replica() {
        " Look at the other replicas, too: who was refused is known only where that happened."
    } else {
        ""
    };
    Check::failed(
        "arrivals",
        Finding::new(
            "nothing_arrives",
            format!("nothing has come{place} since {since}, and nobody was refused who may be it"),
            format!(
                "Ask {}'s operator to run there: paddington doctor {}. It has to reach {}.{others}",
                peer.name, status.service.name, status.service.url
            ),
        ),
    )
}

/// Whether somebody else has tried to use the keys of a link that is up.
fn intruders(status: &Status, entry: &Entry, range: Option<&AddressRange>) -> Option<Check> {
    let since = SystemTime::now().checked_sub(LATELY).map(paddington_admin::model::time);
    let refusal = best(&status.refusals, range, since.as_deref())?;
    let code = refusal.code.as_str();
    matches!(code, "burned_keys" | "duplicate_process" | "overload").then(|| {
        let remedy = remedy(code, entry, Some(refusal), Some(&refusal.remedy));
        Check::failed("arrivals", Finding::new(code, text(refusal), remedy))
    })
}

fn remedy(code: &str, entry: &Entry, refusal: Option<&Refusal>, words: Option<&str>) -> String {
    let name = &entry.name;
    match (code, refusal) {
        ("address_not_admitted", Some(Refusal { address, .. })) => format!(
            "If {address} is {name}, admit it: paddington range {name} {address} (or a range that holds \
             all its addresses). If it is a proxy, add it in [settings.transport.proxies]."
        ),
        ("unknown_keys", _) => format!(
            "If it is {name}, it has another invitation than this link's, or this link was made anew: \
             compare the words of `paddington doctor` on both sides. {}",
            renew(name)
        ),
        ("burned_keys", _) => format!(
            "Ask {name}'s operator whether an old copy of its folder was restored. If so: {} If not, \
             somebody else has a copy of the invitation: remove the link (paddington remove {name}) \
             and invite it anew.",
            renew(name)
        ),
        ("invitation_expired", _) => renew(name),
        ("duplicate_process", _) => format!(
            "Two processes use the keys of {name}: stop one of them, or invite the second one under a \
             name of its own."
        ),
        ("encoding_mismatch", _) => format!(
            "The link with {name} is {}. Remove it, and invite it anew for the encoding that it speaks: \
             hex with `paddington invite --hex`.",
            entry.encoding
        ),
        _ => sentence(words.unwrap_or("see the log")),
    }
}

/// Lists the refusals of everybody, for a peer that is not known.
pub(super) fn everything_refused(evidence: &Evidence) -> Vec<Check> {
    let refusals = evidence.status.iter().flat_map(|status| &status.refusals);
    refusals.take(LISTED).map(|refusal| Check::unknown("arrivals", text(refusal))).collect()
}
