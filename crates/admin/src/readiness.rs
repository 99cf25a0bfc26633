//! Whether a service can do its work, and why not.

use std::time::Duration;

use paddington::{Event, PeerStatus};
use tokio::time::timeout;

use crate::app::App;
use crate::model::Ready;
use crate::owners::Owners;

/// Number of reasons that are told of one kind.
const TOLD: usize = 20;
/// The longest time between two questions to the database that replicas share: where the required peers are that are not
/// here.
const LOOK: Duration = Duration::from_secs(5);

impl App {
    /// Notes what an event says of a required peer.
    pub(crate) fn note(&self, event: &Event) {
        let (Event::Up { peer } | Event::Down { peer, .. }) = event else { return };
        if self.required.iter().any(|name| name == peer.as_str()) {
            self.absences.note_seen(peer.as_str());
            self.moves.notify_one();
        }
    }

    /// Follows where the required peers are: here, since an event may be missed, or at another replica, if there are any. So
    /// nobody who asks whether the service is ready waits for the database.
    pub(crate) async fn follow_required(&self) {
        if self.required.is_empty() {
            return;
        }
        let exchange = self.service.exchange();
        let required: Vec<&str> = self.required.iter().map(String::as_str).collect();
        loop {
            let is_here =
                |peer: &&&str| exchange.peer(peer).is_some_and(|peer| peer.is_connected());
            required.iter().filter(is_here).for_each(|peer| self.absences.note_seen(peer));
            if let Some(replica) = exchange.replica() {
                let owners = self.elsewhere.ask_about(exchange, replica.number, &required).await;
                for (peer, _) in owners.iter().filter(|(_, owner)| owner.is_some()) {
                    self.absences.note_seen(peer.as_str());
                }
            }
            let _ = timeout(LOOK, self.moves.notified()).await;
        }
    }

    /// Returns whether the service, whose peers are these, can do its work. It waits for nothing.
    pub(crate) fn ready(&self, peers: &[PeerStatus]) -> Ready {
        let (mut reasons, owners) = (Vec::new(), self.elsewhere.get());
        let absence = |name: &String| self.absence(peers, name, &owners);
        reasons.extend(self.required.iter().filter_map(absence));
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

    /// Returns why a required peer makes the service not ready, if it does. If another living replica owns its link, that
    /// one answers for it.
    fn absence(&self, peers: &[PeerStatus], name: &str, owners: &Owners) -> Option<String> {
        let Some(peer) = peers.iter().find(|peer| peer.name.as_str() == name) else {
            return Some(format!("the required peer {name} is not known"));
        };
        if peer.is_connected() {
            self.absences.note_seen(name); // an event may have been missed
            return None;
        }
        let unsaid = match (peer.owned, owners.get(&peer.name)) {
            (Some(false), Some(Some(_))) => return None,
            (Some(false), None) => "; the database does not say whether another replica has it",
            _ => "",
        };
        let away = self.absences.since(name).elapsed();
        (away >= self.grace).then(|| {
            let (away, grace) = (away.as_secs(), self.grace.as_secs());
            format!(
                "the required peer {name} is away for {away} s, and {grace} s are allowed{unsaid}"
            )
        })
    }
}
