//! Bytes that a message takes on the wire, counted by encoding it: session and WebSocket, as the
//! client sends it (masked) and as the server does. TCP and TLS are extra.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::io::{self, Read, Write};
use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_wire::hex::{Credentials, Initiator, authenticate};
use paddington_wire::link::LinkConfig;
use paddington_wire::{Batch, Completed, Data, Frame, Messages, Payload};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

mod sessions;

const SIZES: [usize; 3] = [16, 256, 4 * 1024];

/// A socket that keeps what is written to it.
#[derive(Default)]
struct Sink(Vec<u8>);

impl Read for Sink {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The length of one WebSocket message in bytes: as the client sends it, as the server does.
fn both_ways(message: &Message) -> [usize; 2] {
    [Role::Client, Role::Server].map(|role| {
        let mut socket = WebSocket::from_raw_socket(Sink::default(), role, None);
        socket.send(message.clone()).unwrap();
        socket.get_ref().0.len()
    })
}

fn hex(text: &str) -> Message {
    let link = Arc::new(Credentials::new(Arc::new(KeyPair::generate().unwrap())));
    let (_, hello) = Initiator::new(Arc::clone(&link)).hello().unwrap();
    let (mut server, _) = authenticate(&hello, &[link]).unwrap().reply().unwrap();
    Message::text(server.encode(text).unwrap())
}

fn sealed(text: &str) -> Message {
    let data = Data {
        stream: 0,
        again: false,
        number: 1,
        ack: Completed::default(),
        payload: Payload::text(text.to_owned()),
    };
    let [mut client, _] = sessions::sealed();
    Message::binary(client.encode(&Frame::Data(data)).unwrap())
}

/// As many of the messages as a batch holds, in one frame.
fn together(text: &str) -> (Message, usize) {
    let most = LinkConfig::default().batch as usize / Messages::entry_len(text.len());
    let payloads = vec![Payload::text(text.to_owned()); most.min(Messages::MAX)];
    let messages = Messages::new(payloads.iter()).unwrap();
    let batch = Batch { stream: 0, again: false, first: 1, ack: Completed::default(), messages };
    let [mut client, _] = sessions::sealed();
    (Message::binary(client.encode(&Frame::Batch(batch)).unwrap()), payloads.len())
}

fn main() {
    println!("Bytes on the wire for one message, WebSocket header included:\n");
    println!(
        "| message | encoding             | client to server | server to client | times the message |"
    );
    println!(
        "|--------:|----------------------|-----------------:|-----------------:|------------------:|"
    );
    for size in SIZES {
        let text = "x".repeat(size);
        let bare = Message::text(text.as_str());
        let (batch, count) = together(&text);
        for (name, message, count) in [
            ("hex".to_owned(), hex(&text), 1),
            ("sealed".to_owned(), sealed(&text), 1),
            (format!("sealed, {count} together"), batch, count),
            ("bare".to_owned(), bare, 1),
        ] {
            let sent = both_ways(&message);
            assert_eq!(sent[0], sent[1] + 4, "a mask of 4 bytes");
            let [up, down] = sent.map(|bytes| bytes as f64 / count as f64);
            let times = down / size as f64;
            println!("| {size:7} | {name:20} | {up:16.1} | {down:16.1} | {times:17.2} |");
        }
    }
}
