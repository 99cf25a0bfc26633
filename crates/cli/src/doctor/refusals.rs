//! The meaning of a server's refusals for a link. They are told to nobody but the operator.

use std::net::IpAddr;

use paddington::AddressRange;
use paddington_admin::model::Refusal;

/// The codes of causes. The first ones say most about a client; strangers cause the last ones.
const CODES: [&str; 26] = [
    "burned_keys",
    "invitation_expired",
    "duplicate_process",
    "overload",
    "link_removed",
    "unknown_keys",
    "encoding_mismatch",
    "address_not_admitted",
    "proxy_reports_no_address",
    "proxy_header_missing",
    "proxy_header_untrusted",
    "wrong_path",
    "certificate_not_trusted",
    "no_client_certificate",
    "too_many_attempts",
    "too_many_pending",
    "own_failure",
    "protocol_violation",
    "tls_not_spoken",
    "tls_expected",
    "tls_failed",
    "proxy_without_upgrade",
    "malformed_request",
    "handshake_stalled",
    "sent_nothing",
    "replayed",
];

/// The causes for which a client may be refused at another address than its own, such as a proxy's.
const UNKNOWN_ADDRESS: [&str; 4] = [
    "address_not_admitted",
    "proxy_reports_no_address",
    "proxy_header_missing",
    "proxy_header_untrusted",
];

/// Returns the place of a code among the causes of refusals.
pub(super) fn place(code: &str) -> Option<usize> {
    CODES.iter().position(|it| *it == code)
}

/// Returns the refusal that explains best why a client is away that is to come from `range`, among those
/// since `since`.
pub(super) fn best<'a>(
    refusals: &'a [Refusal],
    range: Option<&AddressRange>,
    since: Option<&str>,
) -> Option<&'a Refusal> {
    let of_link = refusals.iter().filter_map(|refusal| {
        let place = place(&refusal.code)?;
        let address: IpAddr = refusal.address.parse().ok()?;
        let is_inside = range.is_some_and(|range| range.contains(address));
        // Whoever is not admitted may be this client at another address, or behind a proxy.
        let may_be_it = is_inside || UNKNOWN_ADDRESS.contains(&refusal.code.as_str());
        let is_recent = since.is_none_or(|since| refusal.last.as_str() >= since);
        (may_be_it && is_recent).then_some((place, refusal))
    });
    of_link.min_by_key(|(place, _)| *place).map(|(_, refusal)| refusal)
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

    fn refusal(address: &str, code: &str, last: &str) -> Refusal {
        Refusal {
            first: last.to_owned(),
            last: last.to_owned(),
            address: address.to_owned(),
            stage: "HELLO".to_owned(),
            code: code.to_owned(),
            cause: "as it is".to_owned(),
            remedy: "none".to_owned(),
            count: 1,
        }
    }

    #[test]
    fn the_refusal_that_says_most_about_a_client_explains_it() {
        let range: AddressRange = "192.0.2.0/24".parse().unwrap_or_else(|_| unreachable!());
        let list = [
            refusal("192.0.2.9", "sent_nothing", "2026-11-27T10:00:03Z"),
            refusal("203.0.113.1", "unknown_keys", "2026-11-27T10:00:02Z"),
            refusal("203.0.113.1", "address_not_admitted", "2026-11-27T10:00:02Z"),
            refusal("192.0.2.9", "unknown_keys", "2026-11-27T10:00:01Z"),
        ];
        for code in UNKNOWN_ADDRESS {
            let list = [refusal("10.0.0.1", code, "2026-11-27T10:00:02Z")];
            assert!(place(code).is_some() && super::best(&list, Some(&range), None).is_some());
        }
        let best = |since| best(&list, Some(&range), since).map(|it| (&*it.code, &*it.address));
        assert_eq!(best(None), Some(("unknown_keys", "192.0.2.9")));
        let later = Some("2026-11-27T10:00:02Z");
        assert_eq!(best(later), Some(("address_not_admitted", "203.0.113.1")));
        assert_eq!(best(Some("2026-11-27T10:00:03Z")), Some(("sent_nothing", "192.0.2.9")));
        assert_eq!(best(Some("2026-11-27T11:00:00Z")), None);
    }
}
