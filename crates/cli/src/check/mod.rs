//! Everything that is wrong with a configuration: with its file, its line, and what to do.

mod at_rest;
mod configuration;
mod document;
mod files;
mod keys;
mod links;
mod problem;
mod settings;
mod tls;
mod values;

pub(crate) use configuration::problems;
pub(crate) use problem::Problem;

#[cfg(test)]
mod tests;
