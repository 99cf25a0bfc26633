//! The generations of a link's keys, and how they are renewed. Implements `docs/protocol.md` §3.6 and
//! §5.5.
//!
//! A [`KeyRing`] is what one side stores of a link's keys. It is a value: each change makes another
//! one, which counts from the moment at which it is durable. A [`Renewal`] is one session in which new
//! keys may be agreed on. Neither does IO or reads a clock.
//!
//! **Contract.** There is one ring in use for a link, and one change at a time: make the changed ring,
//! store it, use it. What a renewal has to say comes only out of a [`Draft`] that was stored.
//!
//! ```
//! use std::sync::Arc;
//!
//! use paddington_crypto::KeyPair;
//! use paddington_wire::keys::KeyRing;
//!
//! let keys = Arc::new(KeyPair::generate()?);
//! let now = 1_796_000_000; // s since 1970
//! let (hub, sensor) = ("hub".parse()?, "sensor".parse()?);
//! let ring = KeyRing::begin([&hub, &sensor], keys, 0, Some(now + 604_800), now);
//! let used = ring.used(0, now).expect("the invitation was not used before");
//! assert!(used.used(0, now).is_none(), "nothing changes");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod draft;
mod generation;
mod key_ring;
mod renewal;
mod stored;

pub use draft::{Draft, Settled, Storing};
pub use generation::{Burned, Expiry, Generation, Origin, Why};
pub(crate) use key_ring::{BURNED, GENERATIONS};
pub use key_ring::{KeyRing, KeyRingError, Role};
pub use renewal::{Pace, Renewal, Step};
pub use stored::{StoredBurned, StoredGeneration, StoredKeys};

/// The highest number that a generation can have: 2⁶³ − 1, so that every file format can hold it.
pub const LAST_GENERATION: u64 = u64::MAX >> 1;

/// A moment, in seconds since 1970.
pub type Seconds = u64;
