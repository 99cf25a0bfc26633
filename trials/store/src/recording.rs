//! The changes that a process makes to the files of a folder, recorded with `strace`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// One change, or a line that was printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file was made.
    Create(String),
    /// Bytes were written.
    Write(String, u64, Vec<u8>),
    /// A file was cut or extended.
    Truncate(String, u64),
    /// A file was synced.
    Sync(String),
    /// The folder was synced, and so the names in it.
    SyncFolder,
    /// A name was removed.
    Unlink(String),
    /// The process has printed a line.
    Said(String),
}

/// Returns whether `strace` is installed and may trace.
#[must_use]
pub fn is_possible() -> bool {
    let tried = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

const CALLS: &str = "trace=open,openat,creat,close,dup,dup2,dup3,write,pwrite64,writev,pwritev,\
                     pwritev2,lseek,truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,\
                     unlink,unlinkat,rename,renameat,renameat2,link,linkat,mmap";

/// Runs a program to its end and records what it does to the files in `folder`.
///
/// # Errors
///
/// If the program fails: what it printed.
pub fn record(folder: &Path, program: &Path, arguments: &[&str]) -> Result<Vec<Event>, String> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut reader = Reader::new(folder);
    let output = Command::new("strace")
        .env("RUST_BACKTRACE", "0")
        .args(["-f", "--seccomp-bpf", "-qq", "-xx", "-s", "16777216", "-e", "signal=none"])
        .args(["-e", CALLS, "-o"])
        .arg(log.path())
        .arg(program)
        .args(arguments)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = fs::read_to_string(log.path()).unwrap();
    for line in text.lines() {
        reader.line(line);
    }
    Ok(reader.events)
}

/// Reads the lines of `strace`.
struct Reader {
    folder: String,
    /// Calls that were interrupted by those of another thread, by thread.
    begun: HashMap<String, String>,
    /// The names of open files by descriptor, [`FOLDER`] for the folder itself.
    open: HashMap<i64, String>,
    names: HashSet<String>,
    events: Vec<Event>,
}

/// Stands for the folder itself among the names of its files.
const FOLDER: &str = "";

impl Reader {
    fn new(folder: &Path) -> Self {
        let names = fs::read_dir(folder).unwrap();
        Self {
            folder: folder.canonicalize().unwrap().to_str().unwrap().to_owned(),
            begun: HashMap::new(),
            open: HashMap::new(),
            names: names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect(),
            events: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else { return };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            self.begun.insert(thread.to_owned(), begun.trim_end().to_owned());
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let (_, rest) = rest.split_once("resumed>").unwrap();
            let begun = self.begun.remove(thread).unwrap();
            self.call(&format!("{begun}{rest}"));
        } else {
            self.call(call);
        }
    }

    fn call(&mut self, call: &str) {
        let Some((call, result)) = call.rsplit_once(" = ") else { return };
        let Some((name, rest)) = call.split_once('(') else { return };
        let rest = rest.trim_end().trim_end_matches(')');
        let result = result.split_whitespace().next().unwrap_or("-1");
        let Ok(result) = result.parse::<i64>() else { return };
        if result < 0 {
            return;
        }
        let words = |at: usize| rest.split(',').nth(at).unwrap_or("").trim();
        let file = |open: &HashMap<i64, String>, at: usize| {
            words(at).parse().ok().and_then(|number: i64| open.get(&number).cloned())
        };
        match name {
            "open" | "openat" | "creat" => self.opened(&quoted(rest), rest, result),
            "close" => drop(words(0).parse().map(|number: i64| self.open.remove(&number))),
            "unlink" | "unlinkat" => {
                if let Some(name) = self.name(&quoted(rest)) {
                    self.names.remove(&name);
                    self.events.push(Event::Unlink(name));
                }
            }
            "fsync" | "fdatasync" => match file(&self.open, 0) {
                Some(name) if name == FOLDER => self.events.push(Event::SyncFolder),
                Some(name) => self.events.push(Event::Sync(name)),
                None => (),
            },
            "ftruncate" => {
                if let Some(name) = file(&self.open, 0) {
                    let len = number_after_comma(rest);
                    self.events.push(Event::Truncate(name, len));
                }
            }
            "pwrite64" => {
                if let Some(name) = file(&self.open, 0) {
                    let offset = number_after_comma(rest);
                    let mut bytes = quoted(rest);
                    bytes.truncate(usize::try_from(result).unwrap());
                    self.events.push(Event::Write(name, offset, bytes));
                }
            }
            "write" if words(0) == "1" => {
                let line = String::from_utf8(quoted(rest)).unwrap();
                self.events.push(Event::Said(line.trim_end().to_owned()));
            }
            "mmap" => {
                let number = rest.split(',').nth(4).unwrap_or("").trim().parse::<i64>();
                let mapped = number.ok().and_then(|number| self.open.get(&number));
                assert!(mapped.is_none(), "a file of the store is mapped");
            }
            _ => assert!(file(&self.open, 0).is_none(), "{name} is not understood: {rest:.80}"),
        }
    }

    fn opened(&mut self, path: &[u8], rest: &str, descriptor: i64) {
        self.open.remove(&descriptor);
        let Some(name) = self.name(path) else { return };
        if name != FOLDER && rest.contains("O_CREAT") && self.names.insert(name.clone()) {
            self.events.push(Event::Create(name.clone()));
        }
        assert!(!rest.contains("O_TRUNC"), "{name} is truncated when it is opened");
        self.open.insert(descriptor, name);
    }

    /// The name of a path in the folder.
    fn name(&self, path: &[u8]) -> Option<String> {
        let path = std::str::from_utf8(path).ok()?.strip_prefix(&self.folder)?;
        // Nothing is stored in the reserve.
        let path = Some(path).filter(|path| !path.ends_with("-reserve"))?;
        Some(path.trim_start_matches('/').to_owned())
    }
}

/// The bytes between the first two quotes.
fn quoted(rest: &str) -> Vec<u8> {
    let text = rest.split('"').nth(1).unwrap_or("");
    let digits = text.split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

/// The number after the last comma.
fn number_after_comma(rest: &str) -> u64 {
    rest.rsplit(',').next().unwrap_or("").trim().parse().unwrap()
}
