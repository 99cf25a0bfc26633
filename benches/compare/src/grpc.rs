//! gRPC: unary calls of tonic over one connection with TLS. What is called is written by hand, not made
//! from a `.proto` file, and a message is its bytes: nothing is spent on protobuf, nor on a router.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::Ipv4Addr;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::{Buf, BufMut, Bytes};
use paddington_bench::{
    DEADLINE, Drive, Job, PING, Sample, Serve, measure_calls, message, tell, until_closed,
};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc as Answer, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
};
use tonic::{Request, Response, Status};

const PATH: &str = "/echo.Echo/Call";

/// Messages that are their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The service: a call is answered with what it brought.
#[derive(Clone, Copy, Debug)]
struct Echo;

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("there is no such call").into_http());
            }
            Ok(Answer::new(Raw).unary(Self, request).await)
        })
    }
}

/// Answers until it is told to end.
pub(crate) async fn serve(serve: &Serve) -> Result<()> {
    let file = |name| std::fs::read(serve.folder.join(name));
    let identity = Identity::from_pem(file("certificate.pem")?, file("key.pem")?);
    let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(&listener.local_addr()?)?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(server.serve_with_incoming(Echo, incoming));
    until_closed().await
}

/// Does a job and reports the result.
pub(crate) async fn drive(drive: &Drive, job: Job) -> Result<()> {
    let certificate = std::fs::read(drive.folder.join("certificate.pem"))?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(certificate))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", drive.address))?;
    let channel = endpoint.tls_config(tls)?.timeout(DEADLINE).connect().await?;
    tell(&calls(channel, job, &drive.others).await?)
}

async fn calls(channel: Channel, job: Job, others: &[u32]) -> Result<Sample> {
    let shared = (channel, Bytes::from(message(PING, job.size)));
    let call = move || {
        let (channel, payload) = shared.clone();
        async move {
            let mut client = Client::new(channel);
            client.ready().await?;
            let path = PathAndQuery::from_static(PATH);
            let answer = client.unary(Request::new(payload), path, Raw).await?;
            Ok(answer.into_inner().len())
        }
    };
    measure_calls(call, job, others).await
}
