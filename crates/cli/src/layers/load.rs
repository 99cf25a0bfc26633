//! The layers of the service whose folder was entered, read and put together.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;

use paddington::{
    ConfigError, FileError, ServiceConfig, load_private, with_causes, without_values,
};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::flags::Overrides;
use super::source::Source;
use super::{Merged, environment};
use crate::check::{Problem, exposed, of_text};
use crate::failure::{Exit, Failure};
use crate::folder::{CONFIG, Operation};

/// The folder with further files of the configuration.
const FOLDER: &str = "conf.d";

/// Reads the configuration, with what the command line sets.
pub(crate) fn read(overrides: &Overrides) -> Result<Merged, Vec<Problem>> {
    let (mut files, mut given, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for file in [CONFIG.to_owned()].into_iter().chain(further_files().map_err(|it| vec![it])?) {
        match load_private(&file) {
            Ok(text) => files.push(Source::new(file, text)),
            Err(error) => problems.push(Problem::of(
                file,
                None,
                with_causes(&error),
                "Make it a readable file of UTF-8 text.",
            )),
        }
    }
    for setting in environment::read().into_iter().chain(overrides.read()) {
        match setting {
            Ok(setting) => given.extend(setting),
            Err(problem) => problems.push(problem),
        }
    }
    match Merged::of(&files, given) {
        Err(found) => Err([problems, found].concat()),
        Ok(_) if !problems.is_empty() => Err(problems),
        Ok(merged) => Ok(merged),
    }
}

/// Returns the files in the folder `conf.d`, in the order of their names.
fn further_files() -> Result<Vec<String>, Problem> {
    let unreadable = |error: io::Error| {
        Problem::of(
            FOLDER,
            None,
            format!("it cannot be read: {error}"),
            "Make it a folder that this user can read.",
        )
    };
    let entries = match fs::read_dir(FOLDER) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        let path = PathBuf::from(FOLDER).join(name);
        if path.extension() == Some(OsStr::new("toml")) && !is_hidden {
            files.push(path.display().to_string());
        }
    }
    files.sort();
    Ok(files)
}

/// Reads the configuration of the service.
pub(crate) fn service() -> Result<ServiceConfig, Failure> {
    load(&Overrides::default()).map(|(config, _)| config)
}

/// Reads the settings of the command itself.
pub(crate) fn operation() -> Result<Operation, Failure> {
    part()
}

/// Reads a part of the configuration.
pub(crate) fn part<T: DeserializeOwned>() -> Result<T, Failure> {
    read(&Overrides::default()).map_err(|problems| first(&problems))?.part()
}

/// Reads both, with what the command line sets, and warns of what is not refused.
pub(crate) fn load(overrides: &Overrides) -> Result<(ServiceConfig, Operation), Failure> {
    let merged = read(overrides).map_err(|problems| first(&problems))?;
    let (config, operation) = (merged.service()?, merged.part()?);
    let exposed = exposed(&merged, &config.settings().transport.outbound.proxy);
    let strays = environment::strays(config.at_rest());
    for Problem { file, what, remedy, .. } in exposed.into_iter().chain(strays) {
        warn!("{file}: {what}. {remedy}");
    }
    Ok((config, operation))
}

impl Merged {
    fn service(&self) -> Result<ServiceConfig, Failure> {
        ServiceConfig::from_toml(self.text()).map_err(|error| match self.problem(&error) {
            Some(problem) => told(&problem),
            None => Failure::from(error).with_remedy(ALL),
        })
    }

    /// Returns what the check says of an error in the text: it knows the place, and a remedy.
    fn problem(&self, error: &ConfigError) -> Option<Problem> {
        let line = match error {
            // The text has no path with an extension, as the files of links have.
            ConfigError::File(FileError::Malformed { path, line, .. }) => {
                path.extension().is_none().then_some(*line)?
            }
            ConfigError::Settings(_) | ConfigError::Name(_) | ConfigError::Url(_) => None,
            _ => return None,
        };
        let origin = line.map(|line| self.origin_of_line(line));
        let is_at = |problem: &Problem| {
            origin
                .as_ref()
                .is_some_and(|it| (it.file(), it.line()) == (problem.file.clone(), problem.line))
        };
        let mut problems = of_text(self);
        let is_it = |problem: &Problem| problem.what == with_causes(error) || is_at(problem);
        let place = problems.iter().position(is_it).unwrap_or(0);
        (place < problems.len()).then(|| problems.swap_remove(place))
    }

    fn part<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        toml::from_str(self.text()).map_err(|error| {
            let line = error.span().map(|span| {
                1 + self.text().bytes().take(span.start).filter(|&byte| byte == b'\n').count()
            });
            let place = line
                .map_or_else(|| CONFIG.to_owned(), |line| self.origin_of_line(line).to_string());
            Failure::new(Exit::Files, format!("{place}: {}", without_values(error.message())))
                .with_remedy(ALL)
        })
    }
}

const ALL: &str = "`paddington check` lists every problem of the configuration.";

fn first(problems: &[Problem]) -> Failure {
    problems.first().map_or_else(|| Failure::new(Exit::Files, CONFIG).with_remedy(ALL), told)
}

fn told(problem: &Problem) -> Failure {
    let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
    let cause = format!("{}{line}: {}", problem.file, problem.what);
    Failure::new(Exit::Files, cause).with_remedy(format!("{}\n  {ALL}", problem.remedy))
}
