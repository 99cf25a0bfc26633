//! The way from a client to its server through a proxy of its own network (`docs/deploy/outbound-proxy.md`).

mod environment;
mod error;
mod host_pattern;
mod proxy_url;
mod route;
mod settings;
mod tunnel;

pub use environment::ProxyEnvironment;
pub use error::ProxyError;
pub use host_pattern::{HostPattern, HostPatternError};
pub use proxy_url::{ProxyUrl, ProxyUrlError};
pub(crate) use route::{Proxy, Route};
pub use settings::{Outbound, ProxyChoice};
pub(crate) use tunnel::open;
