//! A server that knows its client's invitation and sends what it is told to.

use std::fmt;
use std::sync::Arc;

use paddington_transport::Stream;
use paddington_wire::sealed::{
    AwaitReady, Challenge, Credentials, Greeting, ReplyRandom, Responder, SealedSession,
};
use paddington_wire::{Frame, Instance};
use tokio::io::AsyncWriteExt;

use crate::{FakeServer, RawFrame, empty_ready};

/// The server's side of an authentic connection.
pub struct RawServer {
    stream: Stream,
}

impl RawServer {
    /// Accepts a connection and answers its HELLO.
    pub async fn reply(server: &mut FakeServer, link: &Arc<Credentials>) -> (Self, AwaitReady) {
        let challenge = Challenge::random().unwrap();
        let mut stream = server.answer(&FakeServer::good_answer(&challenge)).await;
        let hello = RawFrame::read(&mut stream).await.unwrap();
        let responder = Responder::new(challenge, Arc::new(Credentials::decoy().unwrap()));
        let client = responder.authenticate(&hello.payload, &[Arc::clone(link)]).unwrap();
        let (waiting, reply) = client.reply(&ReplyRandom::generate().unwrap()).unwrap();
        let mut server = Self { stream };
        server.send(&reply).await;
        (server, waiting)
    }

    /// Accepts a connection and refuses it with `frame` instead of READY.
    pub async fn refuse(server: &mut FakeServer, link: &Arc<Credentials>, frame: &Frame) {
        let (mut server, mut waiting) = Self::reply(server, link).await;
        let first = waiting.first(frame).unwrap();
        server.send(&first).await;
    }

    /// Accepts a connection and makes the whole handshake, with the READY of a service that has just
    /// started.
    pub async fn establish(
        server: &mut FakeServer,
        link: &Arc<Credentials>,
    ) -> (Self, Box<SealedSession>) {
        let (mut server, mut waiting) = Self::reply(server, link).await;
        let ready = Frame::Ready(empty_ready(Instance::random().unwrap()));
        let first = waiting.first(&ready).unwrap();
        server.send(&first).await;
        let theirs = RawFrame::read(&mut server.stream).await.unwrap();
        match waiting.finish(&theirs.payload, 1024 * 1024).unwrap() {
            Greeting::Ready(session, _) => (server, session),
            Greeting::Closed(code) => panic!("closed: {code}"),
        }
    }

    /// Seals and sends a frame.
    pub async fn say(&mut self, session: &mut SealedSession, frame: &Frame) {
        let sealed = session.encode(frame).unwrap();
        self.send(&sealed).await;
    }

    /// Reads the next frame that the client seals. Returns `None` if it hangs up.
    pub async fn hear(&mut self, session: &mut SealedSession) -> Option<Frame> {
        loop {
            let frame = RawFrame::read(&mut self.stream).await.ok()?;
            if frame.is_binary() {
                return Some(session.decode(&frame.payload).unwrap());
            }
        }
    }

    async fn send(&mut self, payload: &[u8]) {
        self.stream.write_all(&RawFrame::binary(payload).encode(false)).await.unwrap();
    }
}

impl fmt::Debug for RawServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawServer(..)")
    }
}
