//! Everything that is wrong with a configuration: with its file, its line, and what to do.

mod at_rest;
mod configuration;
mod document;
mod files;
mod keys;
mod links;
mod origins;
mod problem;
mod settings;
mod tls;
mod urls;
mod values;

pub(crate) use configuration::{of_merged, of_text, problems};
pub(crate) use files::exposed_files as exposed;
pub(crate) use keys::known_paths;
pub(crate) use origins::{Effective, origins};
pub(crate) use problem::Problem;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
