//! How much was sealed anew.

/// How much was written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Number of links, in files or in a database.
    pub links: u64,
    /// Number of messages and dead letters, in the outbox or in databases.
    pub payloads: u64,
    /// Number of older keys that stay in the keyring, because the links or the outbox that the configuration
    /// names were not there: they may be sealed under one of them.
    pub older_keys: u64,
}
