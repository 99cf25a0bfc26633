//! Writes WebSocket frames. A long payload is masked and written where it is; heads and short payloads
//! are collected.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncWrite;

use super::head::{Head, Kind, mask};
use crate::Stream;

/// The longest payload that is copied to others.
const COLLECTED: usize = 2 * 1024;
/// The size of a block in which heads and short payloads are collected, in bytes.
const BLOCK: usize = 16 * 1024;
/// Number of bytes that may wait before something is written.
const FULL: usize = 128 * 1024;
/// Number of long buffers that are kept for others: those of 64 KiB that wait at the same time.
const USED: usize = 4;
/// Number of buffers that are written at once.
const SLICES: usize = 64;

/// Writes frames.
pub(super) struct FrameWriter {
    /// Whether payloads are masked: those of clients are.
    masks: bool,
    /// What is to be written.
    queue: VecDeque<BytesMut>,
    /// Number of bytes of the first buffer that are written.
    written: usize,
    /// Number of bytes that are still to be written.
    waiting: usize,
    /// Whether the last buffer collects.
    collects: bool,
    /// A buffer to collect in, which is empty.
    spare: BytesMut,
    /// Buffers of long payloads that are written, for others.
    used: Vec<BytesMut>,
}

impl FrameWriter {
    pub(super) fn new(masks: bool) -> Self {
        Self {
            masks,
            queue: VecDeque::new(),
            written: 0,
            waiting: 0,
            collects: false,
            spare: BytesMut::new(),
            used: Vec::new(),
        }
    }

    /// Queues a message, or a control frame.
    pub(super) fn feed(&mut self, kind: Kind, mut payload: BytesMut) {
        let key = self.masks.then(rand::random);
        if let Some(key) = key {
            mask(&mut payload, key);
        }
        let head = Head { kind, is_final: true, mask: key, len: payload.len() as u64 };
        let is_long = payload.len() > COLLECTED;
        let collector = self.collector();
        let before = collector.len();
        head.write(collector);
        if !is_long {
            collector.extend_from_slice(&payload);
        }
        let collected = collector.len() - before;
        self.waiting += collected;
        if is_long {
            self.waiting += payload.len();
            self.queue.push_back(payload);
            self.collects = false;
        }
    }

    /// Returns the buffer in which heads and short payloads are collected.
    fn collector(&mut self) -> &mut BytesMut {
        self.collects &= self.queue.back().is_some_and(|last| last.len() < BLOCK);
        if !self.collects {
            self.collects = true;
            self.queue.push_back(std::mem::take(&mut self.spare));
        }
        let last = self.queue.len() - 1;
        &mut self.queue[last]
    }

    /// Returns the buffer of a payload that is written, in which another one can be made.
    pub(super) fn take_used(&mut self) -> Option<BytesMut> {
        self.used.pop()
    }

    /// Frees memory that is not used.
    pub(super) fn tidy(&mut self) {
        self.spare = BytesMut::new();
        self.used = Vec::new();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    /// Resolves when there is room for a message: at once, or when everything else is written.
    pub(super) fn poll_room(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.waiting <= FULL { Poll::Ready(Ok(())) } else { self.poll_write(stream, cx) }
    }

    /// Resolves when everything is written.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.waiting > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut skipped = self.written;
            let mut used = 0;
            for (slice, buffer) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(&buffer[std::mem::take(&mut skipped)..]);
                used += 1;
            }
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..used]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.note_written(written);
        }
        Poll::Ready(Ok(()))
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let buffers = self.queue.iter().chain(&self.used).chain([&self.spare]);
        buffers.map(BytesMut::capacity).sum()
    }

    fn note_written(&mut self, len: usize) {
        self.waiting -= len;
        self.written += len;
        while let Some(first) = self.queue.front()
            && self.written >= first.len()
        {
            self.written -= first.len();
            if let Some(mut empty) = self.queue.pop_front() {
                empty.clear();
                if self.collects && self.queue.is_empty() {
                    self.collects = false;
                    self.spare = empty;
                } else if empty.capacity() > BLOCK && self.used.len() < USED {
                    self.used.push(empty);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// Returns the frames of what was written.
    fn frames(mut bytes: &[u8]) -> Vec<(Kind, Vec<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (head, len) = Head::read(bytes).unwrap().unwrap();
            let end = len + head.len as usize;
            let mut payload = bytes[len..end].to_vec();
            mask(&mut payload, head.mask.unwrap_or_default());
            frames.push((head.kind, payload));
            bytes = &bytes[end..];
        }
        frames
    }

    async fn written(masks: bool, sizes: &[usize], capacity: usize) {
        let (near, mut far) = tokio::io::duplex(capacity);
        let mut stream = Stream::new(near);
        let payload = |size: usize| -> Vec<u8> { (0..size).map(|at| at as u8).collect() };
        let mut writer = FrameWriter::new(masks);
        let all = sizes.iter().map(|size| (Kind::Binary, payload(*size)));
        let all: Vec<_> = all.chain([(Kind::Ping, b"?".to_vec())]).collect();
        let expected = all.clone();
        let write = async move {
            for _ in 0..2 {
                for (kind, payload) in &all {
                    poll_fn(|cx| writer.poll_room(&mut stream, cx)).await.unwrap();
                    writer.feed(*kind, BytesMut::from(&payload[..]));
                }
                poll_fn(|cx| writer.poll_write(&mut stream, cx)).await.unwrap();
            }
            assert!(writer.waiting == 0 && writer.written == 0 && writer.queue.is_empty());
        };
        let mut bytes = Vec::new();
        let ((), read) = tokio::join!(write, far.read_to_end(&mut bytes));
        read.unwrap();
        assert!(frames(&bytes) == [expected.clone(), expected].concat());
    }

    #[tokio::test]
    async fn what_is_fed_is_written_in_order_however_little_the_socket_takes() {
        let sizes = [0, 1, 125, 126, 2_048, 2_049, 5, 65_536, 65_537, 2_000, 2_000, 300_000, 3];
        for masks in [false, true] {
            for capacity in [7, 1_000, 1_000_000] {
                written(masks, &sizes, capacity).await;
            }
            written(masks, &[1_900; 200], 100_000).await;
            written(masks, &[3_000; 200], 100_000).await;
        }
    }
}
