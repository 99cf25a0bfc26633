//! The clients that may have sent a HELLO, with all keys that may have made it. Implements the choice of
//! candidates in `docs/protocol.md` §3.4 and §3.6.

use std::sync::Arc;

use crate::HandshakeError;
use crate::keys::{KeyRing, Seconds, Why};
use crate::sealed::{self, Authenticated, HintKey, Hints, Responder};

/// The clients of the `sealed` encoding that may have opened a connection: the secrets to try, and what
/// recognises keys that are worthless.
#[derive(Debug)]
pub struct SealedCandidates<C> {
    valid: Vec<(Keys<C>, Arc<sealed::Credentials>)>,
    worthless: Vec<(Keys<C>, Why, Recognises)>,
}

/// One generation of a client's keys.
#[derive(Debug)]
struct Keys<C> {
    client: Arc<C>,
    generation: u64,
}

/// What recognises keys that are worthless.
#[derive(Debug)]
enum Recognises {
    Expired(Arc<sealed::Credentials>),
    Burned(HintKey),
}

/// A client whose HELLO opened.
#[derive(Debug)]
pub struct Recognised<C> {
    /// The client, as it was when it was looked for.
    pub client: Arc<C>,
    /// The generation of the keys that it used; 0 if they have none.
    pub generation: u64,
    /// The next step of the handshake.
    pub authenticated: Authenticated,
}

/// Keys that are no longer valid, with which somebody made a HELLO.
#[derive(Debug)]
pub struct Worthless<C> {
    /// The client whose keys they were.
    pub client: Arc<C>,
    /// Their generation.
    pub generation: u64,
    /// Why they are not valid.
    pub why: Why,
}

/// The refusal of a HELLO. Whoever sent it learns none of this.
#[derive(Debug)]
pub struct Unrecognised<C> {
    /// Why it was refused.
    pub error: HandshakeError,
    /// The keys that made its hint, if they are known.
    pub worthless: Option<Worthless<C>>,
}

impl Recognises {
    fn hints(&self) -> Hints<'_> {
        match self {
            Self::Expired(secrets) => secrets.hints(),
            Self::Burned(key) => key.hints(),
        }
    }
}

impl<C> SealedCandidates<C> {
    pub(crate) fn new() -> Self {
        Self { valid: Vec::new(), worthless: Vec::new() }
    }

    /// Adds a client whose keys have no generations.
    pub(crate) fn add(&mut self, client: &Arc<C>, secrets: &Arc<sealed::Credentials>) {
        let keys = Keys { client: Arc::clone(client), generation: 0 };
        self.valid.push((keys, Arc::clone(secrets)));
    }

    /// Adds a client with all generations of its keys.
    pub(crate) fn add_ring(&mut self, client: &Arc<C>, ring: &KeyRing, now: Seconds) {
        let keys = |generation| Keys { client: Arc::clone(client), generation };
        for it in ring.generations() {
            let (keys, secrets) = (keys(it.number()), it.credentials());
            if it.expiry().has_passed(now) {
                let recognises = Recognises::Expired(Arc::clone(secrets));
                self.worthless.push((keys, Why::Expired, recognises));
            } else {
                self.valid.push((keys, Arc::clone(secrets)));
            }
        }
        for it in ring.burned() {
            let recognises = Recognises::Burned(it.hints().clone());
            self.worthless.push((keys(it.number()), it.why(), recognises));
        }
    }

    /// Opens HELLO with the keys that made its hint (see [`Responder::authenticate_or_recognise`]).
    ///
    /// # Errors
    ///
    /// [`Unrecognised`] if anything is wrong with it.
    pub fn authenticate(
        &self,
        responder: Responder,
        hello: &[u8],
    ) -> Result<Recognised<C>, Unrecognised<C>> {
        let valid = self.valid.iter().map(|(_, secrets)| secrets);
        let worthless = self.worthless.iter().map(|(_, _, known)| known.hints());
        match responder.authenticate_or_recognise(hello, valid, worthless) {
            Ok(authenticated) => {
                let (keys, _) = &self.valid[authenticated.candidate()];
                let (client, generation) = (Arc::clone(&keys.client), keys.generation);
                Ok(Recognised { client, generation, authenticated })
            }
            Err(refused) => {
                let known = refused.recognised.and_then(|index| self.worthless.get(index));
                let worthless = known.map(|(keys, why, _)| Worthless {
                    client: Arc::clone(&keys.client),
                    generation: keys.generation,
                    why: *why,
                });
                Err(Unrecognised { error: refused.error, worthless })
            }
        }
    }

    /// Returns the clients whose keys are tried, in a fixed order: once for each generation.
    pub fn clients(&self) -> impl ExactSizeIterator<Item = &Arc<C>> {
        self.valid.iter().map(|(keys, _)| &keys.client)
    }

    /// Returns how many hints a refusal compares, before those of the decoy.
    #[must_use]
    pub fn hints(&self) -> usize {
        self.valid.len() + self.worthless.len()
    }

    /// Returns the secrets that are tried, in the same order.
    pub fn credentials(&self) -> impl ExactSizeIterator<Item = &Arc<sealed::Credentials>> {
        self.valid.iter().map(|(_, secrets)| secrets)
    }
}
