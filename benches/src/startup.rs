//! Services that start for a single message.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use paddington::{Error, Message, Service, ServiceConfig};
use paddington_instructions::{PING, message};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::ours::{SERVER, client};
use crate::{Carrier, Contender, Pipe, Serve, WebSocket, tell, until_closed};

/// Interval at which a bare WebSocket tries to connect until the other process listens.
const RETRY: Duration = Duration::from_millis(1);

/// Starts, reports when it listens, and when the first message has arrived.
///
/// # Errors
///
/// If it cannot start.
pub async fn first(serve: Serve, port: u16) -> Result<()> {
    if serve.contender == Contender::WebSocket {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        tell(&port)?;
        let mut pipe = WebSocket.accept(listener.accept().await?.0).await?;
        pipe.receive().await?;
        tell(&true)?;
        return until_closed().await;
    }
    let (told, mut heard) = mpsc::channel(1);
    let config = ServiceConfig::load(serve.folder.join("server.toml"))?;
    let service = Service::start(&config, move |message: Message| {
        let told = told.clone();
        async move {
            if !message.is_control() {
                let _ = told.try_send(());
            }
            Ok::<(), Error>(())
        }
    });
    let service = service.await?;
    tell(&port)?;
    heard.recv().await;
    tell(&true)?;
    until_closed().await?;
    service.shutdown().await;
    Ok(())
}

/// Starts, and sends one message.
///
/// # Errors
///
/// If it cannot start.
pub async fn sender(serve: Serve, port: u16) -> Result<()> {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    if serve.contender == Contender::WebSocket {
        let stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        let mut pipe = WebSocket.connect(stream).await?;
        pipe.feed(message(PING, 16).into()).await?;
        pipe.flush().await?;
        return until_closed().await;
    }
    let config = client(&serve.folder, 0, address)?;
    let service = Service::start(&config, async |_| Ok::<(), Error>(())).await?;
    service.send(Message::new(SERVER, message(PING, 16))).await?;
    until_closed().await?;
    service.shutdown().await;
    Ok(())
}
