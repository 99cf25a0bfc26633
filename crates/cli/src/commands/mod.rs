//! The commands.

pub(crate) mod at_rest;
pub(crate) mod check;
pub(crate) mod init;
pub(crate) mod invite;
pub(crate) mod join;
pub(crate) mod letters;
pub(crate) mod messages;
pub(crate) mod migrate;
pub(crate) mod outbox;
pub(crate) mod pages;
pub(crate) mod peers;
pub(crate) mod range;
pub(crate) mod reload;
pub(crate) mod remove;
pub(crate) mod status;
