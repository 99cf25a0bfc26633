//! Streams of server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a stream may be silent; then a comment shows that it lives.
const SILENT: Duration = Duration::from_secs(10);

/// Writes an event. What cannot be written as JSON, which does not happen, is left out.
pub(crate) fn event(name: &str, data: &impl Serialize) -> Option<Bytes> {
    let mut text = format!("event: {name}\ndata: ").into_bytes();
    serde_json::to_writer(&mut text, data).ok()?; // JSON has no line breaks here
    text.extend_from_slice(b"\n\n");
    Some(text.into())
}

/// The body of a stream: the bytes that are `ready`, and then those that it receives. It ends with
/// `stop`, and when its reader is so slow that something was missed.
pub(crate) struct Source {
    pub(crate) ready: VecDeque<Bytes>,
    pub(crate) events: Receiver<Bytes>,
    /// The changes each second, if they are wanted.
    pub(crate) ticks: Option<Receiver<Bytes>>,
    pub(crate) stop: CancellationToken,
}

impl Source {
    pub(crate) fn into_response(self) -> Response {
        let events = stream::unfold(self, |mut source| async move {
            let event = source.next().await?;
            Some((Ok::<_, Infallible>(event), source))
        });
        let kind = [(header::CONTENT_TYPE, "text/event-stream")];
        (kind, Body::from_stream(events)).into_response()
    }

    async fn next(&mut self) -> Option<Bytes> {
        if let Some(event) = self.ready.pop_front() {
            return Some(event);
        }
        let Self { events, ticks, stop, .. } = self;
        let tick = async {
            match ticks {
                Some(ticks) => ticks.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => None,
            event = events.recv() => event.ok(),
            tick = tick => tick.ok(),
            () = sleep_until(Instant::now() + SILENT) => Some(Bytes::from_static(b":\n\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_lives_while_nothing_happens_and_ends_when_its_reader_is_too_slow() {
        let (events, receiver) = broadcast::channel(2);
        let ready = [Bytes::from_static(b"first")].into();
        let stop = CancellationToken::new();
        let mut source = Source { ready, events: receiver, ticks: None, stop };
        assert_eq!(source.next().await.as_deref(), Some(&b"first"[..]));
        let begun = Instant::now();
        assert_eq!(source.next().await.as_deref(), Some(&b":\n\n"[..]));
        assert_eq!(begun.elapsed(), SILENT);
        for event in ["one", "two"] {
            events.send(Bytes::from_static(event.as_bytes())).unwrap();
        }
        assert_eq!(source.next().await.as_deref(), Some(&b"one"[..]));
        for event in ["three", "four", "five"] {
            events.send(Bytes::from_static(event.as_bytes())).unwrap();
        }
        assert_eq!(source.next().await, None, "something was missed");
    }
}
