//! `paddington run`: the service in the foreground, which hands messages to programs.

mod activation;
mod exec;
mod logs;
mod program;
mod reload;
mod service;
mod supervisor;
mod webhook;

pub(crate) use program::find_program;
pub(crate) use service::run;
pub(crate) use webhook::url as webhook_url;
