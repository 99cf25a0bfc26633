//! The content of a message: text or bytes, from the command line and for it.

use std::fs;
use std::io::{self, Read};

use paddington_admin::model::Content;

use crate::failure::{Exit, Failure};

/// Reads what the command line says: text, `@FILE`, or `-` for the standard input. What is not text, or
/// is said to be bytes, is sent as bytes.
pub(crate) fn read(argument: &str, as_bytes: bool) -> Result<Content, Failure> {
    let bytes = match (argument, argument.strip_prefix('@')) {
        ("-", _) => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map_err(|error| {
                Failure::new(Exit::Files, format!("the standard input cannot be read: {error}"))
            })?;
            bytes
        }
        (_, Some(file)) => fs::read(file).map_err(|error| {
            Failure::new(Exit::Files, format!("{file} cannot be read: {error}"))
        })?,
        (text, None) => text.as_bytes().to_owned(),
    };
    Ok(Content::of(&bytes, as_bytes))
}

/// Returns the bytes of a content that the service has answered.
pub(crate) fn bytes(content: &Content) -> Result<Vec<u8>, Failure> {
    content
        .bytes()
        .map_err(|error| Failure::new(Exit::No, format!("the service answered no base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_everything_else_is_bytes() {
        assert_eq!(read("21.5 °C", false).unwrap().text.as_deref(), Some("21.5 °C"));
        assert_eq!(read("21.5", true).unwrap().base64.as_deref(), Some("MjEuNQ=="));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0xff, 0]).unwrap();
        let content = read(&format!("@{}", file.path().display()), false).unwrap();
        assert_eq!(bytes(&content).unwrap(), [0xff, 0]);
        assert!(read("@/nowhere", false).is_err());
    }
}
