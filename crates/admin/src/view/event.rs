//! Events in words.

use std::time::SystemTime;

use paddington::{Delivered, Event};

use crate::model::{EventEntry, time};

/// Returns an event as a word and a sentence.
pub(crate) fn event(event: &Event, at: SystemTime) -> EventEntry {
    let (kind, peer, text) = told(event);
    EventEntry { at: time(at), kind: kind.to_owned(), peer, text }
}

fn told(event: &Event) -> (&'static str, Option<String>, String) {
    let (kind, peer, text) = match event {
        Event::PeerAdded { peer } => ("peer_added", peer, format!("{peer} was added")),
        Event::PeerRemoved { peer } => ("peer_removed", peer, format!("{peer} was removed")),
        Event::Up { peer } => ("up", peer, format!("{peer} is connected")),
        Event::Down { peer, cause } => {
            ("down", peer, format!("the connection to {peer} has ended: {cause}"))
        }
        Event::Duplicate { peer } => {
            let text = "a second process with its invitation was refused";
            ("duplicate", peer, format!("{peer}: {text}"))
        }
        Event::BurnedKeys { peer, address, generation } => {
            let text = "somebody was refused who has keys that are not valid any more";
            let text = format!("{peer}: {text}, of generation {generation}, from {address}");
            ("burned_keys", peer, text)
        }
        Event::StateRegressed { peer } => {
            let text = "it has received messages that the store of this service does not know";
            ("state_regressed", peer, format!("{peer}: {text}"))
        }
        Event::Undelivered { peer, outcome, messages, text } => {
            let words = text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            let outcome = outcome_word(outcome);
            let text =
                format!("{messages} messages for {peer} were not handled ({outcome}){words}");
            ("undelivered", peer, text)
        }
        Event::DeadLetter { peer, id, .. } => {
            ("dead_letter", peer, format!("the message {id} of {peer} has become a dead letter"))
        }
        Event::HandlingStopped { peer } => {
            let text = "are not handled any more: the handler has failed";
            ("handling_stopped", peer, format!("messages of {peer} {text}"))
        }
        Event::StoreFailed { peer, cause } => {
            ("store_failed", peer, format!("the store accepts no messages for {peer}: {cause}"))
        }
        Event::Claimed { peer } => {
            ("claimed", peer, format!("this replica owns the link with {peer} now"))
        }
        Event::Yielded { peer } => {
            let text = "this replica has given the link up to another one";
            ("yielded", peer, format!("{peer}: {text}"))
        }
        Event::Deposed { peer } => {
            let text = "another replica has become the owner of the link, because this one counted as dead";
            ("deposed", peer, format!("{peer}: {text}"))
        }
        Event::LeaseLapsed { database } => return ("lease_lapsed", None, lapsed(*database)),
        _ => return ("other", None, "something else has happened".to_owned()),
    };
    (kind, Some(peer.to_string()), text)
}

/// What the end of a lease says, in one of several databases or in the only one.
fn lapsed(database: Option<usize>) -> String {
    match database {
        None => "the lease of this replica has lapsed: it handles no messages until the database has answered".to_owned(),
        Some(number) => format!(
            "the lease of this replica in database {number} has lapsed: it handles no messages of peers whose links \
             live there until it has answered"
        ),
    }
}

fn outcome_word(outcome: &Delivered) -> &'static str {
    match outcome {
        Delivered::Rejected(_) => "rejected",
        Delivered::Expired => "expired",
        Delivered::TooLong => "too long",
        _ => "given up",
    }
}
