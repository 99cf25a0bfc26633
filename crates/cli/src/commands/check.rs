//! `paddington check`: every problem of the configuration.

use serde::Serialize;

use crate::check::{Problem, problems};
use crate::failure::{Exit, Failure};
use crate::folder::CONFIG;
use crate::output::Output;

#[derive(Serialize)]
struct Found {
    problems: Vec<Problem>,
}

pub(crate) fn run(output: Output) -> Result<(), Failure> {
    let found = Found { problems: problems() };
    output.print(&found, |found| match found.problems.as_slice() {
        [] => format!("{CONFIG} has no problem"),
        problems => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    })?;
    match found.problems.len() {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::No, "there is a problem")),
        count => Err(Failure::new(Exit::No, format!("there are {count} problems"))),
    }
}
