//! The header of the PROXY protocol, in which a proxy says whom it connects before anything else
//! arrives. Implements `docs/protocol.md` §10. It does not decide from whom such a header is accepted.

use std::net::IpAddr;
use std::ops::Range;

use bytes::BytesMut;
use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt;

use crate::Stream;

/// The longest header of version 1, in bytes.
const LONGEST_TEXT: usize = 107;
/// The longest header of version 2, in bytes, with its extensions.
const LONGEST_BINARY: usize = 1024;
/// The first byte of a header of version 2. No request and no TLS handshake begins with it.
pub(crate) const BINARY: u8 = b'\r';
/// The beginning of a header of version 1. No request begins with it.
const TEXT: &[u8] = b"PROXY ";
/// The place of the length in a header of version 2, in bytes.
const LENGTH: Range<usize> = 14..16;

/// The failure to read a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// There is none, or it is malformed or too long.
    Malformed,
    /// The connection ended.
    Lost,
}

/// Returns whether the head of a request is a header of version 1 instead.
pub(crate) fn begins(head: &[u8]) -> bool {
    head.starts_with(TEXT)
}

/// Reads the header at the beginning of `stream`, and leaves everything behind it unread. Returns the
/// address that it names as the client's, if it names one.
pub(crate) async fn read(stream: &mut Stream) -> Result<Option<IpAddr>, HeaderError> {
    let mut bytes = BytesMut::with_capacity(LONGEST_BINARY);
    loop {
        stream.set_budget(Some(LONGEST_BINARY - bytes.len()));
        match stream.read_buf(&mut bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(HeaderError::Lost),
        }
        if let Some((client, len)) = parse(&bytes)? {
            let _ = bytes.split_to(len);
            stream.unread(bytes.freeze());
            return Ok(client);
        }
    }
}

/// Returns the client's address and the length of the header, or `None` if more of it is needed.
fn parse(bytes: &[u8]) -> Result<Option<(Option<IpAddr>, usize)>, HeaderError> {
    let (longest, whole) = match bytes.first() {
        Some(&BINARY) => (LONGEST_BINARY, announced(bytes)),
        _ => (LONGEST_TEXT, None),
    };
    if whole.is_some_and(|whole| whole > longest) {
        return Err(HeaderError::Malformed);
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(bytes, config) {
        Ok((header, len)) if len <= longest => {
            let named = header.proxied_address();
            if named.is_some_and(|named| named.protocol != Protocol::Stream) {
                return Err(HeaderError::Malformed);
            }
            Ok(Some((named.map(|named| named.source.ip().to_canonical()), len)))
        }
        Err(Error::BufferTooShort) if bytes.len() < whole.unwrap_or(longest) => Ok(None),
        _ => Err(HeaderError::Malformed),
    }
}

/// Returns the length that a header of version 2 has as a whole, as soon as it says so.
fn announced(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(LENGTH)?.try_into().ok()?;
    Some(LENGTH.end + usize::from(u16::from_be_bytes(length)))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, join, sink};

    use super::*;

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    const V4: &[u8] = &[192, 0, 2, 7, 10, 0, 0, 1, 0xc0, 0, 0x19, 0x65];

    /// A header of version 2 with this command, family and content.
    fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, content].concat()
    }

    fn v6(source: &str) -> Vec<u8> {
        let source = source.parse::<std::net::Ipv6Addr>().unwrap().octets();
        [&source[..], &[0; 16], &[0xc0, 0, 0x19, 0x65]].concat()
    }

    /// Reads a header whose pieces arrive one after the other, and returns it with what is behind it.
    async fn read_from(
        front: &[u8],
        back: &[u8],
    ) -> (Result<Option<IpAddr>, HeaderError>, Vec<u8>) {
        let pieces = Cursor::new(front.to_vec()).chain(Cursor::new(back.to_vec()));
        let mut stream = Stream::new(join(pieces, sink()));
        let client = read(&mut stream).await;
        stream.set_budget(None);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        (client, rest)
    }

    /// Reads a header that arrives byte by byte.
    async fn read_slowly(bytes: Vec<u8>) -> Result<Option<IpAddr>, HeaderError> {
        let (near, mut far) = duplex(1);
        // A header that is refused is not read to its end.
        tokio::spawn(async move { far.write_all(&bytes).await });
        read(&mut Stream::new(near)).await
    }

    fn valid() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let tlvs = [V4, &[0x04, 0, 3, 1, 2, 3], &[0xee, 0xff, 0xff]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 49152 6501\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::1 ::1 49152 6501\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary(0x21, 0x11, V4), Some("192.0.2.7")),
            (binary(0x21, 0x11, &tlvs), Some("192.0.2.7")),
            (binary(0x21, 0x21, &v6("2001:db8::1")), Some("2001:db8::1")),
            (binary(0x21, 0x21, &v6("::ffff:192.0.2.7")), Some("192.0.2.7")),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x21, 0x31, &[1; 216]), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, V4), None),
            (binary(0x20, 0x00, &[7; LONGEST_BINARY - 16]), None),
        ]
    }

    #[tokio::test]
    async fn a_header_is_read_however_it_arrives_and_nothing_behind_it_is_lost() {
        let behind: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
        for (header, client) in valid() {
            let client = client.map(|text| text.parse().unwrap());
            let whole = [&header[..], behind].concat();
            for at in 0..=whole.len() {
                let (front, back) = whole.split_at(at);
                let (read, rest) = read_from(front, back).await;
                assert_eq!((read, &rest[..]), (Ok(client), behind), "{header:?} {at}");
            }
            assert_eq!(read_slowly(whole).await, Ok(client), "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_header_that_ends_too_early_is_none() {
        for (header, _) in valid() {
            for len in 0..header.len() {
                assert_eq!(read_from(&header[..len], &[]).await.0, Err(HeaderError::Lost), "{len}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_valid_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_TEXT - 15));
        assert_eq!(long.len(), LONGEST_TEXT + 1);
        let bad: Vec<Vec<u8>> = vec![
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            b"PROXY TCP4 2001:db8::1 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\rGET".to_vec(),
            b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
            b"proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
            long.into_bytes(),
            vec![b'P'; 2 * LONGEST_BINARY],
            binary(0x11, 0x11, V4),
            binary(0x22, 0x11, V4),
            binary(0x21, 0x12, V4),
            binary(0x21, 0x41, V4),
            binary(0x21, 0x11, &V4[..11]),
            binary(0x21, 0x21, V4),
            binary(0x21, 0x11, &[0; LONGEST_BINARY]),
            [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
            vec![BINARY; 2 * LONGEST_BINARY],
        ];
        for header in bad {
            let whole = [&header[..], &[b'x'; 128]].concat();
            let expected = Err(HeaderError::Malformed);
            assert_eq!(read_from(&whole, &[]).await.0, expected, "{header:?}");
            assert_eq!(read_slowly(whole).await, expected, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..1100), kind in 0..3) {
            let beginning: &[u8] = match kind {
                0 => b"",
                1 => b"PROXY TCP4 ",
                _ => SIGNATURE,
            };
            let bytes = [beginning, &bytes].concat();
            if let Ok(Some((_, len))) = parse(&bytes) {
                prop_assert!(len <= bytes.len() && len <= LONGEST_BINARY);
                prop_assert_eq!(parse(&bytes[..len]), parse(&bytes), "what is behind it has no meaning");
            }
            if bytes.len() >= LONGEST_BINARY {
                prop_assert!(parse(&bytes) != Ok(None), "it waits for no more");
            }
        }
    }
}
