//! iroh: length-prefixed messages over one stream of a QUIC connection between two endpoints, which
//! know each other's address and use no other service.

use std::net::Ipv4Addr;

use ::iroh::endpoint::{
    AckFrequencyConfig, Connection, NetReportConfig, PortmapperConfig, QuicTransportConfig,
    RecvStream, SendStream, presets,
};
use ::iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode};
use anyhow::{Context, Result};
use paddington_bench::{Drive, Job, Prefixed, Serve, drive_over, serve_over, tell, until_closed};
use tokio::io::{Join, join};

const PROTOCOL: &[u8] = b"paddington-compare";
/// The file with the server's id.
const ID: &str = "iroh";

/// Both directions of a stream.
type Stream = Prefixed<Join<RecvStream, SendStream>>;

fn stream((outgoing, incoming): (SendStream, RecvStream)) -> Stream {
    Prefixed::new(join(incoming, outgoing))
}

/// An endpoint on loopback only: no relay, no address lookup, no port mapping, no probes.
async fn endpoint() -> Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal)
        .clear_ip_transports()
        .bind_addr((Ipv4Addr::LOCALHOST, 0))?
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .transport_config(settings())
        .alpns(vec![PROTOCOL.to_vec()]);
    Ok(builder.bind().await?)
}

/// Several packets share an acknowledgement, which makes round trips faster. The windows are the
/// defaults: larger ones fail on loopback with "too many gaps in stream buffer".
fn settings() -> QuicTransportConfig {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(20_u32.into());
    QuicTransportConfig::builder().ack_frequency_config(Some(acknowledgements)).build()
}

/// Answers until it is told to end.
pub(crate) async fn serve(serve: &Serve) -> Result<()> {
    let endpoint = endpoint().await?;
    std::fs::write(serve.folder.join(ID), endpoint.id().as_bytes())?;
    tell(endpoint.bound_sockets().first().context("no socket")?)?;
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            tokio::spawn(async move { answer(incoming.await?).await });
        }
    });
    until_closed().await?;
    endpoint.close().await;
    Ok(())
}

async fn answer(connection: Connection) -> Result<()> {
    serve_over(stream(connection.accept_bi().await?)).await
}

/// Does a job and reports the result.
pub(crate) async fn drive(drive: &Drive, job: Job) -> Result<()> {
    let id = std::fs::read(drive.folder.join(ID))?;
    let id = EndpointId::try_from(&*id).context("no id")?;
    let server = EndpointAddr::new(id).with_ip_addr(drive.address);
    let (endpoint, others) = (endpoint().await?, drive.others.clone());
    let connection = endpoint.connect(server, PROTOCOL).await?;
    let stream = stream(connection.open_bi().await?);
    let driven = tokio::spawn(async move { drive_over(stream, &others, job).await });
    tell(&driven.await??)?;
    endpoint.close().await;
    Ok(())
}
