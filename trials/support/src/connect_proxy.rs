//! An HTTP proxy on real sockets that opens tunnels (CONNECT), and knows names that nobody else knows.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::free_port;

/// A proxy that can die and come back.
#[derive(Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<HashMap<String, SocketAddr>>,
    /// The value of `Proxy-Authorization` that is asked for.
    wanted: Mutex<Option<String>>,
    behaviour: Mutex<Behaviour>,
    heads: Mutex<Vec<String>>,
}

/// The behaviour of a proxy.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// It opens tunnels.
    #[default]
    Tunnels,
    /// It answers with these bytes, and closes the connection.
    Answers(Vec<u8>),
    /// It answers with these bytes over and over.
    Repeats(Vec<u8>),
    /// It says nothing, and keeps the connection.
    Silent,
}

impl ConnectProxy {
    /// Starts a proxy at a free port of 127.0.0.1, which stays its own while it is dead.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Self { address, shared: Arc::default(), task: Mutex::default() };
        proxy.run(listener);
        proxy
    }

    /// The address where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `host`, a name with a port, lead to a server.
    pub fn know(&self, host: &str, server: SocketAddr) {
        self.shared.names.lock().unwrap().insert(host.to_owned(), server);
    }

    /// Opens tunnels only with this value of `Proxy-Authorization`.
    pub fn want(&self, authorization: &str) {
        *self.shared.wanted.lock().unwrap() = Some(authorization.to_owned());
    }

    /// Sets what becomes of requests from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// The requests that have arrived so far.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }

    /// Cuts all tunnels and listens no more, until it is told to come back.
    pub async fn die(&self) {
        let task = self.task.lock().unwrap().take();
        if let Some(task) = task {
            task.abort();
            // It has ended when all of its sockets are closed.
            let _ = task.await;
        }
    }

    /// Listens again, at the same address.
    pub async fn come_back(&self) {
        self.run(TcpListener::bind(self.address).await.unwrap());
    }

    fn run(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let mut tunnels = JoinSet::new(); // which end with this task
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                // However a tunnel ends, both sides see it.
                tunnels.spawn(async move { shared.serve(client).await });
            }
        });
        *self.task.lock().unwrap() = Some(task);
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let head = head(&mut client).await?;
        self.heads.lock().unwrap().push(head.clone());
        let behaviour = self.behaviour.lock().unwrap().clone();
        match behaviour {
            Behaviour::Tunnels => self.tunnel(client, &head).await,
            Behaviour::Answers(bytes) => client.write_all(&bytes).await,
            Behaviour::Repeats(bytes) => loop {
                client.write_all(&bytes).await?;
                tokio::task::yield_now().await;
            },
            Behaviour::Silent => std::future::pending().await,
        }
    }

    async fn tunnel(&self, mut client: TcpStream, head: &str) -> io::Result<()> {
        let wanted = self.wanted.lock().unwrap().clone();
        let line = |wanted| format!("\r\nProxy-Authorization: {wanted}\r\n");
        if wanted.is_some_and(|wanted| !head.contains(&line(wanted))) {
            let refusal: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\n\
                Proxy-Authenticate: Negotiate, Basic realm=\"proxy\"\r\n\
                Content-Length: 4\r\n\r\nnone";
            return client.write_all(refusal).await;
        }
        let host = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
        let server = host.and_then(|host| self.names.lock().unwrap().get(host).copied());
        let Some(server) = server else {
            return client.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno such host").await;
        };
        let Ok(mut server) = TcpStream::connect(server).await else {
            return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
        };
        client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await?;
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    }
}

/// Reads the head of a request, byte by byte, so that nothing of what follows is taken.
async fn head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    String::from_utf8(head).map_err(io::Error::other)
}
