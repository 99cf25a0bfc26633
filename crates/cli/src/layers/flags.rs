//! Settings on the command line: `--set table.key=value`.

use super::Origin;
use super::given::{self, Given};
use crate::check::Problem;

/// The settings of a command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides(Vec<String>);

impl Overrides {
    /// Takes them as they are written.
    pub(crate) fn new(written: &[String]) -> Self {
        Self(written.to_vec())
    }

    /// Reads them, in their order.
    pub(super) fn read(&self) -> impl Iterator<Item = Result<Vec<Given>, Problem>> {
        self.0.iter().map(|written| one(written))
    }
}

fn one(written: &str) -> Result<Vec<Given>, Problem> {
    let remedy = "Write for example --set settings.handler_timeout=30s";
    let Some((key, value)) = written.split_once('=') else {
        // What is written may be a value without its key.
        let origin = Origin::Flag("…".to_owned());
        return Err(Problem::from(&origin, "there is no `=` after a key", remedy));
    };
    let (key, origin) = (key.trim(), Origin::Flag(key.trim().to_owned()));
    let path: Vec<_> = key.split('.').map(str::to_owned).collect();
    if path.iter().any(String::is_empty) {
        return Err(Problem::from(&origin, "this is no key", remedy));
    }
    given::read(path, value.trim(), &origin)
}
