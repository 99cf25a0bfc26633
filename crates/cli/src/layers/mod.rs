//! The configuration of a service in layers: `service.toml`, the files in `conf.d`, the environment, and
//! `--set`. Each overrides those before it, key by key. `docs/operate.md` explains it to users.

mod environment;
mod flags;
mod given;
mod load;
mod merged;
mod origin;
mod source;

pub(crate) use environment::strays;
pub(crate) use flags::Overrides;
pub(crate) use load::{load, operation, part, read, service};
pub(crate) use merged::Merged;
pub(crate) use origin::Origin;
