//! Passphrases: asked for on a terminal, or read from a file; never taken from the command line.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};

/// Returns the passphrase that the flags ask for: from the file, or from a person.
pub(crate) fn chosen(
    ask: bool,
    file: Option<&Path>,
    twice: bool,
) -> Result<Option<Zeroizing<String>>, Failure> {
    match file {
        Some(file) => read(file).map(Some),
        None if ask => from_terminal(twice).map(Some),
        None => Ok(None),
    }
}

fn read(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
        Failure::new(Exit::Files, format!("{} cannot be read: {error}", file.display()))
    })?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn from_terminal(twice: bool) -> Result<Zeroizing<String>, Failure> {
    let first = line("Passphrase: ")?;
    if twice && *line("The same again: ")? != *first {
        return Err(Failure::new(Exit::No, "the two passphrases differ"));
    }
    Ok(first)
}

/// Asks for a line, which the terminal does not show.
fn line(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| {
        Failure::new(Exit::Files, format!("the passphrase cannot be read: {error}"))
            .with_remedy("Give it in a file: --passphrase-file FILE")
    };
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(failed);
    }
    io::stderr().write_all(prompt.as_bytes()).map_err(failed)?;
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut text).map_err(failed)?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}
