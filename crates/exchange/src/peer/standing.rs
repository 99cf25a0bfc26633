//! Whether a peer accepts messages, and what is still done for it.

/// Whether a peer accepts messages, and why not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does.
    #[default]
    Here,
    /// It is being removed, unless that fails.
    Leaving,
    /// It was removed.
    Removed,
    /// The exchange has ended, so that messages that wait are lost, or left in the store.
    Abandoned,
    /// This replica gives the link up. It accepts messages as every replica does.
    Yielding,
    /// The link is another replica's, or nobody's. Messages are accepted for whoever claims it.
    Away,
}
