//! Which way leads to a server: the configuration decides, and the environment where that lets it.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::settings;
use super::{HostPattern, Outbound, ProxyChoice, ProxyEnvironment, ProxyError, ProxyUrl};
use crate::{DialError, Endpoint, Step};

/// The way to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Direct,
    Proxy(Proxy),
}

/// A proxy on the way to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) url: ProxyUrl,
    /// Where it is named, in words.
    pub(crate) named_in: &'static str,
    password_file: Option<PathBuf>,
}

impl Route {
    /// Returns the way to `endpoint`.
    pub(crate) fn to(
        endpoint: &Endpoint,
        settings: &Outbound,
        environment: &ProxyEnvironment,
    ) -> Result<Self, DialError> {
        let named = |list: &[HostPattern]| {
            list.iter().any(|pattern| pattern.matches(endpoint.host(), endpoint.port()))
        };
        if named(&settings.no_proxy)
            || (is_loopback(endpoint.host()) && !named(&settings.proxy_loopback))
        {
            return Ok(Self::Direct);
        }
        match &settings.proxy {
            ProxyChoice::None => Ok(Self::Direct),
            ProxyChoice::Url(url) => {
                let password_file = Some(settings.proxy_password_file.clone());
                let password_file = password_file.filter(|path| !path.as_os_str().is_empty());
                Ok(Self::Proxy(Proxy { url: url.clone(), named_in: SETTINGS, password_file }))
            }
            ProxyChoice::Environment if named(environment.no_proxy()) => Ok(Self::Direct),
            ProxyChoice::Environment => match environment.variable(endpoint.is_secure()) {
                None => Ok(Self::Direct),
                Some(variable) => {
                    let url = variable.url.clone().map_err(|source| DialError::Proxy {
                        proxy: format!("of {}", variable.name),
                        source: ProxyError::Variable(source),
                    })?;
                    let named_in = variable.name;
                    Ok(Self::Proxy(Proxy { url, named_in, password_file: None }))
                }
            },
        }
    }

    /// Returns the proxy on the way, if there is one.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Direct => None,
            Self::Proxy(proxy) => Some(proxy),
        }
    }
}

/// Where a proxy is named that the configuration names.
const SETTINGS: &str = "settings.transport.outbound";

impl Proxy {
    /// Returns the failure of this proxy.
    pub(crate) fn failed(&self, source: ProxyError) -> DialError {
        DialError::Proxy { proxy: self.url.to_string(), source }
    }

    /// Returns the failure of a step on the way to this proxy that took too long.
    pub(crate) fn timed_out(&self, step: Step) -> DialError {
        let source = io::ErrorKind::TimedOut.into();
        self.failed(match step {
            Step::Resolve => ProxyError::Resolve(source),
            Step::Connect => ProxyError::Connect { address: self.url.to_string(), source },
            _ => ProxyError::NoAnswer(source),
        })
    }

    /// Returns the value of the header `Proxy-Authorization`, if there is a user.
    pub(super) async fn authorization(&self) -> Result<Option<Zeroizing<Vec<u8>>>, ProxyError> {
        let Some(path) = self.password_file.clone() else {
            return Ok(self.url.expose_authorization(None));
        };
        let reading = path.clone();
        let read = tokio::task::spawn_blocking(move || settings::password(&reading)).await;
        let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
        let password = read.map_err(|source| ProxyError::PasswordFile { path, source })?;
        Ok(self.url.expose_authorization(Some(&password)))
    }
}

/// Returns whether a URL's host is this machine.
fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    match name.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address.is_loopback() || address.is_unspecified()
        }
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    /// Returns the way to `url` as text: a proxy and where it is named, or nothing.
    fn way(url: &str, settings: &str, variables: Variables<'_>) -> Option<String> {
        let settings: Outbound = serde_json::from_str(settings).unwrap();
        let find = |name: &str| {
            variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.into())
        };
        let environment = ProxyEnvironment::of(find);
        let endpoint = url.parse().unwrap();
        match Route::to(&endpoint, &settings, &environment) {
            Ok(Route::Direct) => None,
            Ok(Route::Proxy(proxy)) => Some(format!("{} {}", proxy.url, proxy.named_in)),
            Err(error) => Some(crate::with_causes(&error)),
        }
    }

    const WSS: &str = "wss://hub.example.org/";
    const WS: &str = "ws://hub.example.org:6501/";

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let (lower, upper) = (("https_proxy", "lower:1"), ("HTTPS_PROXY", "upper:1"));
        let (all, all_upper) = (("all_proxy", "all:1"), ("ALL_PROXY", "ALL:2"));
        let http = ("http_proxy", "http:1");
        let cases: [(&str, Variables<'_>, Option<&str>); 13] = [
            (WSS, &[], None),
            (WSS, &[upper], Some("upper:1 HTTPS_PROXY")),
            (WSS, &[upper, lower], Some("lower:1 https_proxy")),
            (WSS, &[("https_proxy", " "), upper], Some("upper:1 HTTPS_PROXY")),
            (WSS, &[http], None),
            (WSS, &[all_upper, all], Some("all:1 all_proxy")),
            (WSS, &[all_upper], Some("all:2 ALL_PROXY")),
            (WSS, &[all, upper], Some("upper:1 HTTPS_PROXY")),
            (WS, &[upper, lower], None),
            (WS, &[("HTTP_PROXY", "evil:1")], None),
            (WS, &[http, all], Some("http:1 http_proxy")),
            (WS, &[all], Some("all:1 all_proxy")),
            (WS, &[("HTTP_PROXY", "evil:1"), all_upper], Some("all:2 ALL_PROXY")),
        ];
        for (url, variables, expected) in cases {
            assert_eq!(way(url, "{}", variables).as_deref(), expected, "{url} {variables:?}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_that_are_reached_directly() {
        let all = ("all_proxy", "all:1");
        let cases = [
            ("*", true),
            ("example.org", true),
            ("other.org, .example.org", true),
            ("other.org example.org", true),
            ("nonsense:x,,hub.example.org:443", true),
            ("hub.example.org:6501", false),
            ("10.0.0.0/8", false),
            ("mple.org", false),
        ];
        for (listed, direct) in cases {
            let found = way(WSS, "{}", &[all, ("NO_PROXY", listed)]);
            assert_eq!(found.is_none(), direct, "{listed}");
        }
        let both = [all, ("no_proxy", "other.org"), ("NO_PROXY", "*")];
        assert!(way(WSS, "{}", &both).is_some(), "the one in lower case counts");
        let ranges = [all, ("no_proxy", "10.0.0.0/8,2001:db8::/32")];
        assert_eq!(way("wss://10.1.2.3/", "{}", &ranges), None);
        assert_eq!(way("wss://[2001:db8::7]/", "{}", &ranges), None);
        assert!(way("wss://192.0.2.1/", "{}", &ranges).is_some());
    }

    #[test]
    fn the_configuration_wins_over_the_environment() {
        let all: &[_] = &[("all_proxy", "all:1"), ("no_proxy", "*")];
        let own = r#"{"proxy": "http://own:2"}"#;
        let named = Some("own:2 settings.transport.outbound".to_owned());
        assert_eq!(way(WSS, own, all), named, "NO_PROXY is for the proxies of the environment");
        let listed = r#"{"proxy": "http://own:2", "no_proxy": ["example.org"]}"#;
        assert_eq!(way(WSS, listed, all), None);
        let environment = &all[..1];
        assert!(way(WSS, "{}", environment).is_some());
        for off in ["none", ""] {
            assert_eq!(way(WSS, &format!(r#"{{"proxy": "{off}"}}"#), environment), None);
        }
        let listed = r#"{"no_proxy": ["hub.example.org"]}"#;
        assert_eq!(way(WSS, listed, environment), None);
        assert!(way(WSS, r#"{"proxy": "environment"}"#, environment).is_some());
    }

    #[test]
    fn this_machine_is_reached_directly_unless_it_is_named() {
        let all: &[_] = &[("all_proxy", "all:1")];
        for host in ["localhost", "a.localhost", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]"] {
            let url = format!("ws://{host}:6501/");
            for settings in ["{}", r#"{"proxy": "own:2"}"#] {
                assert_eq!(way(&url, settings, all), None, "{url}");
            }
            let named = r#"{"proxy_loopback": ["localhost", "127.0.0.0/8", "::1"]}"#;
            assert!(way(&url, named, all).is_some(), "{url}");
        }
        assert!(way("ws://notlocalhost:1/", "{}", all).is_some());
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named_without_its_value() {
        let found = way(WSS, "{}", &[("HTTPS_PROXY", "socks5://user:sesame@proxy:1080")]).unwrap();
        assert_eq!(
            found,
            "no way to the server through the proxy of HTTPS_PROXY: its value cannot be used: not the \
             URL of a proxy: SOCKS is not supported: name an HTTP proxy; an example is \
             http://proxy.example:3128"
        );
    }

    #[test]
    fn no_debug_shows_a_password() {
        let url = "http://user:sesame@proxy:1";
        let settings: Outbound = serde_json::from_str(&format!(r#"{{"proxy": "{url}"}}"#)).unwrap();
        let environment = ProxyEnvironment::of(|name| (name == "all_proxy").then(|| url.into()));
        let route = Route::to(&WSS.parse().unwrap(), &settings, &environment).unwrap();
        let shown = format!("{settings:?} {environment:?} {route:?}");
        assert!(!shown.contains("sesame") && !shown.contains("user"), "{shown}");
        let written = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Outbound>(&written).unwrap(), settings);
    }
}
