//! The variables of a process that name proxies.

use std::ffi::OsString;

use zeroize::Zeroizing;

use super::{HostPattern, ProxyUrl, ProxyUrlError};

/// The proxies that the environment of a process names, and the hosts that are reached without one.
///
/// A `wss` server is reached through the proxy of `https_proxy`, `HTTPS_PROXY`, `all_proxy` or `ALL_PROXY`,
/// a `ws` server through that of `http_proxy`, `all_proxy` or `ALL_PROXY`; the first counts that is not
/// empty. `HTTP_PROXY` does not count, because a web server sets it from a header of a request. `no_proxy`
/// or `NO_PROXY` lists hosts, between commas or spaces; what names no hosts in it is passed over.
///
/// ```
/// use paddington_transport::ProxyEnvironment;
///
/// let variables = [("HTTPS_PROXY", "http://proxy.example:3128"), ("NO_PROXY", ".example")];
/// let find = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.into());
/// assert!(!ProxyEnvironment::of(find).is_empty());
/// assert!(ProxyEnvironment::default().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProxyEnvironment {
    secure: Option<Variable>,
    plain: Option<Variable>,
    no_proxy: Vec<HostPattern>,
}

/// A variable that is set.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) url: Result<ProxyUrl, ProxyUrlError>,
}

const SECURE: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const PLAIN: [&str; 3] = ["http_proxy", "all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

impl ProxyEnvironment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    /// Reads an environment whose variables `find` knows.
    #[must_use]
    pub fn of(find: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| {
            let value = find(name)?.into_encoded_bytes();
            let value = Zeroizing::new(value);
            let text = Zeroizing::new(String::from_utf8_lossy(&value).into_owned());
            Some(text).filter(|text| !text.trim().is_empty())
        };
        let first = |names: &[&'static str]| {
            names.iter().find_map(|&name| Some(Variable { name, url: text(name)?.parse() }))
        };
        let listed = NO_PROXY.iter().find_map(|name| text(name)).unwrap_or_default();
        let no_proxy = listed.split([',', ' ', '\t']).filter_map(|one| one.parse().ok()).collect();
        Self { secure: first(&SECURE), plain: first(&PLAIN), no_proxy }
    }

    /// Returns whether it names no proxy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secure.is_none() && self.plain.is_none()
    }

    /// Returns the variable that names the proxy for servers with or without TLS.
    pub(super) fn variable(&self, secure: bool) -> Option<&Variable> {
        if secure { self.secure.as_ref() } else { self.plain.as_ref() }
    }

    /// Returns the hosts that are reached without a proxy.
    pub(super) fn no_proxy(&self) -> &[HostPattern] {
        &self.no_proxy
    }
}
