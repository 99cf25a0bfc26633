//! The server's handling of an HTTP request, for a fuzzer.

use std::net::{IpAddr, Ipv4Addr};

use http::StatusCode;
use paddington_wire::sealed::Challenge;
use tokio::io::AsyncWriteExt;

use crate::upgrade::{self, Policy};
use crate::{Limits, Stream, TrustedProxies, request_head};

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

/// Answers a request as a server would that admits every client, behind a proxy that it trusts.
pub async fn request(bytes: &[u8]) {
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
    let policy = Anybody(TrustedProxies::default());
    let challenge = Challenge::from([7; 32]);
    let direct = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // Any answer will do: the fuzzer looks for panics.
    let _ = upgrade::answer(stream, &limits, direct, challenge, &policy).await;
}
