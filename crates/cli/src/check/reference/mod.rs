//! Makes `docs/configuration.md` from the types of the configuration: their fields and comments, their
//! defaults, and the bounds that they are found to have.

mod bounds;
mod fields;
mod page;
