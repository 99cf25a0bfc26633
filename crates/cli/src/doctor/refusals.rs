//! The meaning of a server's refusals for a link. They are known by the words that the log has for them
//! (`refusal_kind.rs` in the transport), and are told to nobody but the operator.

use std::net::IpAddr;

use paddington::AddressRange;
use paddington_admin::model::Refusal;

/// The code of each cause. The first ones say most about a client; strangers cause the last ones.
const CAUSES: [(&str, &str); 21] = [
    ("it used burned keys", "burned_keys"),
    ("it used an invitation that has expired", "invitation_expired"),
    ("another live process uses its invitation", "duplicate_process"),
    ("too many handshakes with its invitation", "overload"),
    ("its link was removed", "link_removed"),
    ("the peer could not be authenticated", "unknown_keys"),
    ("it asks for the hex encoding", "encoding_mismatch"),
    ("it uses the sealed encoding", "encoding_mismatch"),
    ("no invitation allows its address", "address_not_admitted"),
    ("the proxy does not report", "proxy_reports_no_address"),
    ("its request is for another path", "wrong_path"),
    ("too many failed attempts", "too_many_attempts"),
    ("it gave way to others", "too_many_pending"),
    ("this side could not make its part", "own_failure"),
    ("the peer broke the protocol", "protocol_violation"),
    ("it speaks TLS, but this port does not", "tls_not_spoken"),
    ("its request is no upgrade", "proxy_without_upgrade"),
    ("the head of its request is malformed", "malformed_request"),
    ("it was not established in time", "handshake_stalled"),
    ("it sent nothing in time", "sent_nothing"),
    ("the hello was seen before", "replayed"),
];

/// Returns the code of a cause, and its place among the causes.
pub(super) fn code(cause: &str) -> Option<(usize, &'static str)> {
    let found = CAUSES.iter().enumerate().find(|(_, (words, _))| cause.contains(words));
    found.map(|(place, (_, code))| (place, *code))
}

/// Returns the refusal that explains best why a client is away that is to come from `range`, among those
/// since `since`, with its code.
pub(super) fn best<'a>(
    refusals: &'a [Refusal],
    range: Option<&AddressRange>,
    since: Option<&str>,
) -> Option<(&'static str, &'a Refusal)> {
    let of_link = refusals.iter().filter_map(|refusal| {
        let (place, code) = code(&refusal.cause)?;
        let address: IpAddr = refusal.address.parse().ok()?;
        let is_inside = range.is_some_and(|range| range.contains(address));
        // Whoever is not admitted may be this client at another address, or behind a proxy.
        let may_be_it =
            is_inside || matches!(code, "address_not_admitted" | "proxy_reports_no_address");
        let is_recent = since.is_none_or(|since| refusal.last.as_str() >= since);
        (may_be_it && is_recent).then_some((place, code, refusal))
    });
    of_link.min_by_key(|(place, ..)| *place).map(|(_, code, refusal)| (code, refusal))
}

/// Says where, how often and when somebody was refused.
pub(super) fn text(refusal: &Refusal) -> String {
    let Refusal { address, count, last, cause, .. } = refusal;
    let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
    format!("{address} was refused {times}, last at {last}: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str, cause: &str, last: &str) -> Refusal {
        Refusal {
            first: last.to_owned(),
            last: last.to_owned(),
            address: address.to_owned(),
            stage: "HELLO".to_owned(),
            cause: cause.to_owned(),
            remedy: "none".to_owned(),
            count: 1,
        }
    }

    #[test]
    fn the_refusal_that_says_most_about_a_client_explains_it() {
        let range: AddressRange = "192.0.2.0/24".parse().unwrap_or_else(|_| unreachable!());
        let list = [
            refusal("192.0.2.9", "it sent nothing in time", "2026-11-27T10:00:03Z"),
            refusal("203.0.113.1", "the peer could not be authenticated", "2026-11-27T10:00:02Z"),
            refusal("203.0.113.1", "no invitation allows its address", "2026-11-27T10:00:02Z"),
            refusal("192.0.2.9", "the peer could not be authenticated", "2026-11-27T10:00:01Z"),
        ];
        let best = |since| best(&list, Some(&range), since).map(|(code, it)| (code, &*it.address));
        assert_eq!(best(None), Some(("unknown_keys", "192.0.2.9")));
        let later = Some("2026-11-27T10:00:02Z");
        assert_eq!(best(later), Some(("address_not_admitted", "203.0.113.1")));
        assert_eq!(best(Some("2026-11-27T10:00:03Z")), Some(("sent_nothing", "192.0.2.9")));
        assert_eq!(best(Some("2026-11-27T11:00:00Z")), None);
    }
}
