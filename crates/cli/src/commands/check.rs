//! `paddington check`: every problem of the configuration, and where each setting comes from.

use serde::Serialize;

use crate::args::Check;
use crate::check::{Effective, Problem, of_merged, origins};
use crate::failure::{Exit, Failure};
use crate::folder::CONFIG;
use crate::layers::{self, Overrides};
use crate::output::Output;

#[derive(Serialize)]
struct Found {
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Vec<Effective>>,
    problems: Vec<Problem>,
}

pub(crate) fn run(args: &Check, output: Output) -> Result<(), Failure> {
    let found = match layers::read(&Overrides::new(&args.settings.set)) {
        Ok(merged) => {
            Found { settings: args.origin.then(|| origins(&merged)), problems: of_merged(&merged) }
        }
        Err(problems) => Found { settings: None, problems },
    };
    output.print(&found, text)?;
    match found.problems.len() {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::No, "there is a problem")),
        count => Err(Failure::new(Exit::No, format!("there are {count} problems"))),
    }
}

fn text(found: &Found) -> String {
    let settings = found.settings.iter().flatten().map(ToString::to_string);
    let problems = found.problems.iter().map(ToString::to_string);
    let mut lines: Vec<_> = settings.chain(problems).collect();
    if lines.is_empty() {
        lines.push(format!("{CONFIG} has no problem"));
    }
    lines.join("\n")
}
