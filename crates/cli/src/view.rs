//! How data is said in words.

use paddington_admin::model::{
    FixedKeysWord, Keys, OutboxStatus, Owner, Peer, PeerUrl, Role, State,
};

pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";

pub(crate) fn state(peer: &Peer) -> String {
    match peer.state {
        State::Connected => format!("{GREEN}connected{PLAIN}"),
        State::Away => format!("{YELLOW}{}{PLAIN}", away(peer)),
    }
}

/// Says how it is with a peer that is not connected here: whose its link is, if it is not this replica's.
pub(crate) fn away(peer: &Peer) -> String {
    match peer.owner {
        _ if peer.owned != Some(false) => "away".to_owned(),
        Some(Owner { replica: Some(number) }) => format!("replica {number} owns it"),
        Some(Owner { replica: None }) => "no replica owns it".to_owned(),
        None => "not here".to_owned(), // the database has not said
    }
}

/// Says which keys are in use, or what they wait for.
pub(crate) fn keys(keys: &Keys, role: Role) -> String {
    let waits = keys.invitation.as_ref().map(|invitation| match (&invitation.expires, role) {
        (Some(end), Role::Client) => format!("invited, until {}", moment(end)),
        (_, Role::Client) => "invited".to_owned(),
        (_, Role::Server) => "invitation not used yet".to_owned(),
    });
    let fixed = keys.fixed.map(|fixed| match fixed {
        FixedKeysWord::Hex => "fixed: hex",
        FixedKeysWord::NoFolder => "fixed: no folder of links",
        FixedKeysWord::Peer => "fixed: the peer cannot store new ones",
    });
    let generation = keys.generation.map(|generation| match keys.next {
        Some(next) => format!("generation {generation}, {next} from the next connection on"),
        None => format!("generation {generation}"),
    });
    let words: Vec<_> =
        [generation, waits, fixed.map(str::to_owned)].into_iter().flatten().collect();
    words.join(", ")
}

/// Says which URL of a server is used, and what the others have failed with.
pub(crate) fn url(url: &PeerUrl) -> String {
    let PeerUrl { url, in_use, last_error } = url;
    match last_error {
        _ if *in_use => format!("{url} (in use)"),
        Some(error) => format!("{url} (failed at {}: {})", error.at, error.text),
        None => format!("{url} (not tried lately)"),
    }
}

/// Says what waits for a peer.
pub(crate) fn waiting(outbox: &OutboxStatus) -> String {
    match outbox.messages {
        0 => "nothing".to_owned(),
        count => {
            let age = seconds(outbox.oldest_seconds);
            format!("{}, {}, the oldest for {age}", messages(count), bytes(outbox.bytes))
        }
    }
}

/// Says how many messages these are.
pub(crate) fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

/// Says a time of the API without its fraction of a second.
pub(crate) fn moment(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

/// Says how many bytes these are, in units of 1024.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = format!("{count} B");
    let mut value = u128::from(count) * 10;
    for unit in UNITS {
        if value < 10_240 {
            break;
        }
        value /= 1024;
        shown = format!("{}.{} {unit}", value / 10, value % 10);
    }
    shown
}

/// Says how long this is, with the unit that fits.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_is_no_plural_and_times_have_no_fraction() {
        assert_eq!((messages(1), messages(2)), ("1 message".into(), "2 messages".into()));
        assert_eq!(moment("2026-12-04T03:49:54.000Z"), "2026-12-04T03:49:54Z");
    }

    #[test]
    fn numbers_have_the_unit_that_fits() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        let cases = [
            (0.0002, "200 µs"),
            (0.05, "50.0 ms"),
            (3.0, "3.0 s"),
            (600.0, "10 min"),
            (259_200.0, "3.0 d"),
        ];
        for (time, text) in cases {
            assert_eq!(seconds(time), text);
        }
    }
}
