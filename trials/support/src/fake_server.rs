//! A server that gives prepared answers.

use std::fmt;

use paddington_transport::{Network, NetworkListener, Stream};
use paddington_wire::sealed::Challenge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::MemoryNetwork;

/// A server that sends prepared answers.
pub struct FakeServer {
    listener: Box<dyn NetworkListener>,
}

impl FakeServer {
    /// Listens at `address`.
    pub async fn new(network: &MemoryNetwork, address: &str) -> Self {
        Self { listener: network.bind(address.parse().unwrap()).await.unwrap() }
    }

    /// Accepts a connection, and says nothing.
    pub async fn accept(&mut self) -> Stream {
        self.listener.accept().await.unwrap().0
    }

    /// Reads a request and answers with `head`, in which `{accept}` is replaced by the right answer
    /// to its key.
    pub async fn answer(&mut self, head: &str) -> Stream {
        let mut stream = self.accept().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
        let accept = derive_accept_key(key.unwrap().as_bytes());
        // The client may have hung up.
        let _ = stream.write_all(head.replace("{accept}", &accept).as_bytes()).await;
        stream
    }

    /// Returns the answer of an honest server.
    #[must_use]
    pub fn good_answer(challenge: &Challenge) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {{accept}}\r\nSec-WebSocket-Protocol: paddington.sealed.1\r\n\
             Paddington-Challenge: {}\r\n\r\n",
            challenge.to_hex()
        )
    }
}

impl fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeServer(..)")
    }
}
