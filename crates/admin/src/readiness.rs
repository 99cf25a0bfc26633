//! Whether a service can do its work, and why not.

use paddington::{Event, PeerStatus};

use crate::app::App;
use crate::model::Ready;

/// Number of reasons that are told of one kind.
const TOLD: usize = 20;

impl App {
    /// Notes what an event says of a required peer.
    pub(crate) fn note(&self, event: &Event) {
        let (peer, is_connected) = match event {
            Event::Up { peer } => (peer, true),
            Event::Down { peer, .. } => (peer, false),
            _ => return,
        };
        if self.required.iter().any(|name| name == peer.as_str()) {
            self.absences.note(peer.as_str(), is_connected);
        }
    }

    /// Returns whether the service, whose peers are these, can do its work.
    pub(crate) fn ready(&self, peers: &[PeerStatus]) -> Ready {
        let mut reasons = Vec::new();
        reasons.extend(self.required.iter().filter_map(|name| self.absence(peers, name)));
        let halted = peers.iter().filter(|peer| peer.halted);
        reasons.extend(halted.take(TOLD).map(|peer| {
            format!("messages of {} are not handled any more: the handler has failed", peer.name)
        }));
        let exchange = self.service.exchange();
        if let Some(failure) = exchange.store().and_then(|store| store.health().failure) {
            reasons.push(format!("the store accepts nothing: {failure}"));
        }
        if exchange.replica().is_some_and(|replica| replica.lease.is_zero()) {
            let why = "the lease of this replica has lapsed: its database does not answer";
            reasons.push(why.to_owned());
        }
        if let Some(failure) = exchange.listener_failure() {
            reasons.push(format!("the service does not listen for its clients: {failure}"));
        }
        if self.stop.is_cancelled() {
            reasons.push("the service is shutting down".to_owned());
        }
        Ready { ready: reasons.is_empty(), reasons }
    }

    /// Returns why a required peer makes the service not ready, if it does.
    fn absence(&self, peers: &[PeerStatus], name: &str) -> Option<String> {
        let Some(peer) = peers.iter().find(|peer| peer.name.as_str() == name) else {
            return Some(format!("the required peer {name} is not known"));
        };
        if peer.is_connected() {
            self.absences.note(name, true); // an event may have been missed
            return None;
        }
        let away = self.absences.since(name).elapsed();
        (away >= self.grace).then(|| {
            let (away, grace) = (away.as_secs(), self.grace.as_secs());
            format!("the required peer {name} is away for {away} s, and {grace} s are allowed")
        })
    }
}
