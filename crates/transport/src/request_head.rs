//! Reads the head of an HTTP request within its limits, before anything interprets it.

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::{Limits, Stream};

const END: &[u8] = b"\r\n\r\n";

/// The failure to read a head. The peer is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// It is too long, or more data follows it although the client must wait for the answer.
    TooLong,
    /// A line does not end with CR LF, or there is nothing before the empty line: another reader of
    /// the same bytes, such as a proxy, may see the end of the head somewhere else.
    Malformed,
    /// The connection ended.
    Lost,
}

/// Reads the head of one request, up to and including the empty line.
pub(crate) async fn read(stream: &mut Stream, limits: &Limits) -> Result<Bytes, HeadError> {
    let mut head = BytesMut::with_capacity(1024);
    loop {
        if head.len() > limits.request_head {
            return Err(HeadError::TooLong);
        }
        let searched = head.len().saturating_sub(END.len() - 1);
        stream.set_budget(Some(limits.request_head + 1 - head.len()));
        let read = stream.read_buf(&mut head).await.map_err(|_| HeadError::Lost)?;
        if read == 0 {
            return Err(HeadError::Lost);
        }
        if head.starts_with(b"\n") || !has_strict_lines(&head[searched..]) {
            return Err(HeadError::Malformed);
        }
        if let Some(end) = find_end(&head[searched..]) {
            return check(head.freeze(), searched + end, limits);
        }
        if lines(&head) > limits.request_lines {
            return Err(HeadError::TooLong);
        }
    }
}

fn check(head: Bytes, end: usize, limits: &Limits) -> Result<Bytes, HeadError> {
    if end == END.len() {
        return Err(HeadError::Malformed);
    }
    let fits = end <= limits.request_head && lines(&head) <= limits.request_lines;
    if fits && end == head.len() { Ok(head) } else { Err(HeadError::TooLong) }
}

/// Returns the index in `bytes` at which the head ends.
fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(END.len()).position(|window| window == END).map(|start| start + END.len())
}

/// Returns whether CR and LF occur only together. The first byte may be the LF of a CR before it, the
/// last one the CR of an LF to come.
fn has_strict_lines(bytes: &[u8]) -> bool {
    bytes.windows(2).all(|pair| (pair[0] == b'\r') == (pair[1] == b'\n'))
}

fn lines(head: &[u8]) -> usize {
    head.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn read_from(pieces: &[&[u8]]) -> Result<Bytes, HeadError> {
        let (near, mut far) = tokio::io::duplex(100_000);
        for piece in pieces {
            far.write_all(piece).await.unwrap();
        }
        drop(far);
        let limits = Limits { request_head: 100, request_lines: 5, ..Limits::default() };
        read(&mut Stream::new(near), &limits).await
    }

    #[tokio::test]
    async fn a_head_within_its_limits_is_read_whole() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(read_from(&[head]).await.unwrap(), head.as_slice());
        let (front, back) = head.split_at(head.len() - 2);
        assert_eq!(read_from(&[front, back]).await.unwrap(), head.as_slice());
        let longest = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(77));
        assert_eq!(longest.len(), 100);
        assert_eq!(read_from(&[longest.as_bytes()]).await.unwrap(), longest);
    }

    #[tokio::test]
    async fn a_head_beyond_its_limits_is_refused() {
        let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(78));
        assert_eq!(read_from(&[long.as_bytes()]).await, Err(HeadError::TooLong));
        let endless = vec![b'x'; 10_000];
        assert_eq!(read_from(&[&endless]).await, Err(HeadError::TooLong));
        let lines = b"GET / HTTP/1.1\r\na:b\r\na:b\r\na:b\r\na:b\r\n\r\n";
        assert_eq!(read_from(&[lines]).await, Err(HeadError::TooLong));
        let pipelined = b"GET / HTTP/1.1\r\n\r\nmore";
        assert_eq!(read_from(&[pipelined]).await, Err(HeadError::TooLong));
        assert_eq!(read_from(&[b"GET / HTTP/1.1\r\n"]).await, Err(HeadError::Lost));
    }

    #[tokio::test]
    async fn a_line_ends_with_cr_lf_and_nothing_else() {
        let bad: [&[u8]; 8] = [
            b"GET / HTTP/1.1\nhost: a\n\n",
            b"GET / HTTP/1.1\nhost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\n\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\n\n",
            b"GET / HTTP/1.1\r\nhost: a\rb: c\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\r\n\r\n",
            b"\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"\r\n\r\n",
        ];
        for head in bad {
            let text = String::from_utf8_lossy(head);
            assert_eq!(read_from(&[head]).await, Err(HeadError::Malformed), "{text:?}");
            for at in 1..head.len() {
                let (front, back) = head.split_at(at);
                let read = read_from(&[front, back]).await;
                assert_eq!(read, Err(HeadError::Malformed), "{text:?} {at}");
            }
        }
    }
}
