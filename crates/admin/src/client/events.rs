//! Streams of server-sent events.

use std::collections::VecDeque;

use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::ClientError;
use super::connection::Connection;

/// The longest event, in bytes.
const LONGEST: usize = 64 * 1024 * 1024;

/// An event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// The name of its kind; empty if it has none.
    pub name: String,
    /// Its data, mostly JSON.
    pub data: String,
}

/// A stream of events, on a connection of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    lines: Lines,
    ready: VecDeque<ServerEvent>,
    _connection: Connection,
}

/// The parser of a stream.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    event: ServerEvent,
    has_data: bool,
}

impl Events {
    pub(super) fn new(body: Incoming, connection: Connection) -> Self {
        let (lines, ready) = (Lines::default(), VecDeque::new());
        Self { body, lines, ready, _connection: connection }
    }

    /// Waits for the next event; `None` once the stream has ended. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if the connection fails, or an event is too long.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.lines.take(&data, &mut self.ready)?;
            }
        }
    }
}

impl Lines {
    fn take(&mut self, data: &[u8], ready: &mut VecDeque<ServerEvent>) -> Result<(), ClientError> {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.event.data.len() + part.len() > LONGEST {
                return Err(ClientError::TooLong(LONGEST));
            }
            self.line.extend_from_slice(part);
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                self.take_line(line.trim_end_matches(['\r', '\n']), ready);
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str, ready: &mut VecDeque<ServerEvent>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                ready.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {} // comments, and what this client has no use for
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = ": hello\n\nevent: peers\r\ndata: {\"a\":1}\r\n\r\ndata:x\ndata: y\nid: 3\n\nevent: none\n\n";
        let event = |name: &str, data: &str| ServerEvent { name: name.into(), data: data.into() };
        let expected = [event("peers", "{\"a\":1}"), event("", "x\ny")];
        for size in 1..text.len() {
            let (mut lines, mut ready) = (Lines::default(), VecDeque::new());
            for part in text.as_bytes().chunks(size) {
                lines.take(part, &mut ready).unwrap();
            }
            assert_eq!(ready, expected);
        }
    }

    #[test]
    fn an_event_without_an_end_is_refused() {
        let (mut lines, mut ready) = (Lines::default(), VecDeque::new());
        let mebibyte = vec![b'x'; 1024 * 1024];
        let taken = (0..64).all(|_| lines.take(&mebibyte, &mut ready).is_ok());
        assert!(taken);
        assert!(matches!(lines.take(b"x", &mut ready), Err(ClientError::TooLong(_))));
    }
}
