//! Everything in the databases of a service whose links and payloads are sealed, sealed anew, or not any more.
//!
//! No replica runs meanwhile: each database is held (`held.rs`). After an interruption it goes on where it was, and
//! replicas do not start before it has ended.

use std::fmt;

use zeroize::Zeroizing;

use crate::config::PostgresConfig;
use crate::convert::{Convert, Converted, Pass};
use crate::error::ConvertError;
use crate::held::Held;
use crate::seal::{Mark, Seal};

/// The right to convert everything in the databases of a service: as long as it is held, no replica runs, and none
/// starts. If it is dropped before [`finish`](Self::finish), none starts until another one has gone on.
pub struct Conversion {
    databases: Vec<Held>,
}

impl Conversion {
    /// Waits a few seconds for the sessions of replicas that are about to end. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`ConvertError::InUse`] if a replica runs, or else [`ConvertError::Open`] if a database cannot be used, or the list
    /// of databases is another one than that of the replicas.
    pub async fn begin(config: &PostgresConfig) -> Result<Self, ConvertError> {
        let mut databases = Vec::new();
        for (at, target) in config.targets()?.into_iter().enumerate() {
            databases.push(Held::new(config, target, at).await?);
        }
        Ok(Self { databases })
    }

    /// Returns under what everything is sealed, for each database that says so. They differ where the end of a conversion
    /// was interrupted, or where one of them is from a backup.
    pub fn seals(&self) -> impl Iterator<Item = Seal> {
        self.marks().filter_map(|mark| mark.seal)
    }

    /// Returns what a conversion that was interrupted leads to, and whether what it has not reached is not sealed.
    #[must_use]
    pub fn interrupted(&self) -> Option<(Seal, bool)> {
        self.marks().find_map(|mark| Some((mark.converting?, mark.was_plain)))
    }

    /// Returns whether nothing was ever kept in any database, so that no key is needed that is lost.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if a database cannot be read.
    pub async fn is_new(&self) -> Result<bool, ConvertError> {
        for held in self.databases.iter().filter(|held| held.mark().is_some()) {
            if !held.is_new().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the state of some link, if there is one.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if the database cannot be read.
    pub async fn any_link(&self) -> Result<Option<Zeroizing<String>>, ConvertError> {
        match self.databases.iter().find(|held| held.mark().is_some()) {
            Some(held) => held.any_link().await,
            None => Ok(None),
        }
    }

    /// Lets everything be looked at, also what a conversion that was interrupted has converted. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if a database cannot be read, or something cannot be opened.
    pub async fn look(&self, convert: &dyn Convert) -> Result<(), ConvertError> {
        for held in self.databases.iter().filter(|held| held.mark().is_some()) {
            Pass { held, convert, writes: false }.run().await?;
        }
        Ok(())
    }

    /// Converts everything that is not yet as it is to be, and goes on with a conversion to the same seal that was
    /// interrupted. `was_plain` is whether what is there is not sealed. Requests are removed: those who have asked have
    /// ended.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if something could not be converted. What was is written down, and replicas do not start.
    pub async fn convert(
        &mut self,
        to: Seal,
        was_plain: bool,
        convert: &dyn Convert,
    ) -> Result<Converted, ConvertError> {
        // All of them are marked first: none is finished before all are converted.
        for held in &mut self.databases {
            held.begin(to, was_plain).await?;
        }
        let mut converted = Converted::default();
        for held in &self.databases {
            if held.mark().is_some_and(|mark| mark.converting == Some(to)) {
                let pass = Pass { held, convert, writes: true };
                let Converted { links, payloads } = pass.run().await?;
                converted.links += links;
                converted.payloads += payloads;
            }
        }
        Ok(converted)
    }

    /// Says that everything is converted: replicas that seal like that may start.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if a database does not answer.
    pub async fn finish(&mut self, to: Seal) -> Result<(), ConvertError> {
        for held in &mut self.databases {
            held.finish(to).await?;
        }
        Ok(())
    }

    /// Gives the right up. Where it is dropped instead, the databases notice that a moment later.
    pub async fn close(self) {
        for held in &self.databases {
            held.release().await;
        }
    }

    fn marks(&self) -> impl Iterator<Item = Mark> {
        self.databases.iter().filter_map(Held::mark)
    }
}

impl fmt::Debug for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversion")
            .field("databases", &self.databases.len())
            .field("seals", &self.seals().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
