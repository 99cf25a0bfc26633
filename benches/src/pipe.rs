//! The comparisons: messages over one connection, carried in different ways.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::NaiveEnvelope;

/// Size of the write buffers.
const WRITE_BUFFER: usize = 128 * 1024;
/// Size of the read buffers, as in paddington.
const READ_BUFFER: usize = 16 * 1024;

/// Messages over one connection.
pub trait Pipe: Send + 'static {
    /// Queues a message.
    fn feed(&mut self, message: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Sends what is queued.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Receives the next message; `None` at the end.
    fn receive(&mut self) -> impl Future<Output = Result<Option<Bytes>>> + Send;
}

/// A way to make a [`Pipe`] of a TCP connection.
pub trait Carrier: Clone + Send + Sync + 'static {
    /// The resulting pipe.
    type Pipe: Pipe;

    /// Makes the pipe of the end that accepted the connection.
    fn accept(&self, stream: TcpStream) -> impl Future<Output = Result<Self::Pipe>> + Send;

    /// Makes the pipe of the end that connects.
    fn connect(&self, stream: TcpStream) -> impl Future<Output = Result<Self::Pipe>> + Send;
}

/// Length-prefixed messages over TCP.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

/// Length-prefixed messages over TLS, with the certificate and key in a folder.
#[derive(Clone, Debug)]
pub struct Tls(pub PathBuf);

/// Length-prefixed messages.
#[derive(Debug)]
pub struct Prefixed<S: AsyncWrite> {
    stream: BufWriter<S>,
    read: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Prefixed<S> {
    /// Carries messages over `stream`, in both directions.
    pub fn new(stream: S) -> Self {
        let stream = BufWriter::with_capacity(WRITE_BUFFER, stream);
        Self { stream, read: BytesMut::with_capacity(READ_BUFFER) }
    }

    async fn fill(&mut self, len: usize) -> Result<bool> {
        while self.read.len() < len {
            self.read.reserve(len.max(READ_BUFFER) - self.read.len());
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Pipe for Prefixed<S> {
    async fn feed(&mut self, message: Bytes) -> Result<()> {
        self.stream.write_u32(u32::try_from(message.len())?).await?;
        Ok(self.stream.write_all(&message).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.stream.flush().await?)
    }

    async fn receive(&mut self) -> Result<Option<Bytes>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let mut prefix = [0; 4];
        prefix.copy_from_slice(&self.read.split_to(4));
        let len = u32::from_be_bytes(prefix) as usize;
        Ok(self.fill(len).await?.then(|| self.read.split_to(len).freeze()))
    }
}

impl Carrier for Tcp {
    type Pipe = Prefixed<TcpStream>;

    async fn accept(&self, stream: TcpStream) -> Result<Self::Pipe> {
        Ok(Prefixed::new(stream))
    }

    async fn connect(&self, stream: TcpStream) -> Result<Self::Pipe> {
        Ok(Prefixed::new(stream))
    }
}

impl Tls {
    /// Writes a certificate for `localhost` and its key into `folder`.
    ///
    /// # Errors
    ///
    /// If they cannot be made or written.
    pub fn prepare(folder: &Path) -> Result<()> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(folder.join("certificate.pem"), made.cert.pem())?;
        Ok(std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?)
    }

    fn certificate(&self) -> Result<CertificateDer<'static>> {
        Ok(CertificateDer::from_pem_file(self.0.join("certificate.pem"))?)
    }
}

impl Carrier for Tls {
    type Pipe = Prefixed<TlsStream<TcpStream>>;

    async fn accept(&self, stream: TcpStream) -> Result<Self::Pipe> {
        let key = PrivateKeyDer::from_pem_file(self.0.join("key.pem"))?;
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate()?], key)?;
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
        Ok(Prefixed::new(stream.into()))
    }

    async fn connect(&self, stream: TcpStream) -> Result<Self::Pipe> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate()?)?;
        let config =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Prefixed::new(stream.into()))
    }
}

/// A bare tokio-tungstenite WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct WebSocket;

/// A bare WebSocket with two passes of ring over each message.
#[derive(Clone, Copy, Debug)]
pub struct Twice;

/// The original's wire format over a WebSocket, written as the original writes it.
#[derive(Clone, Copy, Debug)]
pub struct Naive;

type Socket = WebSocketStream<TcpStream>;

async fn socket(stream: TcpStream, role: Role) -> Socket {
    let config =
        WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER);
    WebSocketStream::from_raw_socket(stream, role, Some(config)).await
}

impl Pipe for Socket {
    async fn feed(&mut self, message: Bytes) -> Result<()> {
        Ok(SinkExt::feed(self, Frame::Binary(message)).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(SinkExt::flush(self).await?)
    }

    async fn receive(&mut self) -> Result<Option<Bytes>> {
        Ok(self.next().await.transpose()?.map(Frame::into_data))
    }
}

impl Carrier for WebSocket {
    type Pipe = Socket;

    async fn accept(&self, stream: TcpStream) -> Result<Self::Pipe> {
        Ok(socket(stream, Role::Server).await)
    }

    async fn connect(&self, stream: TcpStream) -> Result<Self::Pipe> {
        Ok(socket(stream, Role::Client).await)
    }
}

/// A WebSocket whose messages ring seals twice, in place, with its two ciphers and with numbers for
/// nonces.
#[derive(Debug)]
pub struct SealedTwice {
    socket: Socket,
    keys: [LessSafeKey; 2],
    outgoing: BytesMut,
    incoming: BytesMut,
    sent: u64,
    received: u64,
}

impl SealedTwice {
    fn new(socket: Socket) -> Result<Self> {
        let key = |algorithm: &'static Algorithm, byte| {
            UnboundKey::new(algorithm, &[byte; 32]).map(LessSafeKey::new).ok().context("no key")
        };
        let (inner, outer) = (key(&CHACHA20_POLY1305, 1)?, key(&AES_256_GCM, 2)?);
        let (outgoing, incoming) = (BytesMut::new(), BytesMut::new());
        Ok(Self { socket, keys: [inner, outer], outgoing, incoming, sent: 0, received: 0 })
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl Pipe for SealedTwice {
    async fn feed(&mut self, message: Bytes) -> Result<()> {
        self.outgoing.reserve(message.len() + 32);
        self.outgoing.extend_from_slice(&message);
        for key in &self.keys {
            let sealed =
                key.seal_in_place_separate_tag(nonce(self.sent), Aad::empty(), &mut self.outgoing);
            let tag = sealed.ok().context("a message cannot be sealed")?;
            self.outgoing.extend_from_slice(tag.as_ref());
        }
        self.sent += 1;
        let sealed = self.outgoing.split().freeze();
        Pipe::feed(&mut self.socket, sealed).await
    }

    async fn flush(&mut self) -> Result<()> {
        Pipe::flush(&mut self.socket).await
    }

    async fn receive(&mut self) -> Result<Option<Bytes>> {
        let Some(sealed) = self.socket.receive().await? else { return Ok(None) };
        self.incoming.extend_from_slice(&sealed);
        let mut message = self.incoming.split();
        for key in self.keys.iter().rev() {
            let opened = key.open_in_place(nonce(self.received), Aad::empty(), &mut message);
            let len = opened.ok().context("a message does not open")?.len();
            message.truncate(len);
        }
        self.received += 1;
        Ok(Some(message.freeze()))
    }
}

impl Carrier for Twice {
    type Pipe = SealedTwice;

    async fn accept(&self, stream: TcpStream) -> Result<Self::Pipe> {
        SealedTwice::new(socket(stream, Role::Server).await)
    }

    async fn connect(&self, stream: TcpStream) -> Result<Self::Pipe> {
        SealedTwice::new(socket(stream, Role::Client).await)
    }
}

/// A WebSocket whose messages are encoded as JSON, encrypted and encoded in hexadecimal, twice.
#[derive(Debug)]
pub struct NaiveSocket {
    socket: Socket,
    envelope: NaiveEnvelope,
}

impl NaiveSocket {
    fn new(socket: Socket) -> Result<Self> {
        Ok(Self { socket, envelope: NaiveEnvelope::new()? })
    }
}

impl Pipe for NaiveSocket {
    async fn feed(&mut self, message: Bytes) -> Result<()> {
        let envelope = self.envelope.seal(std::str::from_utf8(&message)?)?;
        Ok(SinkExt::feed(&mut self.socket, Frame::text(envelope)).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Pipe::flush(&mut self.socket).await
    }

    async fn receive(&mut self) -> Result<Option<Bytes>> {
        let Some(envelope) = self.socket.next().await.transpose()? else { return Ok(None) };
        Ok(Some(self.envelope.open(envelope.to_text()?)?.into()))
    }
}

impl Carrier for Naive {
    type Pipe = NaiveSocket;

    async fn accept(&self, stream: TcpStream) -> Result<Self::Pipe> {
        NaiveSocket::new(socket(stream, Role::Server).await)
    }

    async fn connect(&self, stream: TcpStream) -> Result<Self::Pipe> {
        NaiveSocket::new(socket(stream, Role::Client).await)
    }
}
