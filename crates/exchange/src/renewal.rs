//! Where a dialer looks for a newer invitation.

use std::fmt;

use paddington_transport::Renewed;

/// A place where invitations are renewed, like the file from which one was read.
pub trait Renewal: fmt::Debug + Send + Sync {
    /// Returns the invitation that is there now, if it differs from the one that was seen last.
    fn renewed(&self) -> Option<Renewed>;
}
