//! Messages for a command: each starts a process, whose exit status decides.

use std::path::PathBuf;
use std::process::Stdio;

use bytes::Bytes;
use paddington::{AtRest, HandlerError, KeySource, Message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::program::{Program, find_program};
use crate::failure::{Exit, Failure};

/// How much of what a process complains is told, in bytes.
const COMPLAINT: usize = 1024;

/// A command that is started for each message.
#[derive(Debug)]
pub(super) struct Exec {
    program: PathBuf,
    arguments: Vec<String>,
    service: String,
    /// The longest reply, in bytes.
    longest: usize,
    /// The variable with the secret of what is sealed at rest.
    secret: Option<String>,
}

impl Exec {
    /// Keeps the secret of what is sealed at rest from the processes, if it is in the environment.
    pub(super) fn without_secret(mut self, at_rest: Option<&AtRest>) -> Self {
        if let Some(KeySource::Variable(name)) = at_rest.map(AtRest::source) {
            self.secret = Some(name.clone());
        }
        self
    }

    /// A line for the shell.
    pub(super) fn shell(line: &str, service: &str, longest: usize) -> Self {
        let arguments = vec!["-c".to_owned(), line.to_owned()];
        Self {
            program: "/bin/sh".into(),
            arguments,
            service: service.to_owned(),
            longest,
            secret: None,
        }
    }

    /// A command and its arguments, with no shell between.
    pub(super) fn command(
        words: &[String],
        service: &str,
        longest: usize,
    ) -> Result<Self, Failure> {
        let (command, arguments) = words
            .split_first()
            .ok_or_else(|| Failure::new(Exit::Files, "handler.exec names no command"))?;
        let program = find_program(command).ok_or_else(|| {
            Failure::new(Exit::Files, format!("there is no program {command:?} that can be run"))
                .with_remedy("Name its path in handler.exec, and make it executable.")
        })?;
        Ok(Self {
            program,
            arguments: arguments.to_vec(),
            service: service.to_owned(),
            longest,
            secret: None,
        })
    }

    fn start(&self, message: &Message) -> std::io::Result<Process> {
        let kind = if message.is_request() { "request" } else { "message" };
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("PADDINGTON_SERVICE", &self.service)
            .env("PADDINGTON_PEER", message.sender())
            .env("PADDINGTON_KIND", kind)
            .env("PADDINGTON_CONTENT", if message.is_bytes() { "bytes" } else { "text" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // What opens the service's keys is not the handler's.
        for name in self.secret.iter().map(String::as_str).chain(["CREDENTIALS_DIRECTORY"]) {
            command.env_remove(name);
        }
        match message.id() {
            Some(id) => command.env("PADDINGTON_ID", id.to_string()),
            None => command.env_remove("PADDINGTON_ID"),
        };
        match message.fence() {
            Some(fence) => command.env("PADDINGTON_FENCE", fence.to_string()),
            None => command.env_remove("PADDINGTON_FENCE"),
        };
        match message.time_left() {
            Some(left) => command.env("PADDINGTON_SECONDS_LEFT", left.as_secs_f64().to_string()),
            None => command.env_remove("PADDINGTON_SECONDS_LEFT"),
        };
        // In a group of its own, so that its children end with it.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn().map(Process)
    }
}

/// A process that ends, with its children, when nobody waits for it any more.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let group = rustix::process::Pid::from_raw(group);
            // It may have ended by itself.
            _ = group.map(|group| {
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
            });
        }
    }
}

impl Program for Exec {
    async fn call(&self, message: &Message) -> Result<Bytes, HandlerError> {
        let started = self.start(message);
        let mut process = started
            .map_err(|error| format!("{} cannot be started: {error}", self.program.display()))?;
        let child = &mut process.0;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err("the process has no pipes".into());
        };
        let feed = async move {
            // It need not read what it does not want to know.
            _ = stdin.write_all(message.bytes()).await;
            drop(stdin);
        };
        // A reply that is too long is read to its end, so that the process does not hang on it.
        let (reply, complaint, ()) =
            tokio::join!(head(stdout, self.longest + 1), head(stderr, COMPLAINT), feed);
        let status = child.wait().await?;
        if !status.success() {
            return Err(failed(status, &complaint).into());
        }
        if message.is_request() && reply.len() > self.longest {
            return Err(format!("its reply is longer than {} bytes", self.longest).into());
        }
        Ok(reply.into())
    }
}

/// Reads everything, and returns the first `most` bytes.
async fn head(mut pipe: impl AsyncRead + Unpin, most: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    // A pipe fails when the process ends, which its exit status tells.
    _ = (&mut pipe).take(limit).read_to_end(&mut kept).await;
    _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    kept
}

/// Tells how a process has ended, with its own words.
fn failed(status: std::process::ExitStatus, complaint: &[u8]) -> String {
    let words = String::from_utf8_lossy(complaint);
    match words.trim().lines().next() {
        None => format!("the command has failed ({status})"),
        Some(line) => format!("the command has failed ({status}): {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Exec {
        Exec::shell(line, "hub", 64)
    }

    async fn call(line: &str, payload: &str) -> Result<String, String> {
        let answer = shell(line).call(&Message::new("sensor", payload)).await;
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        answer.map(text).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_payload_is_the_input_and_the_output_is_the_answer() {
        assert_eq!(call("tr a-z A-Z", "warm").await.unwrap(), "WARM");
        let environment = call("echo $PADDINGTON_SERVICE $PADDINGTON_KIND $PADDINGTON_CONTENT", "");
        assert_eq!(environment.await.unwrap(), "hub message text\n");
    }

    #[tokio::test]
    async fn the_exit_status_decides_and_the_first_complaint_is_told() {
        let error = call("echo broken >&2; echo more >&2; exit 3", "x").await.unwrap_err();
        assert!(error.contains("exit status: 3") && error.ends_with("broken"), "{error}");
        let missing = Exec { program: "/nowhere".into(), ..shell("") };
        assert!(missing.call(&Message::new("sensor", "x")).await.is_err());
    }

    #[tokio::test]
    async fn a_process_that_reads_nothing_does_not_hang() {
        let long = "x".repeat(1024 * 1024);
        assert_eq!(call("true", &long).await.unwrap(), "");
        // More output than is kept is read and dropped.
        let kept = call("yes | head -c 300000", "").await.unwrap();
        assert_eq!(kept.len(), 65);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_call_that_nobody_waits_for_ends_the_process_and_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let name = pipe.display();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // The child holds the pipe open until it is killed.
        let exec = shell(&format!("sh -c 'echo up; exec sleep 1000' > {name} & wait"));
        let message = Message::new("sensor", "x");
        let (tell, told) = tokio::sync::oneshot::channel();
        let reader = std::thread::spawn(move || {
            let mut lines = std::io::BufReader::new(std::fs::File::open(pipe).unwrap());
            let mut line = String::new();
            std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
            tell.send(line).unwrap();
            std::io::Read::read_to_end(&mut lines, &mut Vec::new()).unwrap()
        });
        let mut call = Box::pin(exec.call(&message));
        tokio::select! {
            ended = &mut call => panic!("the command has ended: {ended:?}"),
            line = told => assert_eq!(line.unwrap(), "up\n"),
        }
        drop(call);
        assert_eq!(reader.join().unwrap(), 0, "nothing comes after that");
    }
}
