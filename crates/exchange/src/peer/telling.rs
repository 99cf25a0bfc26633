//! What the operator is told of a peer: in the log, by events, and as its last error.

use std::net::{IpAddr, SocketAddr};

use paddington_transport::{Endpoint, Explanation, FailedAttempt};
use paddington_wire::RejectText;
use paddington_wire::keys::Why;
use paddington_wire::link::Outcome;

use super::Peer;
use super::reports::Cause;
use super::state::State;
use crate::escaped::escaped;
use crate::store::Fate;
use crate::{Delivered, Event};

impl Peer {
    /// Reports messages that have ended without being handled.
    pub(super) fn report_outcomes(&self, state: &mut State) {
        let fates = state.outbox_mut().take_outcomes();
        for (outcome, messages, text) in counted(&fates) {
            let (peer, outcome) = (self.name.clone(), Delivered::unhandled(outcome));
            let Some(outcome) = outcome else { continue };
            let text = escaped(text);
            state.reports_mut().undelivered(&peer, outcome, messages, text.as_deref());
            self.shared.tell(Event::Undelivered { peer, outcome, messages, text });
        }
        self.keep_fates(state, fates);
    }

    /// Writes the lines about repeats whose time has come.
    pub(crate) fn flush_reports(&self) {
        if let Some(mut state) = self.lock_if_active() {
            state.reports_mut().flush(&self.name);
        }
    }

    /// Keeps that somebody from `address` was refused who has keys of the link, for whoever asks.
    pub(crate) fn note_refused(&self, address: IpAddr, explanation: Explanation) {
        let whole = |cause: &str| format!("a connection from {address} was refused: {cause}");
        self.lock().note_error(explanation.described(whole));
    }

    /// Keeps that an attempt to connect has failed.
    pub(crate) fn note_failed(&self, attempt: &FailedAttempt) {
        let mut explanation = attempt.explanation.clone();
        if let Some(address) = attempt.address {
            explanation = explanation.described(|cause| format!("{cause} (at {address})"));
        }
        let mut state = self.lock();
        state.note_error(explanation);
        state.attempts.failed_by(&attempt.endpoint);
    }

    /// Notes where the connection leads to, which this side has opened.
    pub(crate) fn note_place(&self, endpoint: &Endpoint, address: Option<SocketAddr>) {
        let mut state = self.lock();
        state.attempts.succeeded_by(endpoint);
        if let Some(address) = address {
            state.presence.leads_to(address);
        }
    }

    /// Reports that somebody was refused who has keys of the link that are not valid any more.
    pub(crate) fn report_worthless_keys(&self, address: IpAddr, generation: u64, why: Why) {
        let detail = format!("from {address}, with generation {generation}");
        let cause = match why {
            Why::Burned => Cause::Burned,
            Why::Expired => Cause::OutOfDate,
        };
        let reported = self.lock().reports_mut().report(&self.name, cause, 1, &detail);
        if reported && why == Why::Burned {
            self.shared.tell(Event::BurnedKeys { peer: self.name.clone(), address, generation });
        }
    }

    /// Logs that a second process was refused, whose address is `address`.
    pub(crate) fn report_duplicate(&self, address: IpAddr) {
        let detail = address.to_string();
        self.lock().reports_mut().report(&self.name, Cause::Duplicate, 1, &detail);
    }

    /// Writes the lines about repeats that are left, at the end.
    pub(crate) fn finish_reports(&self) {
        if let Some(mut state) = self.lock_if_active() {
            state.reports_mut().finish(&self.name);
        }
    }
}

/// Returns the outcomes with the number of messages, and with what the peer has said about one of these.
fn counted(fates: &[Fate]) -> Vec<(Outcome, u64, &RejectText)> {
    let mut counted: Vec<(Outcome, u64, &RejectText)> = Vec::new();
    for Fate { outcome, text, .. } in fates {
        match counted.iter_mut().find(|(known, ..)| known == outcome) {
            Some((_, messages, last)) => {
                *messages += 1;
                if !text.is_empty() {
                    *last = text;
                }
            }
            None => counted.push((*outcome, 1, text)),
        }
    }
    counted
}
