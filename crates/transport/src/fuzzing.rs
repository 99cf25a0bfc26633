//! The server's handling of what strangers and proxies send first, for a fuzzer.

use std::net::{IpAddr, Ipv4Addr};

use http::StatusCode;
use http::header::{FORWARDED, HeaderName};
use paddington_wire::sealed::Challenge;
use tokio::io::{AsyncWriteExt, sink};

use crate::upgrade::{self, Policy};
use crate::{Limits, Stream, TrustedProxies, proxy_protocol, request_head};

struct Anybody(TrustedProxies);

impl Policy for Anybody {
    fn path(&self) -> &str {
        "/"
    }

    fn proxies(&self) -> Option<&TrustedProxies> {
        Some(&self.0)
    }

    fn admit(&self, _: IpAddr) -> Result<(), StatusCode> {
        Ok(())
    }

    fn admits_hex(&self, _: IpAddr) -> bool {
        true
    }
}

/// Reads a header of the PROXY protocol as a server would behind a proxy that it trusts.
pub async fn proxy_header(bytes: &[u8]) {
    let mut stream = Stream::new(tokio::io::join(std::io::Cursor::new(bytes.to_vec()), sink()));
    // Any address will do: the fuzzer looks for panics.
    let _ = proxy_protocol::read(&mut stream).await;
}

/// Answers a request as a server would that admits every client, behind a proxy that it trusts.
pub async fn request(bytes: &[u8]) {
    for header in [HeaderName::from_static("x-forwarded-for"), FORWARDED] {
        answer(bytes, TrustedProxies { header, ..TrustedProxies::default() }).await;
    }
}

async fn answer(bytes: &[u8], proxies: TrustedProxies) {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    // Longer inputs add nothing: the limits are far lower.
    let len = bytes.len().min(32 * 1024);
    if far.write_all(&bytes[..len]).await.is_err() || far.shutdown().await.is_err() {
        return;
    }
    let (mut stream, limits) = (Stream::new(near), Limits::default());
    let Ok(head) = request_head::read(&mut stream, &limits).await else { return };
    stream.set_budget(None);
    stream.unread(head);
    let policy = Anybody(proxies);
    let challenge = Challenge::from([7; 32]);
    let direct = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // Any answer will do: the fuzzer looks for panics.
    let _ = upgrade::answer(stream, &limits, direct, challenge, &policy).await;
}
