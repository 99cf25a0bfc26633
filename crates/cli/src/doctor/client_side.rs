//! A server, from its client's side: whether it can be reached, and what it said in the handshake.

use std::time::Duration;

use paddington::{Endpoint, Reach, ServiceConfig, with_causes};
use paddington_admin::model::{LastError, Peer, State};

use super::authority::trusted;
use super::cluster::elsewhere;
use super::evidence::{Evidence, words_of};
use super::report::{Check, Finding};
use super::request::{self, Target, ask_there, own_address, sentence};
use crate::commands::peers::Entry;
use crate::view;

/// The time for each step of an attempt to reach a server.
const STEP: Duration = Duration::from_secs(5);

pub(super) async fn checks(entry: &Entry, evidence: &Evidence) -> Vec<Check> {
    let mut checks = vec![keys(entry)];
    if let Some(peer) = entry.status.as_ref().filter(|peer| peer.state == State::Connected) {
        checks.extend(connected(peer));
        return checks;
    }
    if let Some(check) = elsewhere(&entry.name, evidence) {
        checks.push(check);
        return checks;
    }
    let Some(config) = evidence.config.as_ref().filter(|_| entry.url.is_some()) else {
        return checks;
    };
    match reach(config, &entry.name).await {
        Err(finding) => checks.push(Check::failed("certificate", finding)),
        Ok(reached) => checks.extend(of_urls(entry, evidence, &reached)),
    }
    checks
}

/// Checks of an attempt by each URL. The handshake is the same by all that can be reached.
fn of_urls(entry: &Entry, evidence: &Evidence, reached: &[(Endpoint, Reach)]) -> Vec<Check> {
    let link = evidence.link(&entry.name);
    let authorities = link.as_ref().and_then(|link| link.authorities.as_deref());
    let own_name = evidence.own_name();
    let (mut checks, mut last) = (Vec::new(), None);
    for (url, reach) in reached {
        let target = Target {
            peer: &entry.name,
            own_name: &own_name,
            url,
            trusted: trusted(authorities),
            is_hex: entry.encoding == "hex",
        };
        if reached.len() > 1 {
            checks.push(Check::passed("url", format!("the next checks are by {url}")));
        }
        checks.extend(request::checks(reach, &target));
        last = reach.outcome.is_ok().then(|| handshake(entry, reach, &target)).or(last);
    }
    checks.extend(last);
    checks
}

/// Says which keys there are, and the words by which both sides can tell that they mean the same link.
pub(super) fn keys(entry: &Entry) -> Check {
    let held = view::keys(&entry.keys, entry.role);
    let held = if held.is_empty() { "as they were handed over".to_owned() } else { held };
    Check::passed(
        "keys",
        format!("{held}; both sides should see the same words: {}", words_of(entry)),
    )
}

/// Checks of a link that is up.
pub(super) fn connected(peer: &Peer) -> Vec<Check> {
    let place = peer.address.as_deref().map(|it| format!(" with {it}")).unwrap_or_default();
    let since = peer.since.as_deref().map(|it| format!(" since {it}")).unwrap_or_default();
    let mut checks = vec![Check::passed("link", format!("it is connected{place}{since}"))];
    if peer.urls.len() > 1 {
        let urls: Vec<_> = peer.urls.iter().map(view::url).collect();
        checks.push(Check::passed("urls", urls.join("; ")));
    }
    if peer.halted {
        let what = "its messages are not handled any more, because the handler has failed";
        let remedy = "Mend the handler (its errors are in the log), and start the service again.";
        checks.push(Check::failed("handler", Finding::new("handler_stopped", what, remedy)));
    }
    let too_long = peer.sent.as_ref().map_or(0, |sent| sent.too_long);
    if too_long > 0 {
        let what =
            format!("{too_long} messages were given up: they are longer than {} takes", peer.name);
        let remedy = "Raise max_payload in [settings.transport.limits] of its service.toml, or send \
                      shorter ones.";
        checks.push(Check::failed("messages", Finding::new("messages_too_long", what, remedy)));
    }
    checks
}

async fn reach(config: &ServiceConfig, peer: &str) -> Result<Vec<(Endpoint, Reach)>, Finding> {
    config.reach_each(peer, STEP).await.map_err(|error| {
        Finding::new(
            "tls_authorities",
            with_causes(&error),
            "Name a readable PEM file with the certificate authorities: paddington join FILE \
             --authorities PEM.",
        )
    })
}

/// The server can be reached: only the handshake remains, which is not tried here, since it uses keys.
fn handshake(entry: &Entry, reach: &Reach, target: &Target<'_>) -> Check {
    let Some(peer) = &entry.status else {
        let what = "it is not tried here, since it uses keys; the service does it once it runs";
        return Check::unknown("handshake", what);
    };
    let error = peer.last_error.as_ref().filter(|it| OF_HANDSHAKE.contains(&it.code.as_str()));
    let found = error.map_or_else(|| trying_again(peer), |it| of_error(it, reach, target));
    Check::failed("handshake", found)
}

/// Codes of what a server has told the service, or the service has found out in a handshake.
const OF_HANDSHAKE: [&str; 9] = [
    "keys_refused",
    "handshake_stalled",
    "server_unproven",
    "duplicate_process",
    "overload",
    "link_removed",
    "protocol_violation",
    "no_keys",
    "no_lease",
];

fn of_error(error: &LastError, reach: &Reach, target: &Target<'_>) -> Finding {
    let LastError { code, text, remedy, .. } = error;
    let remedy = sentence(remedy.as_deref().unwrap_or("see the log"));
    // Only the server's operator sees more.
    match code.as_str() {
        "keys_refused" => {
            let own = own_address(reach);
            let text = format!("the server does not accept the keys of this link{own}");
            Finding::new(code, text, format!("{remedy} {}", ask_there(target)))
        }
        "handshake_stalled" => {
            Finding::new(code, text.clone(), format!("{remedy} {}", ask_there(target)))
        }
        _ => Finding::new(code, text.clone(), remedy),
    }
}

fn trying_again(peer: &Peer) -> Finding {
    let before = match &peer.last_error {
        Some(error) => format!(", after {:?} at {}", error.text, error.at),
        None => String::new(),
    };
    Finding::new(
        "trying_again",
        format!("the server can be reached, and the service is not connected yet{before}"),
        "Wait: it tries again within a minute. If this lasts, see the log.",
    )
}
