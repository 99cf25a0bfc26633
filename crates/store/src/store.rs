//! The store as its users see it: every call is queued at once, in the order of the calls.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use paddington_exchange::store::{
    Answer, Backlog, Cursors, DeadLetter, DeadLetters, Fence, LetterId, LinkStore, Mailbox,
    MailboxStatus, Mailboxes, NewMessage, Outbox, Purged, StoreHealth, StoredCursor, StoredStream,
};
use paddington_wire::{Instance, LinkId, MessageId, Payload};

use crate::error::OpenStoreError;
use crate::operation::{Query, Write};
use crate::shared::Shared;
use crate::survey::Survey;
use crate::{open, worker};
use paddington_exchange::store::parts::{CursorChange, Waiter, ask};

/// A store in a file of SQLite. It has one owner for as long as it is open, so that every
/// [`Fence`] is the current one.
///
/// A store that is dropped without [`close`](LinkStore::close) still writes what is queued, but there
/// is no way to know when that is done.
pub struct SqliteStore {
    shared: Arc<Shared>,
    key: Option<u64>,
}

impl SqliteStore {
    /// Opens the store at `path`, and creates it if there is none. The folder has to exist. Only
    /// the owner can read the files: the one at `path`, and those beside it, named `<path>-wal` and
    /// `<path>-reserve`.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError`] if the file is in use, is not a store, or cannot be read and written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenStoreError> {
        Self::open_sealed(path, &[])
    }

    /// Does the same with a store whose payloads its user seals, under one of several keys with these
    /// ids: a new file is for the last of them. Without any, they are not sealed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), or if the payloads are sealed under none of these keys.
    pub fn open_sealed(path: impl AsRef<Path>, keys: &[u64]) -> Result<Self, OpenStoreError> {
        let (files, opened) = open::open(path.as_ref(), keys)?;
        let (shared, key) = (Arc::new(Shared::default()), opened.key);
        worker::start(files, opened, Arc::clone(&shared)).map_err(OpenStoreError::NoThread)?;
        Ok(Self { shared, key })
    }

    /// Returns the id of the key under which the payloads are sealed, if they are.
    #[must_use]
    pub fn key(&self) -> Option<u64> {
        self.key
    }
}

impl Outbox for SqliteStore {
    fn streams(&self, mailbox: &Mailbox) -> Answer<Vec<StoredStream>> {
        ask(|waiter| self.shared.query(key(mailbox), Query::Streams(mailbox.clone(), waiter)))
    }

    fn append(&self, mailbox: &Mailbox, message: NewMessage) -> Answer<()> {
        ask(|waiter| self.shared.write(key(mailbox), Write::Append(message, waiter)))
    }
}

impl Backlog for SqliteStore {
    fn read(&self, mailbox: &Mailbox, first: MessageId, max_bytes: usize) -> Answer<Vec<Payload>> {
        let query = |waiter| Query::Read(mailbox.clone(), first, max_bytes, waiter);
        ask(|waiter| self.shared.query(key(mailbox), query(waiter)))
    }

    fn trim(&self, mailbox: &Mailbox, upto: MessageId, _: Fence) -> Answer<()> {
        ask(|waiter| {
            self.shared
                .lazy(mailbox.clone(), |lazies| lazies.trim(upto.stream, upto.number, waiter));
        })
    }

    fn mark(&self, mailbox: &Mailbox, upto: MessageId, _: Fence) -> Answer<()> {
        ask(|waiter| {
            self.shared
                .lazy(mailbox.clone(), |lazies| lazies.mark(upto.stream, upto.number, waiter));
        })
    }
}

impl Cursors for SqliteStore {
    fn cursors(&self, mailbox: &Mailbox) -> Answer<Vec<StoredCursor>> {
        ask(|waiter| self.shared.query(key(mailbox), Query::Cursors(mailbox.clone(), waiter)))
    }

    fn commit(&self, mailbox: &Mailbox, cursor: StoredCursor, _: Fence) -> Answer<()> {
        let instance = cursor.instance;
        ask(|waiter| self.change(mailbox, instance, CursorChange::Replace(cursor), waiter))
    }

    fn forget(&self, mailbox: &Mailbox, instance: Instance, _: Fence) -> Answer<()> {
        ask(|waiter| self.change(mailbox, instance, CursorChange::Forget, waiter))
    }

    fn attempt(&self, mailbox: &Mailbox, id: MessageId, _: Fence) -> Answer<u32> {
        ask(|waiter| self.shared.write(key(mailbox), Write::Attempt(id, waiter)))
    }

    fn uncount(&self, mailbox: &Mailbox, id: MessageId, _: Fence) -> Answer<()> {
        ask(|waiter| self.shared.write(key(mailbox), Write::Uncount(id, waiter)))
    }

    fn sync(&self, mailbox: &Mailbox) -> Answer<()> {
        ask(|waiter| self.shared.write(key(mailbox), Write::Sync(waiter)))
    }
}

impl DeadLetters for SqliteStore {
    fn add_letter(&self, letter: DeadLetter, _: Fence) -> Answer<()> {
        let (key, letter) = (key(&letter.mailbox), Box::new(letter));
        ask(|waiter| self.shared.write(key, Write::AddLetter(letter, waiter)))
    }

    fn letters(&self) -> Answer<Vec<(LetterId, DeadLetter)>> {
        ask(|waiter| self.shared.query(None, Query::Letters(waiter)))
    }

    fn take_letter(&self, id: LetterId) -> Answer<Option<DeadLetter>> {
        ask(|waiter| self.shared.write(None, Write::TakeLetter(id, waiter)))
    }
}

impl Mailboxes for SqliteStore {
    fn mailboxes(&self, except: Vec<LinkId>) -> Answer<Vec<MailboxStatus>> {
        let survey = Box::new(Survey::new(except));
        ask(|waiter| self.shared.query(None, Query::Mailboxes(survey, waiter)))
    }

    fn purge(&self, mailbox: &Mailbox) -> Answer<Purged> {
        let purge = |waiter| Write::Purge(Purged::default(), waiter);
        ask(|waiter| self.shared.write(key(mailbox), purge(waiter)))
    }
}

impl LinkStore for SqliteStore {
    fn close(&self) -> Answer<()> {
        ask(|waiter| self.shared.close(waiter))
    }

    fn health(&self) -> StoreHealth {
        self.shared.health()
    }
}

impl SqliteStore {
    fn change(
        &self,
        mailbox: &Mailbox,
        instance: Instance,
        change: CursorChange,
        waiter: Waiter<()>,
    ) {
        self.shared.lazy(mailbox.clone(), |lazies| lazies.change(instance, change, waiter));
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("health", &self.health()).finish()
    }
}

fn key(mailbox: &Mailbox) -> Option<Mailbox> {
    Some(mailbox.clone())
}
