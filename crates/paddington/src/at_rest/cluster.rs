//! Seals what replicas share in their databases, under a new key, or not any more. No replica may run meanwhile.

use std::path::Path;

use paddington_store_postgres::{Conversion, Convert, Converted, Seal};
use paddington_transport::with_causes;
use paddington_wire::{LinkId, MessageId, Payload, PeerName};
use zeroize::Zeroizing;

use super::store::{Place, open, seal};
use super::{AtRest, AtRestError, KeySource, Keyring, Rewritten};
use crate::links::{LinkText, SealedLink, SharedLinkError, at_rest, place};
use crate::{ClusterError, FileError, ServiceConfig, draft, file};

impl ServiceConfig {
    /// Seals the links and messages in the databases that replicas share under the newest key of the keyring, which is
    /// made if there is none, and so are the tables. What is sealed under it already is left as it is. If this is
    /// interrupted, it can be done again.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if a replica runs, a database cannot be used, something cannot be opened, or the secret
    /// is not that of the keyring. A keyring is made only after all of it could be read.
    pub async fn seal_cluster(&self) -> Result<Rewritten, ClusterError> {
        self.rewrite_cluster(Task::Seal).await
    }

    /// Seals all of it under a new key, and the keyring under another secret, or under the same one. If an earlier
    /// [`seal_cluster`](Self::seal_cluster) or this was interrupted, it is ended, and no other key is made.
    ///
    /// # Errors
    ///
    /// As [`seal_cluster`](Self::seal_cluster).
    pub async fn rekey_cluster(&self, to: Option<KeySource>) -> Result<Rewritten, ClusterError> {
        self.rewrite_cluster(Task::Rekey(to)).await
    }

    /// Adds the key under which [`seal_cluster`](Self::seal_cluster) is to seal all of it to the keyring, which is sealed
    /// under another secret, or under the same one, and changes nothing else: so the new key can be copied before anything
    /// depends on it. Replicas do not start with such a keyring.
    ///
    /// # Errors
    ///
    /// As [`seal_cluster`](Self::seal_cluster).
    pub async fn add_cluster_key(&self, to: Option<KeySource>) -> Result<(), ClusterError> {
        self.rewrite_cluster(Task::AddKey(to)).await.map(drop)
    }

    /// Writes all of it as it was before it was sealed. The keyring stays: copies of what was sealed need it.
    ///
    /// # Errors
    ///
    /// As [`seal_cluster`](Self::seal_cluster).
    pub async fn unseal_cluster(&self) -> Result<Rewritten, ClusterError> {
        self.rewrite_cluster(Task::Unseal).await
    }

    async fn rewrite_cluster(&self, task: Task) -> Result<Rewritten, ClusterError> {
        let begun = Work::begin(self, &task).await?;
        let Some(mut work) = begun else { return Ok(Rewritten::default()) };
        let done = match task {
            Task::Seal => work.seal().await,
            Task::Rekey(to) => work.rekey(to).await,
            Task::AddKey(to) => work.add_key(to).await.map(|()| Rewritten::default()),
            Task::Unseal => work.unseal().await,
        };
        work.conversion.close().await;
        done
    }
}

/// What is to be done with all that replicas share, and with the keyring.
enum Task {
    Seal,
    /// A new key, and perhaps another secret of the keyring.
    Rekey(Option<KeySource>),
    AddKey(Option<KeySource>),
    Unseal,
}

fn failed(error: AtRestError) -> ClusterError {
    SharedLinkError::from(error).into()
}

fn rewritten(Converted { links, payloads }: Converted) -> Rewritten {
    Rewritten { links, payloads, older_keys: 0 }
}

/// The right to write anew what is in the databases, and how it is to be sealed.
struct Work<'a> {
    settings: &'a AtRest,
    conversion: Conversion,
}

impl<'a> Work<'a> {
    /// Returns `None` for a service without databases.
    async fn begin(config: &'a ServiceConfig, task: &Task) -> Result<Option<Self>, ClusterError> {
        let Some(cluster) = config.cluster() else { return Ok(None) };
        let settings = config.at_rest().ok_or_else(|| failed(AtRestError::Sources(0)))?;
        if settings.keyring().exists() {
            draft::check_owner(settings.keyring()).map_err(|error| failed(error.into()))?;
        }
        let store = cluster.of(config)?;
        if let Task::Seal = task {
            // Or nothing in the databases would name the key before the first replica starts.
            paddington_store_postgres::migrate(&store).await?;
        }
        let conversion = Conversion::begin(&store).await?;
        Ok(Some(Self { settings, conversion }))
    }

    async fn seal(&mut self) -> Result<Rewritten, ClusterError> {
        self.goes_on_with("seal")?;
        let was_plain = self.was_plain(true).await?;
        let settings = self.settings;
        let mut keyring = match Keyring::open(settings).map_err(failed)? {
            Some(keyring) => {
                self.look(&keyring, was_plain).await?;
                keyring
            }
            None if was_plain && !self.names_key() => {
                let keyring = Keyring::generate(settings).map_err(failed)?;
                self.look(&keyring, was_plain).await?;
                keyring.write_first(settings).map_err(failed)?;
                keyring
            }
            // The first replica has made a key, which is lost, and nothing was ever sealed under it.
            None if self.conversion.interrupted().is_none() && self.conversion.is_new().await? => {
                Keyring::create(settings).map_err(failed)?
            }
            None => return Err(failed(settings.lost())),
        };
        self.rewrite_and_forget(&mut keyring, settings, was_plain).await
    }

    async fn rekey(&mut self, to: Option<KeySource>) -> Result<Rewritten, ClusterError> {
        let (mut keyring, was_plain) = self.with_new_key(to.clone()).await?;
        let settings = self.settings.with_source(to);
        self.rewrite_and_forget(&mut keyring, &settings, was_plain).await
    }

    async fn add_key(&self, to: Option<KeySource>) -> Result<(), ClusterError> {
        if self.conversion.interrupted().is_some() {
            return Err(failed(AtRestError::Interrupted { command: "seal" }));
        }
        self.with_new_key(to).await.map(drop)
    }

    /// Adds a key to the keyring, unless it has one under which everything is to be sealed already, and writes it under
    /// the secret. Returns whether what is there may be not sealed.
    async fn with_new_key(&self, to: Option<KeySource>) -> Result<(Keyring, bool), ClusterError> {
        self.goes_on_with("seal")?;
        let was_plain = self.was_plain(false).await?;
        let is_interrupted = self.conversion.interrupted().is_some();
        if was_plain && !is_interrupted {
            return Err(failed(AtRestError::NotSealed));
        }
        let mut keyring = self.settings.open().map_err(failed)?;
        self.look(&keyring, was_plain).await?;
        let is_other = to.as_ref().is_some_and(|to| to != self.settings.source());
        let settings = self.settings.with_source(to);
        if !is_interrupted && keyring.ids().len() == 1 {
            keyring.add_key(&settings).map_err(failed)?;
        } else if is_other {
            keyring.reseal(&settings).map_err(failed)?;
        }
        Ok((keyring, was_plain))
    }

    async fn unseal(&mut self) -> Result<Rewritten, ClusterError> {
        self.goes_on_with("unseal")?;
        let was_plain = self.was_plain(false).await?;
        if was_plain && !self.names_key() {
            return Ok(Rewritten::default());
        }
        let keyring = self.settings.open().map_err(failed)?;
        self.look(&keyring, was_plain).await?;
        let change = Change { keyring: &keyring, may_be_plain: was_plain, aim: Aim::Unseal };
        let done = self.conversion.convert(Seal::Plain, was_plain, &change).await?;
        self.conversion.finish(Seal::Plain).await?;
        Ok(rewritten(done))
    }

    /// Fails if something was interrupted that only the other command ends.
    fn goes_on_with(&self, command: &str) -> Result<(), ClusterError> {
        let ends_with = self.conversion.interrupted().map(|(to, _)| match to {
            Seal::Plain => "unseal",
            Seal::Key(_) => "seal",
        });
        match ends_with {
            Some(other) if other != command => {
                Err(failed(AtRestError::Interrupted { command: other }))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether what is in some database is not sealed: `otherwise` if neither a database nor a link tells.
    async fn was_plain(&self, otherwise: bool) -> Result<bool, ClusterError> {
        if let Some((_, was_plain)) = self.conversion.interrupted() {
            return Ok(was_plain);
        }
        if self.conversion.seals().next().is_some() {
            return Ok(self.conversion.seals().any(|seal| seal == Seal::Plain));
        }
        let Some(text) = self.conversion.any_link().await? else { return Ok(otherwise) };
        let link = file::parse::<LinkText>(Path::new("a link in the database"), &text);
        let link = link.map_err(SharedLinkError::from)?;
        Ok(matches!(link, LinkText::Plain(_)))
    }

    /// Returns whether some database says that it is sealed, or is about to be: the key cannot be made anew.
    fn names_key(&self) -> bool {
        let to = self.conversion.interrupted().map(|(to, _)| to);
        self.conversion.seals().chain(to).any(|seal| seal != Seal::Plain)
    }

    /// Checks that the keyring fits, and that everything can be opened, before anything is changed.
    async fn look(&self, keyring: &Keyring, may_be_plain: bool) -> Result<(), ClusterError> {
        let look = Change { keyring, may_be_plain, aim: Aim::Look };
        let before = self.conversion.seals().try_for_each(|seal| match seal {
            Seal::Key(key) => keyring.key(key).map(drop),
            Seal::Plain => Ok(()),
        });
        let Some((to, _)) = self.conversion.interrupted() else {
            before.map_err(failed)?;
            return Ok(self.conversion.look(&look).await?);
        };
        if let Seal::Key(key) = to {
            keyring.key(key).map_err(failed)?;
        }
        if let Err(missing) = before {
            // Everything may be under the new key already, so that only the end of the conversion is missing.
            self.conversion.look(&look).await.map_err(|_| failed(missing))?;
        }
        Ok(())
    }

    /// Seals everything under the newest key. The others are forgotten once everything was seen to be under it.
    async fn rewrite_and_forget(
        &mut self,
        keyring: &mut Keyring,
        settings: &AtRest,
        was_plain: bool,
    ) -> Result<Rewritten, ClusterError> {
        let newest = keyring.newest().id();
        if let Some((Seal::Key(key), _)) = self.conversion.interrupted()
            && key != newest
        {
            let keyring = settings.keyring().to_owned();
            return Err(failed(AtRestError::OtherKey { key, keyring }));
        }
        let to = Seal::Key(newest);
        let change = Change { keyring: &*keyring, may_be_plain: was_plain, aim: Aim::Seal };
        let done = self.conversion.convert(to, was_plain, &change).await?;
        let only = keyring.of_newest();
        let look = Change { keyring: &only, may_be_plain: false, aim: Aim::Look };
        self.conversion.look(&look).await?;
        // A database that goes back to the middle of this, such as by a failover, needs both keys.
        keyring.keep_copy(settings).map_err(failed)?;
        self.conversion.finish(to).await?;
        keyring.forget_others(settings).map_err(failed)?;
        Ok(rewritten(done))
    }
}

/// What becomes of what can be opened.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// It stays as it is.
    Look,
    /// It is sealed under the newest key.
    Seal,
    /// It is not sealed any more.
    Unseal,
}

/// Opens everything under any key of a keyring, and writes it anew.
struct Change<'a> {
    keyring: &'a Keyring,
    may_be_plain: bool,
    aim: Aim,
}

impl Change<'_> {
    fn text(&self, peer: &PeerName, text: &str) -> Result<Zeroizing<String>, FileError> {
        let (place, newest) = (place(peer), self.keyring.newest());
        let (link, key) = match file::parse(&place, text)? {
            LinkText::Sealed(link) => (link.open(&place, self.keyring)?, link.key()),
            LinkText::Plain(link) if self.may_be_plain => (*link, None),
            LinkText::Plain(_) => return Err(at_rest(&place, AtRestError::NotSealed)),
        };
        match self.aim {
            Aim::Seal if key != Some(newest.id()) => {
                file::text(&place, &SealedLink::seal(&place, &link, newest)?)
            }
            Aim::Unseal => file::text(&place, &link),
            Aim::Look | Aim::Seal => Ok(Zeroizing::new(text.to_owned())),
        }
    }

    fn payload(&self, at: Place, stored: &Payload) -> Result<Payload, String> {
        let written = self.opened(at, stored).and_then(|(payload, is_newest)| match self.aim {
            Aim::Seal if !is_newest => seal(self.keyring.newest(), at, &payload),
            Aim::Unseal => Ok(payload),
            Aim::Look | Aim::Seal => Ok(stored.clone()),
        });
        written.map_err(|error| with_causes(&error))
    }

    /// Opens a payload, and returns whether it was sealed under the newest key. Its own key is not known.
    fn opened(&self, at: Place, stored: &Payload) -> Result<(Payload, bool), AtRestError> {
        if stored.is_empty() && self.may_be_plain {
            return Ok((stored.clone(), false));
        }
        let mut keys = self.keyring.keys().iter().rev().enumerate();
        let opened = keys.find_map(|(age, key)| Some((open(key, at, stored).ok()?, age == 0)));
        let not_sealed = || self.may_be_plain.then(|| (stored.clone(), false));
        opened.or_else(not_sealed).ok_or(AtRestError::Changed)
    }
}

impl Convert for Change<'_> {
    fn link(&self, peer: &PeerName, text: &str) -> Result<Zeroizing<String>, String> {
        self.text(peer, text).map_err(|error| with_causes(&error))
    }

    fn message(&self, link: LinkId, payload: &Payload) -> Result<Payload, String> {
        self.payload(Place::Link(link), payload)
    }

    fn letter(&self, link: LinkId, id: MessageId, payload: &Payload) -> Result<Payload, String> {
        self.payload(Place::Letter(link, id), payload)
    }
}
