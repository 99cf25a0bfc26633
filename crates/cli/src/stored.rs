//! The outbox, while the service does not run.

use std::sync::Arc;

use paddington::store::{DeadLetter, LetterId, Mailbox, MailboxStatus, Store, StoreError};
use paddington::{LinkId, ServiceConfig};
use paddington_admin::model::{RemovedAnswer, WaitingMail};

use crate::failure::{Exit, Failure};
use crate::view;

/// The remedy where messages wait for a peer that is to be removed.
pub(crate) const WHAT_BECOMES: &str =
    "Say what becomes of them: --purge deletes them, --keep leaves them in the outbox.";

/// Opens the outbox, if the configuration has one and it was made already.
fn open(config: &ServiceConfig) -> Result<Option<Arc<dyn Store>>, Failure> {
    match config.outbox().filter(|path| path.exists()) {
        None => Ok(None),
        Some(_) => config.open_outbox().map_err(|error| Failure::of(Exit::Files, &error)),
    }
}

fn unreadable(error: &StoreError) -> Failure {
    Failure::of(Exit::Files, error)
}

/// Returns what is stored, by link.
pub(crate) async fn mailboxes(config: &ServiceConfig) -> Result<Vec<MailboxStatus>, Failure> {
    match open(config)? {
        None => Ok(Vec::new()),
        Some(store) => store.mailboxes(Vec::new()).await.map_err(|error| unreadable(&error)),
    }
}

/// Deletes what is stored for a link.
pub(crate) async fn purge(config: &ServiceConfig, mailbox: &Mailbox) -> Result<(), Failure> {
    if let Some(store) = open(config)? {
        store.purge(mailbox).await.map_err(|error| unreadable(&error))?;
    }
    Ok(())
}

/// Removes a peer, whose messages wait in the outbox.
pub(crate) async fn remove(
    config: &mut ServiceConfig,
    peer: &str,
    waiting: WaitingMail,
) -> Result<RemovedAnswer, Failure> {
    let link = link_of(config, peer)?;
    let stored = mailboxes(config).await?.into_iter().find(|it| it.mailbox.link == link);
    let messages = stored.as_ref().map_or(0, |it| it.messages);
    if waiting == WaitingMail::Refuse && messages > 0 {
        let cause = format!("{} in the outbox for {peer}", view::messages(messages));
        return Err(Failure::new(Exit::Refused, cause).with_remedy(WHAT_BECOMES));
    }
    config.remove(peer)?;
    let purged = match (waiting, stored) {
        (WaitingMail::Purge, Some(stored)) => purge(config, &stored.mailbox).await,
        _ => Ok(()),
    };
    let not_purged = purged.err().map(|failure| failure.to_string());
    Ok(RemovedAnswer { messages, unhandled: 0, not_purged })
}

/// Returns the link with a peer.
fn link_of(config: &ServiceConfig, peer: &str) -> Result<LinkId, Failure> {
    let links = config.link_details();
    let link = links.iter().find(|link| link.name == peer).map(|link| link.link);
    link.ok_or_else(|| {
        Failure::new(Exit::Refused, format!("no peer is called {peer:?}"))
            .with_remedy("`paddington peers` lists them.")
    })
}

/// Returns the dead letters, oldest first.
pub(crate) async fn letters(
    config: &ServiceConfig,
) -> Result<Vec<(LetterId, DeadLetter)>, Failure> {
    match open(config)? {
        None => Ok(Vec::new()),
        Some(store) => store.letters().await.map_err(|error| unreadable(&error)),
    }
}

/// Deletes a dead letter, and returns whether it was there.
pub(crate) async fn drop_letter(config: &ServiceConfig, id: u64) -> Result<bool, Failure> {
    match open(config)? {
        None => Ok(false),
        Some(store) => {
            let taken =
                store.take_letter(LetterId(id)).await.map_err(|error| unreadable(&error))?;
            Ok(taken.is_some())
        }
    }
}
