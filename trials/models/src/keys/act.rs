//! What may happen to the keys of a link, and how often.

/// How often what may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Connections that are opened.
    pub dials: u8,
    /// Requests for new keys.
    pub asks: u8,
    /// Invitations that the server's operator writes.
    pub invites: u8,
    /// Lost connections, failed stores, crashes and refusals for no reason.
    pub faults: u8,
    /// Copies of a list that are restored.
    pub restores: u8,
    /// Whether it begins with keys in use, and others that were agreed on and not used, instead of an
    /// invitation.
    pub agreed: bool,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The client connects with its next keys.
    Dial(Dialled),
    /// A side loses its connection.
    Cut(usize),
    /// A frame arrives at a side.
    Arrive(usize),
    /// What a side stores is durable.
    Stored(usize),
    /// What a side stores has failed.
    Failed(usize),
    /// A side crashes; what it was storing is durable or not.
    Crash(usize, bool),
    /// A side asks for new keys.
    Ask(usize),
    /// The server's operator writes an invitation.
    Invite,
    /// The client gets the invitation.
    Accept,
    /// A side goes on with its last list but one.
    Restore(usize),
}

/// How a connection attempt ends, if the server knows the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// Both READYs arrive.
    Established,
    /// The client's READY is lost.
    Half,
    /// The server hangs up for another reason.
    HungUp,
}
