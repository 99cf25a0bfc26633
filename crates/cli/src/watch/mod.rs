//! `paddington status --watch`: the service as it is, all the time. A full screen on a terminal, else a
//! plain stream of lines.

mod plain;
mod screen;
mod update;
mod watching;

pub(crate) use watching::run;
