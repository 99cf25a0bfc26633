//! Programs that messages are handed to.

use std::path::{Path, PathBuf};
use std::{env, fs};

use bytes::Bytes;
use paddington::{Handler, HandlerError, Message, ReplyError};

/// The handler of a program that is called for each message.
pub(super) struct Calls<P>(pub(super) P);

/// A program that is called for each message.
pub(super) trait Program: Send + Sync + 'static {
    /// Hands it a message, and returns what it answers.
    fn call(&self, message: &Message) -> impl Future<Output = Result<Bytes, HandlerError>> + Send;
}

impl<P: Program> Handler for Calls<P> {
    async fn handle(&self, message: Message) -> Result<(), HandlerError> {
        if message.is_control() {
            return Ok(());
        }
        let answer = self.0.call(&message).await?;
        if message.is_request() {
            reply(&message, answer)?;
        }
        Ok(())
    }

    fn takes_bytes(&self) -> bool {
        true
    }
}

/// Replies with text where the answer is text.
fn reply(request: &Message, answer: Bytes) -> Result<(), ReplyError> {
    match String::from_utf8(answer.into()) {
        Ok(text) => request.reply(text),
        Err(error) => request.reply_bytes(error.into_bytes()),
    }
}

/// Returns the file of a program, as a shell would find it.
pub(crate) fn find_program(command: &str) -> Option<PathBuf> {
    if command.contains('/') {
        return Some(PathBuf::from(command)).filter(|path| is_executable(path));
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(command)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    #[cfg(unix)]
    let runs = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o111 != 0;
    #[cfg(not(unix))]
    let runs = true;
    metadata.is_file() && runs
}
