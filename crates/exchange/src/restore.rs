//! The peers of an exchange, with what a store has kept of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use paddington_wire::link::{Millis, Restored, RestoredCursor, RestoredMessage, RestoredStream};
use paddington_wire::{Encoding, InvitedClient, PeerName};

use crate::StartError;
use crate::exchange::Server;
use crate::peer::PeerLink;
use crate::peer::{Peer, Shared, millis};
use crate::store::{Store, StoreError, StoredCursor, StoredMessage, StoredStream};

/// One entry for each peer. A service knows another one once, as a client or as a server
/// (`docs/protocol.md` §1).
pub(crate) async fn peers(
    shared: &Arc<Shared>,
    clients: &[InvitedClient],
    servers: &[Server],
    store: Option<&Arc<dyn Store>>,
) -> Result<BTreeMap<PeerName, Arc<Peer>>, StartError> {
    let (known, max) = (clients.len() + servers.len(), shared.config.peers);
    if known > max {
        return Err(StartError::TooManyPeers { peers: known, max });
    }
    let letters = match store {
        Some(store) => store.letters().await.map_err(StartError::Store)?,
        None => Vec::new(),
    };
    let clients = clients.iter().map(|client| (&client.name, client.credentials.encoding()));
    let servers = servers.iter().map(|server| (&server.name, server.credentials.encoding()));
    let mut peers = BTreeMap::new();
    for (name, encoding) in clients.chain(servers) {
        if *name == shared.name {
            return Err(StartError::OwnName(name.clone()));
        }
        let store = store.filter(|_| encoding == Encoding::Sealed);
        let mut link = link(shared, name, encoding, store).await.map_err(StartError::Store)?;
        for (_, letter) in letters.iter().filter(|(_, letter)| letter.peer == *name) {
            link.recall(letter.id, letter.code);
        }
        let peer = Arc::new(Peer::new(name.clone(), link, Arc::clone(shared), store.cloned()));
        if peers.insert(name.clone(), peer).is_some() {
            return Err(StartError::DuplicatePeer(name.clone()));
        }
    }
    Ok(peers)
}

async fn link(
    shared: &Shared,
    name: &PeerName,
    encoding: Encoding,
    store: Option<&Arc<dyn Store>>,
) -> Result<PeerLink, StoreError> {
    let config = shared.config.link(store.is_some());
    let Some(store) = store else {
        return Ok(PeerLink::new(encoding, config, shared.instance));
    };
    let now = shared.now();
    let streams = store.streams(name).await?.into_iter().map(|stream| restored(stream, now));
    let cursors = store.cursors(name).await?.into_iter().map(cursor);
    let restored = Restored { streams: streams.collect(), cursors: cursors.collect() };
    Ok(PeerLink::restore(config, shared.instance, restored))
}

fn restored(stream: StoredStream, now: Millis) -> RestoredStream {
    let deadline = |ttl: Duration| now.saturating_add(millis(ttl));
    let message = |message: StoredMessage| RestoredMessage {
        len: message.len,
        deadline: message.ttl.map(deadline),
    };
    RestoredStream {
        instance: stream.instance,
        base: stream.base,
        messages: stream.messages.into_iter().map(message).collect(),
    }
}

fn cursor(stored: StoredCursor) -> RestoredCursor {
    let StoredCursor { instance, completed, finished } = stored;
    RestoredCursor { instance, completed, finished }
}
