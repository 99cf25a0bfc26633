//! Limits and deadlines. Implements the table of limits in `docs/protocol.md` §9: all can be
//! changed, none can be switched off.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Outbound, TrustedProxies, open_files, seconds, size};

/// The configuration of a transport.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Limits, above all for peers that are not authenticated.
    pub limits: Limits,
    /// Time limits of a connection.
    pub timeouts: Timeouts,
    /// Delays before a client tries again.
    pub retry: Retry,
    /// Proxies that are trusted to report a client's address.
    pub proxies: TrustedProxies,
    /// The way to servers: directly, or through a proxy.
    pub outbound: Outbound,
}

/// Limits on what is accepted, above all from peers that are not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest message that is accepted, in bytes.
    #[serde(deserialize_with = "size::deserialize")]
    pub max_payload: u32,
    /// The longest head of an HTTP request, in bytes.
    #[serde(deserialize_with = "size::deserialize")]
    pub request_head: usize,
    /// The largest number of lines in the head of an HTTP request.
    pub request_lines: usize,
    /// The largest number of pending connections of a port; at most half of the files that the process
    /// may have open. When one more arrives, older ones of the fullest network give way, up to a thirty-second of all. Addresses
    /// from which somebody was authenticated before have half of the places, and all others the other half: those
    /// give way that take more than their half.
    pub pending: usize,
    /// The largest number of pending connections from one address (IPv6: from one /64). When one
    /// more arrives, the oldest one gives way that has sent nothing useful. An address from which
    /// connections were established before may have a thirty-second of `pending` and one more for each of
    /// them, up to a quarter, if that is more: there may be many clients behind it. Attempts that have failed
    /// lately take a part of that away.
    pub pending_per_address: usize,
    /// Number of attempts that may fail in a row: malformed requests, and hellos that are not
    /// authentic. A connection that sends nothing costs none.
    pub attempts: u32,
    /// Time after which an address gets one more attempt.
    #[serde(with = "seconds")]
    pub attempt_interval: Duration,
    /// Number of addresses whose attempts are counted, and of those that are remembered because
    /// somebody was authenticated from them; the least recent is forgotten first.
    pub addresses: usize,
}

impl Limits {
    /// Returns the largest number of pending connections in this process: others need files, too.
    pub(crate) fn places(&self) -> usize {
        let files = open_files::limit().map_or(usize::MAX, |files| (files / 2).max(1));
        self.pending.min(files)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: 1024 * 1024,
            request_head: 8_192,
            request_lines: 64,
            pending: 4_096,
            pending_per_address: 4,
            attempts: 10,
            attempt_interval: Duration::from_secs(2),
            addresses: 4_096,
        }
    }
}

/// Time limits of a connection. Deadlines are absolute: an occasional byte does not extend them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Server: from accept to the end of the request's head.
    #[serde(with = "seconds")]
    pub request: Duration,
    /// Server: from the answer to the request to the hello, and to send the reply. TCP may need seconds
    /// to find out that packets of this length are lost.
    #[serde(with = "seconds")]
    pub handshake_step: Duration,
    /// Server: from accept to an authentic hello, and from the reply to READY. In the `hex` encoding,
    /// from accept to an established connection.
    #[serde(with = "seconds")]
    pub establish: Duration,
    /// Client: to resolve the name of the server, or of the proxy on the way, and open a TCP connection.
    #[serde(with = "seconds")]
    pub connect: Duration,
    /// Client: for the answer of a proxy, for the TLS handshake of a `wss` endpoint, and for the answer to
    /// the request.
    #[serde(with = "seconds")]
    pub answer: Duration,
    /// Client: for each answer in the handshake. Packets may be lost both ways before the first one,
    /// and the server may have to probe an older connection.
    #[serde(with = "seconds")]
    pub reply: Duration,
    /// Client: delay before the server's next address is tried although the last one has not failed
    /// yet (RFC 8305).
    #[serde(with = "seconds")]
    pub next_address: Duration,
    /// Client: silence after which a ping is sent. The server waits a quarter longer, so that the
    /// client pings first and one ping serves both. Many proxies cut connections that are silent
    /// for 60 s.
    #[serde(with = "seconds")]
    pub ping_interval: Duration,
    /// Both: silence after which the connection counts as dead. Within a frame, each byte that
    /// arrives excuses 0.2 ms of it.
    #[serde(with = "seconds")]
    pub dead: Duration,
    /// Both: time without progress in writing after which the connection counts as dead. Each byte that
    /// was written before extends it by 0.2 ms, up to the length of the longest message.
    #[serde(with = "seconds")]
    pub write: Duration,
    /// Both: for the last frames and the closing handshake.
    #[serde(with = "seconds")]
    pub close: Duration,
    /// Both: age at which a `sealed` session is renewed. The client ends it then, ± 10 %; a server
    /// ends one that has become 20 % older.
    #[serde(with = "seconds")]
    pub session_age: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            request: seconds(10),
            handshake_step: seconds(10),
            establish: seconds(15),
            connect: seconds(10),
            answer: seconds(10),
            reply: seconds(15),
            next_address: Duration::from_millis(250),
            ping_interval: seconds(10),
            dead: seconds(30),
            write: seconds(30),
            close: seconds(2),
            session_age: seconds(24 * 60 * 60),
        }
    }
}

/// Delays before a client tries again. Implements `docs/delivery.md`, "Connections".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The longest delay in normal operation.
    #[serde(with = "seconds")]
    pub interval: Duration,
    /// The longest delay after refusals that only time or a person can resolve.
    #[serde(with = "seconds")]
    pub refused: Duration,
    /// The shortest duration of a good session: the first retry after one comes at once.
    #[serde(with = "seconds")]
    pub good_session: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            refused: Duration::from_secs(60),
            good_session: Duration::from_secs(10),
        }
    }
}
