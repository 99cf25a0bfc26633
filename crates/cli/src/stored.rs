//! The files of a service, or its database, while it does not run: its links and its messages.

use std::sync::Arc;

use paddington::store::{DeadLetter, LetterId, LinkStore, Mailbox, MailboxStatus, StoreError};
use paddington::{LinkId, ServiceConfig, SharedLinks};
use paddington_admin::model::{RemovedAnswer, WaitingMail};

use crate::failure::{Exit, Failure};
use crate::view;

/// The remedy where messages wait for a peer that is to be removed.
pub(crate) const WHAT_BECOMES: &str =
    "Say what becomes of them: --purge deletes them, --keep leaves them in the outbox.";

/// What a service is made of.
pub(crate) struct Files {
    pub(crate) config: ServiceConfig,
    /// The links and messages in a database, if they are there.
    shared: Option<SharedLinks>,
}

impl Files {
    /// Opens the files of a service that does not run on this machine.
    pub(crate) async fn open(mut config: ServiceConfig) -> Result<Self, Failure> {
        let shared = config.open_shared_links().await;
        let shared = shared.map_err(|error| Failure::of(Exit::Files, &error))?;
        Ok(Self { config, shared })
    }

    /// Makes the link with a peer durable as it is now, where the files of links are not.
    pub(crate) async fn save(&self, peer: &str) -> Result<(), Failure> {
        match &self.shared {
            None => Ok(()),
            Some(shared) => {
                let saved = shared.save(&self.config, peer).await;
                saved.map_err(|error| Failure::of(Exit::Refused, &error))
            }
        }
    }

    /// Opens what is stored, if it was made already.
    fn store(&self) -> Result<Option<Arc<dyn LinkStore>>, Failure> {
        if let Some(shared) = &self.shared {
            return Ok(Some(Arc::clone(shared.store()) as _));
        }
        match self.config.outbox().filter(|path| path.exists()) {
            None => Ok(None),
            Some(_) => {
                let opened = self.config.open_outbox();
                let store = opened.map_err(|error| Failure::of(Exit::Files, &error))?;
                Ok(store.map(|store| store as _))
            }
        }
    }
}

fn unreadable(error: &StoreError) -> Failure {
    Failure::of(Exit::Files, error)
}

/// Returns what is stored, by link.
pub(crate) async fn mailboxes(files: &Files) -> Result<Vec<MailboxStatus>, Failure> {
    match files.store()? {
        None => Ok(Vec::new()),
        Some(store) => store.mailboxes(Vec::new()).await.map_err(|error| unreadable(&error)),
    }
}

/// Deletes what is stored for a link.
pub(crate) async fn purge(files: &Files, mailbox: &Mailbox) -> Result<(), Failure> {
    if let Some(store) = files.store()? {
        store.purge(mailbox).await.map_err(|error| unreadable(&error))?;
    }
    Ok(())
}

/// Removes a peer, whose messages wait in the outbox.
pub(crate) async fn remove(
    files: &mut Files,
    peer: &str,
    waiting: WaitingMail,
) -> Result<RemovedAnswer, Failure> {
    let link = link_of(&files.config, peer)?;
    let stored = mailboxes(files).await?.into_iter().find(|it| it.mailbox.link == link);
    let messages = stored.as_ref().map_or(0, |it| it.messages);
    if waiting == WaitingMail::Refuse && messages > 0 {
        let cause = format!("{} in the outbox for {peer}", view::messages(messages));
        return Err(Failure::new(Exit::Refused, cause).with_remedy(WHAT_BECOMES));
    }
    files.config.remove(peer)?;
    files.save(peer).await?;
    let purged = match (waiting, stored) {
        (WaitingMail::Purge, Some(stored)) => purge(files, &stored.mailbox).await,
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
pub(crate) async fn letters(files: &Files) -> Result<Vec<(LetterId, DeadLetter)>, Failure> {
    match files.store()? {
        None => Ok(Vec::new()),
        Some(store) => store.letters().await.map_err(|error| unreadable(&error)),
    }
}

/// Deletes a dead letter, and returns whether it was there.
pub(crate) async fn drop_letter(files: &Files, id: u64) -> Result<bool, Failure> {
    match files.store()? {
        None => Ok(false),
        Some(store) => {
            let taken =
                store.take_letter(LetterId(id)).await.map_err(|error| unreadable(&error))?;
            Ok(taken.is_some())
        }
    }
}
