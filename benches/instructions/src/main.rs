//! Counts instructions and compares them with a record: `paddington-instructions [--write] RECORD`
//! writes the record anew with `--write`. The program starts itself as the process that is counted:
//! `paddington-instructions count WORK BYTES TIMES`.

mod record;

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["count", work, size, times] => {
            paddington_instructions::count(work, size.parse()?, times.parse()?)
        }
        ["--write", file] => record::check(Path::new(file), true),
        [file] => record::check(Path::new(file), false),
        _ => bail!("usage: paddington-instructions [--write] RECORD"),
    }
}

/// Prints a line on standard output.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
