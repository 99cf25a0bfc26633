//! How a client is invited.

use std::time::Duration;

use paddington_wire::Encoding;

/// How a client is invited. [`Encoding`] converts into it.
///
/// ```
/// use std::time::Duration;
///
/// use paddington::{InviteOptions, ServiceConfig};
///
/// # let folder = tempfile::tempdir()?;
/// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
/// hub.set_links(folder.path().join("links"))?;
/// let hour = InviteOptions { lifetime: Some(Duration::from_secs(3600)), ..Default::default() };
/// assert!(hub.add_client_with("sensor", "192.0.2.7", hour)?.expires().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InviteOptions {
    /// The encoding of the link; `hex` for a client that runs the original paddington.
    pub encoding: Encoding,
    /// How long the invitation is good for if it is not used; zero for ever, and `None` for as long as
    /// the setting `invitation_lifetime` says. It ends only where there is a folder of links.
    pub lifetime: Option<Duration>,
}

impl From<Encoding> for InviteOptions {
    fn from(encoding: Encoding) -> Self {
        Self { encoding, ..Self::default() }
    }
}
