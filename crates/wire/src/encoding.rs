//! The two wire encodings.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The encoding of a link. The invitation pins it on both sides; nothing on the wire can change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Encoding {
    /// Binary, forward secret, replay-proof, ordered, resumable (`docs/protocol.md` §1–§10).
    #[default]
    Sealed,
    /// The original's text encoding (`docs/protocol.md` §11): it cannot acknowledge or resume, and
    /// does not resist replay, reflection or a later leak of the keys.
    Hex,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sealed => "sealed",
            Self::Hex => "hex",
        })
    }
}
