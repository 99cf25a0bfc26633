//! How many bytes a message takes on the wire, by really encoding it: session and WebSocket, as the
//! client sends it (masked) and as the server does. TCP and TLS come on top.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use paddington_crypto::KeyPair;
use paddington_wire::hex::{Credentials, Initiator, authenticate};
use paddington_wire::{Completed, Data, Frame};
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

/// The bytes of one WebSocket message: as the client sends it, as the server does.
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
        payload: Bytes::copy_from_slice(text.as_bytes()),
    };
    let [mut client, _] = sessions::sealed();
    Message::binary(client.encode(&Frame::Data(data)).unwrap())
}

fn main() {
    println!("Bytes on the wire for one message, WebSocket header included:\n");
    println!("| message | encoding | client to server | server to client | times the message |");
    println!("|--------:|----------|-----------------:|-----------------:|------------------:|");
    for size in SIZES {
        let text = "x".repeat(size);
        let bare = Message::text(text.as_str());
        for (name, message) in [("hex", hex(&text)), ("sealed", sealed(&text)), ("bare", bare)] {
            let [up, down] = both_ways(&message);
            assert_eq!(up, down + 4, "a mask of 4 bytes");
            let times = down as f64 / size as f64;
            println!("| {size:7} | {name:8} | {up:16} | {down:16} | {times:17.2} |");
        }
    }
}
