//! Mailboxes in the store whose links this service does not know: which there are, and how they are
//! removed. Implements `docs/delivery.md`, "What is stored".

use std::fmt::Write;

use paddington_wire::LinkId;
use thiserror::Error;
use tokio::time::timeout;
use tracing::warn;

use crate::Exchange;
use crate::cluster::PATIENCE;
use crate::storage::Storage;
use crate::store::{Mailbox, MailboxStatus, Purged, StoreError};

/// The most mailboxes that one line of the log names.
const MAX_NAMED: usize = 8;

/// The reason why a mailbox was not purged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PurgeError {
    /// The service has a peer with this link: what is stored for it is delivered.
    #[error("the mailbox of {0} belongs to a link that is known: remove the peer first")]
    Known(Mailbox),
    /// The service keeps nothing in a store.
    #[error("this service has no store")]
    NoStore,
    /// The store failed. What is left can be purged again.
    #[error("the mailbox could not be purged: {0}")]
    Store(#[source] StoreError),
    /// The store that replicas share has not answered in time. It may go on. To purge the mailbox once more does no
    /// harm.
    #[error(
        "the store has not answered in time: what is stored for {0} may be removed, in part, or later; purge it \
         again, which is safe"
    )]
    Late(Mailbox),
}

impl Exchange {
    /// Returns the mailboxes in the store whose links belong to no peer of this service, sorted by
    /// name: what is left of peers that are not configured any more. Nothing in them is ever
    /// delivered, unless the same link is configured again; a new link to a peer of the same name has
    /// a mailbox of its own (`docs/protocol.md` §1.4). Without a store there are none. It takes 10 s at
    /// most where replicas share the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read, or does not answer in time.
    pub async fn orphans(&self) -> Result<Vec<MailboxStatus>, StoreError> {
        let core = self.core();
        let links = core.peers.links();
        match (&core.cluster, core.store()) {
            (Some(cluster), _) => cluster.ask_all_in_time(|store| store.mailboxes(links)).await,
            (None, Some(store)) => store.mailboxes(links).await,
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Removes everything that is stored for a link that no peer of this service has: messages,
    /// cursors, attempts and dead letters. The removal is durable once this returns. A mailbox that
    /// holds nothing is no error. Where replicas share the store, it is asked for 10 s at most, and whoever
    /// asks has to know that no other replica has the link.
    ///
    /// # Errors
    ///
    /// [`PurgeError`] if a peer has the link, or the store fails or does not answer in time.
    pub async fn purge(&self, mailbox: &Mailbox) -> Result<Purged, PurgeError> {
        let core = self.core();
        let store = core.store().ok_or(PurgeError::NoStore)?;
        let _change = core.changes.lock().await; // the link is not added meanwhile
        if core.peers.has_link(mailbox.link) {
            return Err(PurgeError::Known(mailbox.clone()));
        }
        let Some(cluster) = &core.cluster else {
            return store.purge(mailbox).await.map_err(PurgeError::Store);
        };
        cluster.lives_for(mailbox.link).map_err(PurgeError::Store)?;
        let purged = timeout(PATIENCE, store.purge(mailbox))
            .await
            .map_err(|_| PurgeError::Late(mailbox.clone()))?;
        purged.map_err(PurgeError::Store)
    }
}

/// Logs which mailboxes of the store belong to none of these links, unless there is nothing in them
/// that anybody could miss. No start waits for it longer than 10 s where replicas share the store.
pub(crate) async fn warn_of_orphans(
    storage: &Storage,
    known: Vec<LinkId>,
) -> Result<(), StoreError> {
    let told = match storage {
        Storage::Memory => return Ok(()),
        Storage::Own(store) => Ok(store.mailboxes(known).await),
        Storage::Shared(store) => timeout(PATIENCE, store.mailboxes(known)).await,
    };
    let Ok(orphans) = told else {
        warn!(
            "it is not known whether the store has orphaned mailboxes: it has not answered in time; \
             Exchange::orphans asks it again"
        );
        return Ok(());
    };
    let mut orphans = orphans?;
    orphans.retain(|orphan| orphan.messages + orphan.letters > 0);
    if !orphans.is_empty() {
        let orphans = listed(&orphans);
        warn!(
            %orphans,
            "the store has orphaned mailboxes, whose links this service does not know: what is in them \
             is not delivered; configure the links again, or purge the mailboxes (Exchange::purge)"
        );
    }
    Ok(())
}

/// Returns the names of mailboxes and the numbers of their messages, as far as there is room in one
/// line.
fn listed(orphans: &[MailboxStatus]) -> String {
    let mut text = String::new();
    for MailboxStatus { mailbox, messages, letters, .. } in orphans.iter().take(MAX_NAMED) {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a text cannot fail.
        let _ = write!(text, "{comma}{mailbox}: {}", counted(*messages, "message"));
        if *letters > 0 {
            let _ = write!(text, " and {}", counted(*letters, "dead letter"));
        }
    }
    match orphans.len().saturating_sub(MAX_NAMED) {
        0 => text,
        others => format!("{text}, and {others} others"),
    }
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_names_eight_mailboxes_at_most() {
        let orphan = |number: u8| {
            let link = LinkId::from([number; LinkId::LEN]);
            let peer = format!("peer-{number}").parse().unwrap();
            let mut orphan = MailboxStatus::new(Mailbox { peer, link });
            orphan.messages = number.into();
            orphan
        };
        let mut orphans: Vec<_> = (1..=20).map(orphan).collect();
        let first = format!("peer-1 (link {}): 1 message", "01".repeat(16));
        assert_eq!(listed(&orphans[..1]), first);
        let eight = listed(&orphans[..8]);
        assert!(eight.starts_with(&format!("{first}, peer-2 ")), "{eight}");
        assert!(eight.ends_with(": 8 messages"), "{eight}");
        assert_eq!(listed(&orphans), format!("{eight}, and 12 others"));
        orphans[0].letters = 2;
        assert_eq!(listed(&orphans[..1]), format!("{first} and 2 dead letters"));
    }
}
