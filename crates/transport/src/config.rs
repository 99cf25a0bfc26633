//! Limits and deadlines. Implements the table of `docs/protocol.md` §9; all of it can be changed,
//! none of it can be switched off.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{TrustedProxies, seconds};

/// How a transport behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How much it does for whom.
    pub limits: Limits,
    /// How long it waits for what.
    pub timeouts: Timeouts,
    /// When a client tries again.
    pub retry: Retry,
    /// Whose word about a client's address it believes.
    pub proxies: TrustedProxies,
}

/// How much is accepted, above all from peers that are not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest message that is accepted, in bytes.
    pub max_payload: u32,
    /// The longest head of an HTTP request, in bytes.
    pub request_head: usize,
    /// The most lines in the head of an HTTP request.
    pub request_lines: usize,
    /// The most connections that are not yet established. One more makes room: the address with
    /// the most of them loses its oldest.
    pub pending: usize,
    /// The most of them from one address (IPv6: from one /64).
    pub pending_per_address: usize,
    /// How many attempts an address has at hand. An established connection gives its attempt back.
    pub attempts: u32,
    /// How long it takes until an address has one attempt more.
    #[serde(with = "seconds")]
    pub attempt_interval: Duration,
    /// How many addresses the attempts are counted for; the least recent one is forgotten first.
    pub addresses: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: 1024 * 1024,
            request_head: 8_192,
            request_lines: 64,
            pending: 64,
            pending_per_address: 4,
            attempts: 10,
            attempt_interval: Duration::from_secs(2),
            addresses: 4_096,
        }
    }
}

/// How long a connection waits for what. All deadlines are absolute: a byte now and then does not
/// extend them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Server: from accept to the end of the request's head.
    #[serde(with = "seconds")]
    pub request: Duration,
    /// Server: from the answer to the request to the hello, and from the reply to READY.
    #[serde(with = "seconds")]
    pub handshake_step: Duration,
    /// Server: from accept to an established connection.
    #[serde(with = "seconds")]
    pub establish: Duration,
    /// Client: to resolve the name and open a TCP connection (and TLS, for `wss`).
    #[serde(with = "seconds")]
    pub connect: Duration,
    /// Client: for the answer to the request, and for the server's first words.
    #[serde(with = "seconds")]
    pub answer: Duration,
    /// Client: when the next of the server's addresses is tried although the last one has not
    /// failed yet (RFC 8305).
    #[serde(with = "seconds")]
    pub next_address: Duration,
    /// Client: how long nothing may arrive before a ping is sent; the server waits a quarter
    /// longer, so that the client asks first and one question does for both. Proxies cut what is
    /// silent for 60 s.
    #[serde(with = "seconds")]
    pub ping_interval: Duration,
    /// Both: how long nothing may arrive before the connection is given up for dead.
    #[serde(with = "seconds")]
    pub dead: Duration,
    /// Both: how long nothing can be written before the connection is given up for dead.
    #[serde(with = "seconds")]
    pub write: Duration,
    /// Both: how long the last frames and the closing handshake may take.
    #[serde(with = "seconds")]
    pub close: Duration,
    /// Client: the age at which a `sealed` session is renewed, ± 10 %.
    #[serde(with = "seconds")]
    pub session_age: Duration,
}

impl Timeouts {
    /// The same for the side that was dialled.
    pub(crate) fn listening(self) -> Self {
        let room = self.dead.saturating_sub(self.ping_interval).min(self.ping_interval);
        Self { ping_interval: self.ping_interval + room / 4, ..self }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            request: seconds(5),
            handshake_step: seconds(5),
            establish: seconds(15),
            connect: seconds(10),
            answer: seconds(10),
            next_address: Duration::from_millis(250),
            ping_interval: seconds(10),
            dead: seconds(30),
            write: seconds(30),
            close: seconds(2),
            session_age: seconds(24 * 60 * 60),
        }
    }
}

/// When a client tries again. Implements `docs/delivery.md`, "Connections".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The longest wait in normal operation.
    #[serde(with = "seconds")]
    pub interval: Duration,
    /// The longest wait after refusals that only a person or time can mend.
    #[serde(with = "seconds")]
    pub refused: Duration,
    /// A session that lasted so long was a good one: the first retry after it comes at once.
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
