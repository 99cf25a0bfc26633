//! The command `paddington`: links between services, from a shell.

mod access;
mod args;
mod certificate;
mod check;
mod commands;
mod content;
mod core_dumps;
mod doctor;
mod failure;
mod folder;
mod hosts;
mod layers;
mod open_files;
mod output;
mod passphrase;
mod run;
mod stored;
mod view;
mod watch;
mod words;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, OutboxAction};
use failure::{Exit, Failure};
use output::{Output, note};

#[tokio::main]
async fn main() -> ExitCode {
    core_dumps::forbid();
    open_files::raise();
    let arguments = Arguments::parse();
    match carry_out(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.is_told() {
                note(&format!("error: {failure}"));
            }
            failure.code()
        }
    }
}

async fn carry_out(arguments: Arguments) -> Result<(), Failure> {
    let output = Output::new(arguments.json);
    let chosen = arguments.folder.as_deref();
    match arguments.command {
        Command::Init(args) => commands::init::run(&args, chosen, output),
        Command::Completions(args) => commands::pages::completions(&args),
        Command::Man(args) => commands::pages::man(&args),
        command => {
            let here = env::current_dir().map_err(|error| {
                Failure::new(Exit::Files, format!("there is no current folder: {error}"))
            })?;
            let command = command.with_absolute_files()?;
            folder::enter(chosen)?;
            in_folder(command, &here, output).await
        }
    }
}

/// Carries out a command in the folder of a service, which was called `here`.
async fn in_folder(command: Command, here: &Path, output: Output) -> Result<(), Failure> {
    use commands::{
        at_rest, check, invite, join, letters, messages, migrate, outbox, peers, range, reload,
        remove, status,
    };
    match command {
        Command::Invite(args) => invite::invite(&args, here, output).await,
        Command::Join(args) => join::run(&args, output).await,
        Command::Peers => peers::list(output).await,
        Command::Show(args) => peers::show(&args, output).await,
        Command::Remove(args) => remove::run(&args, output).await,
        Command::Range(args) => range::run(&args, output).await,
        Command::Renew(args) => invite::renew(&args, here, output).await,
        Command::Purge(args) => outbox::purge(&args, output).await,
        Command::AtRest(args) => at_rest::run(args.action, output).await,
        Command::Check(args) => check::run(&args, output),
        Command::Migrate(args) => migrate::run(&args, output).await,
        Command::Reload => reload::run(output).await,
        Command::Run(args) => run::run(&args).await,
        Command::Status(args) => status::run(&args, output).await,
        Command::Send(args) => messages::send(&args, output).await,
        Command::Request(args) => messages::request(&args, output).await,
        Command::Listen(args) => messages::listen(&args, output).await,
        Command::Ping(args) => messages::ping(&args, output).await,
        Command::DeadLetters(args) => letters::run(&args, output).await,
        Command::Outbox(args) => match args.action {
            OutboxAction::List => outbox::list(output).await,
            OutboxAction::Purge(args) => outbox::purge(&args, output).await,
        },
        Command::Doctor(args) => doctor::run(&args, output).await,
        // These need no folder, and were carried out.
        Command::Init(_) | Command::Completions(_) | Command::Man(_) => Ok(()),
    }
}
