//! `paddington doctor`: why a link does not come up, and what to do. `docs/doctor.md` has the codes.

mod authority;
mod client_side;
mod cluster;
mod command;
mod disk;
mod evidence;
mod local;
mod port;
mod processor;
mod refusals;
mod report;
mod request;
mod server_side;

pub(crate) use command::run;
