//! Completions for shells, and manual pages, from the definitions of the command line.

use std::fs;
use std::io;

use clap::CommandFactory;

use crate::args::{Arguments, Completions, Man};
use crate::failure::{Exit, Failure};
use crate::output::{note, write_raw};

pub(crate) fn completions(args: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "paddington", &mut script);
    write_raw(&script)
}

pub(crate) fn man(args: &Man) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let folder = args.folder.display();
        Failure::new(Exit::Files, format!("the pages cannot be written into {folder}: {error}"))
    };
    fs::create_dir_all(&args.folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), &args.folder).map_err(failed)?;
    note(&format!("the manual pages are in {}", args.folder.display()));
    Ok(())
}
