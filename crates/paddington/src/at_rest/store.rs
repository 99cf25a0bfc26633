//! A store whose payloads are sealed before it gets them, and opened behind it. Everything else is the
//! store's own.

use std::sync::Arc;

use paddington_crypto::StorageKey;
use paddington_exchange::store::{
    Answer, Backlog, Cursors, DeadLetter, DeadLetters, Fence, LetterId, LinkStore, Mailbox,
    MailboxStatus, Mailboxes, NewMessage, Outbox, Purged, ReplicaId, SharedStore, StoreError,
    StoreHealth, StoredCursor, StoredStream,
};
use paddington_wire::{Instance, LinkId, MessageId, Payload};

use super::AtRestError;

/// The number of bytes by which a sealed payload is longer: what the key adds, and a last byte that says
/// whether it is bytes or text.
const OVERHEAD: usize = StorageKey::OVERHEAD + 1;
const TEXT: u8 = 0;
const BYTES: u8 = 1;

/// A store with sealed payloads.
#[derive(Debug)]
pub(crate) struct SealedStore<S: ?Sized> {
    pub(super) inner: Arc<S>,
    pub(super) key: Arc<StorageKey>,
    /// What the payload of a message is bound to.
    place: fn(LinkId, MessageId) -> Place,
}

/// What a payload is bound to: nobody can put it elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// One message.
    #[cfg(feature = "durable")]
    Message(LinkId, MessageId),
    /// The messages of one link, whose numbers are not known when they are sealed.
    Link(LinkId),
    /// One dead letter.
    Letter(LinkId, MessageId),
    /// One request that goes from a replica to another one.
    Request(ReplicaId, u64),
    /// The reply to it.
    Reply(ReplicaId, u64),
}

impl<S: Outbox + ?Sized> SealedStore<S> {
    /// Seals what goes into a store, and opens what comes out of it.
    #[cfg(feature = "durable")]
    pub(crate) fn new(inner: Arc<S>, key: Arc<StorageKey>) -> Self {
        Self { inner, key, place: Place::Message }
    }
}

impl<S: SharedStore + ?Sized> SealedStore<S> {
    /// Seals what goes into a store that replicas share, and opens what comes out of it.
    pub(crate) fn shared(inner: Arc<S>, key: Arc<StorageKey>) -> Self {
        Self { inner, key, place: |link, _| Place::Link(link) }
    }
}

/// Seals a payload for its place.
pub(super) fn seal(key: &StorageKey, at: Place, payload: &Payload) -> Result<Payload, AtRestError> {
    let mut text = Vec::with_capacity(payload.len() + 1);
    text.extend_from_slice(payload);
    text.push(if payload.is_bytes() { BYTES } else { TEXT });
    let sealed = key.seal(&text, &at.ad());
    let sealed = sealed.map_err(|_| paddington_crypto::KeyError::NoRandomness)?;
    Ok(Payload::bytes(sealed))
}

/// Opens a payload from its place. One that is empty stands for a message that is lost.
pub(super) fn open(key: &StorageKey, at: Place, sealed: &Payload) -> Result<Payload, AtRestError> {
    if sealed.is_empty() {
        return Ok(sealed.clone());
    }
    let mut text = key.open(sealed, &at.ad()).map_err(|_| AtRestError::Changed)?;
    let kind = text.pop();
    let text = std::mem::take(&mut *text);
    match kind {
        Some(TEXT) => Ok(Payload::text(text)),
        Some(BYTES) => Ok(Payload::bytes(text)),
        _ => Err(AtRestError::Changed),
    }
}

impl Place {
    fn ad(self) -> Vec<u8> {
        let relayed = |kind: &[u8], asker: ReplicaId, number: u64| {
            [kind, &asker.0.to_be_bytes(), &number.to_be_bytes()].concat()
        };
        let of = |kind: &[u8], link: LinkId, id: Option<MessageId>| {
            let mut ad = [kind, &link.as_bytes()[..]].concat();
            if let Some(MessageId { stream, number }) = id {
                ad.extend_from_slice(&stream.as_bytes()[..]);
                ad.extend_from_slice(&number.to_be_bytes());
            }
            ad
        };
        match self {
            #[cfg(feature = "durable")]
            Self::Message(link, id) => of(b"paddington message ", link, Some(id)),
            Self::Link(link) => of(b"paddington messages ", link, None),
            Self::Letter(link, id) => of(b"paddington letter ", link, Some(id)),
            Self::Request(asker, number) => relayed(b"paddington request ", asker, number),
            Self::Reply(asker, number) => relayed(b"paddington reply ", asker, number),
        }
    }
}

pub(super) fn failed(id: MessageId, error: &AtRestError) -> StoreError {
    StoreError::new(format!("message {id}: {error}"))
}

pub(super) fn at_once<T: Send + 'static>(error: StoreError) -> Answer<T> {
    Box::pin(async move { Err(error) })
}

/// The length of a payload, by that of its sealed form.
pub(super) fn opened_len(sealed: u32) -> u32 {
    sealed.saturating_sub(OVERHEAD as u32)
}

fn len(sealed: u64, payloads: u64) -> u64 {
    sealed.saturating_sub(payloads.saturating_mul(OVERHEAD as u64))
}

impl<S: Outbox + ?Sized> Outbox for SealedStore<S> {
    fn streams(&self, mailbox: &Mailbox) -> Answer<Vec<StoredStream>> {
        let streams = self.inner.streams(mailbox);
        Box::pin(async move {
            let mut streams = streams.await?;
            for message in streams.iter_mut().flat_map(|stream| &mut stream.messages) {
                message.len = opened_len(message.len);
            }
            Ok(streams)
        })
    }

    fn append(&self, mailbox: &Mailbox, message: NewMessage) -> Answer<()> {
        let at = (self.place)(mailbox.link, message.id);
        match seal(&self.key, at, &message.payload) {
            Ok(payload) => self.inner.append(mailbox, NewMessage { payload, ..message }),
            Err(error) => at_once(failed(message.id, &error)),
        }
    }
}

impl<S: Backlog + ?Sized> Backlog for SealedStore<S> {
    fn mark(&self, mailbox: &Mailbox, upto: MessageId, fence: Fence) -> Answer<()> {
        self.inner.mark(mailbox, upto, fence)
    }

    fn read(&self, mailbox: &Mailbox, first: MessageId, max_bytes: usize) -> Answer<Vec<Payload>> {
        let read = self.inner.read(mailbox, first, max_bytes);
        let (key, link, place) = (Arc::clone(&self.key), mailbox.link, self.place);
        Box::pin(async move {
            let open = |(number, payload): (u64, Payload)| {
                let id = MessageId { number, ..first };
                open(&key, place(link, id), &payload).map_err(|error| failed(id, &error))
            };
            (first.number..).zip(read.await?).map(open).collect()
        })
    }

    fn trim(&self, mailbox: &Mailbox, upto: MessageId, fence: Fence) -> Answer<()> {
        self.inner.trim(mailbox, upto, fence)
    }
}

impl<S: Cursors + ?Sized> Cursors for SealedStore<S> {
    fn cursors(&self, mailbox: &Mailbox) -> Answer<Vec<StoredCursor>> {
        self.inner.cursors(mailbox)
    }

    fn commit(&self, mailbox: &Mailbox, cursor: StoredCursor, fence: Fence) -> Answer<()> {
        self.inner.commit(mailbox, cursor, fence)
    }

    fn forget(&self, mailbox: &Mailbox, instance: Instance, fence: Fence) -> Answer<()> {
        self.inner.forget(mailbox, instance, fence)
    }

    fn attempt(&self, mailbox: &Mailbox, id: MessageId, fence: Fence) -> Answer<u32> {
        self.inner.attempt(mailbox, id, fence)
    }

    fn uncount(&self, mailbox: &Mailbox, id: MessageId, fence: Fence) -> Answer<()> {
        self.inner.uncount(mailbox, id, fence)
    }

    fn sync(&self, mailbox: &Mailbox) -> Answer<()> {
        self.inner.sync(mailbox)
    }
}

impl<S: DeadLetters + ?Sized> DeadLetters for SealedStore<S> {
    fn add_letter(&self, letter: DeadLetter, fence: Fence) -> Answer<()> {
        match seal(&self.key, of_letter(&letter), &letter.payload) {
            Ok(payload) => self.inner.add_letter(DeadLetter { payload, ..letter }, fence),
            Err(error) => at_once(failed(letter.id, &error)),
        }
    }

    fn letters(&self) -> Answer<Vec<(LetterId, DeadLetter)>> {
        let (letters, key) = (self.inner.letters(), Arc::clone(&self.key));
        Box::pin(async move {
            let letters = letters.await?.into_iter();
            letters.map(|(id, letter)| Ok((id, open_letter(&key, letter)?))).collect()
        })
    }

    fn take_letter(&self, id: LetterId) -> Answer<Option<DeadLetter>> {
        let (taken, key) = (self.inner.take_letter(id), Arc::clone(&self.key));
        Box::pin(async move { taken.await?.map(|it| open_letter(&key, it)).transpose() })
    }
}

fn of_letter(letter: &DeadLetter) -> Place {
    Place::Letter(letter.mailbox.link, letter.id)
}

pub(super) fn open_letter(key: &StorageKey, letter: DeadLetter) -> Result<DeadLetter, StoreError> {
    let opened = open(key, of_letter(&letter), &letter.payload);
    let payload = opened.map_err(|error| failed(letter.id, &error))?;
    Ok(DeadLetter { payload, ..letter })
}

impl<S: Mailboxes + ?Sized> Mailboxes for SealedStore<S> {
    fn mailboxes(&self, except: Vec<LinkId>) -> Answer<Vec<MailboxStatus>> {
        let found = self.inner.mailboxes(except);
        Box::pin(async move {
            let mut found = found.await?;
            for status in &mut found {
                status.bytes = len(status.bytes, status.messages);
            }
            Ok(found)
        })
    }

    fn purge(&self, mailbox: &Mailbox) -> Answer<Purged> {
        let purged = self.inner.purge(mailbox);
        Box::pin(async move {
            let purged = purged.await?;
            Ok(Purged { bytes: len(purged.bytes, purged.messages), ..purged })
        })
    }
}

impl<S: LinkStore + ?Sized> LinkStore for SealedStore<S> {
    fn close(&self) -> Answer<()> {
        self.inner.close()
    }

    fn health(&self) -> StoreHealth {
        self.inner.health()
    }
}
