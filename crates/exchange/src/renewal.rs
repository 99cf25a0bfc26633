//! The source from which a dialer gets a newer invitation.

use std::fmt;

use paddington_transport::Renewed;

/// A source of newer invitations, such as the file that the first one was read from.
pub trait Renewal: fmt::Debug + Send + Sync {
    /// Returns the current invitation, if it differs from the last one seen. Keys with generations are
    /// those of the invitation alone.
    fn renewed(&self) -> Option<Renewed>;
}
