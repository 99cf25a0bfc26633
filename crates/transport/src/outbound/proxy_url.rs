//! The URL of a proxy, whose user's password nobody sees.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::uri::Authority;
use percent_encoding::percent_decode_str;
use thiserror::Error;
use zeroize::Zeroizing;

/// The URL of an HTTP proxy: `http://host:port`, or `http://user:password@host:port`. The scheme may be
/// missing; the port is 80 unless it is there. Characters of the user's name and the password that have a
/// meaning in URLs are written as `%40` and the like.
///
/// It shows host and port only. Copies share the password, which is wiped with the last of them.
///
/// ```
/// use paddington_transport::ProxyUrl;
///
/// let proxy: ProxyUrl = "http://sensor:sesame@proxy.example:3128".parse()?;
/// assert_eq!(format!("{proxy} {proxy:?}"), "proxy.example:3128 ProxyUrl(proxy.example:3128)");
/// # Ok::<(), paddington_transport::ProxyUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    /// The host, an IPv6 address in brackets.
    host: String,
    port: u16,
    user: Option<Arc<UserInfo>>,
}

/// The user's name and perhaps a password, as in a URL.
#[derive(PartialEq, Eq)]
struct UserInfo(Zeroizing<String>);

/// The text is not a proxy's URL. It is not shown, because it may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not the URL of a proxy: {0}; an example is http://proxy.example:3128")]
pub struct ProxyUrlError(&'static str);

/// The port of a URL that names none.
const PORT: u16 = 80;

impl ProxyUrl {
    /// Returns the host's name or address, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether it names a user.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// Returns whether it holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.0.contains(':'))
    }

    /// Returns the whole URL, with the password.
    pub(crate) fn expose_url(&self) -> Zeroizing<String> {
        let user = self.user.as_ref().map_or("", |user| user.0.as_str());
        let mut url = Zeroizing::new(String::with_capacity(user.len() + self.host.len() + 16));
        url.push_str("http://");
        if !user.is_empty() {
            url.push_str(user);
            url.push('@');
        }
        url.push_str(&self.to_string());
        url
    }

    /// Returns the value of the header `Proxy-Authorization`, if there is a user: with `password` if that
    /// is given, and with the URL's otherwise.
    pub(crate) fn expose_authorization(
        &self,
        password: Option<&Zeroizing<Vec<u8>>>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let user = self.user.as_ref()?;
        let (name, own) = user.0.split_once(':').unwrap_or((&user.0, ""));
        let own = decoded(own);
        let (name, password) = (decoded(name), password.unwrap_or(&own));
        let mut pair = Zeroizing::new(Vec::with_capacity(name.len() + 1 + password.len()));
        pair.extend_from_slice(&name);
        pair.push(b':');
        pair.extend_from_slice(password);
        let mut value = Zeroizing::new(vec![0; BASIC.len() + pair.len().div_ceil(3) * 4]);
        let (basic, digits) = value.split_at_mut(BASIC.len());
        basic.copy_from_slice(BASIC);
        STANDARD.encode_slice(&*pair, digits).ok()?;
        Some(value)
    }
}

/// The beginning of the header's value.
const BASIC: &[u8] = b"Basic ";

fn decoded(text: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    bytes.extend(percent_decode_str(text));
    bytes
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(url: &str) -> Result<Self, ProxyUrlError> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        is_spoken(scheme)?;
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let host = host.strip_suffix('/').unwrap_or(host);
        if host.contains(['/', '?', '#']) {
            return Err(ProxyUrlError("it has a path"));
        }
        let authority: Authority =
            host.parse().map_err(|_| ProxyUrlError("its host is malformed"))?;
        let host = authority.host();
        if host.is_empty() {
            return Err(ProxyUrlError("it names no host"));
        }
        let has_port = authority.as_str().len() > host.len();
        let port = match authority.port_u16() {
            None if !has_port => PORT,
            None | Some(0) => {
                return Err(ProxyUrlError("its port is not a number from 1 to 65535"));
            }
            Some(port) => port,
        };
        let user = user.map(user_info).transpose()?;
        Ok(Self { host: host.to_ascii_lowercase(), port, user })
    }
}

fn is_spoken(scheme: &str) -> Result<(), ProxyUrlError> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok(()),
        "https" => Err(ProxyUrlError(
            "TLS to the proxy itself (https://) is not supported, and wss:// needs none: write http://",
        )),
        scheme if scheme.starts_with("socks") => {
            Err(ProxyUrlError("SOCKS is not supported: name an HTTP proxy"))
        }
        _ => Err(ProxyUrlError("it does not begin with http://")),
    }
}

fn user_info(text: &str) -> Result<Arc<UserInfo>, ProxyUrlError> {
    let (name, password) = text.split_once(':').unwrap_or((text, ""));
    let (name, password) = (decoded(name), decoded(password));
    if name.is_empty() {
        return Err(ProxyUrlError("the name of its user is empty"));
    }
    if name.contains(&b':') {
        return Err(ProxyUrlError("the name of its user holds a colon"));
    }
    if name.iter().chain(password.iter()).any(u8::is_ascii_control) {
        return Err(ProxyUrlError(
            "the name of its user or the password holds a control character",
        ));
    }
    Ok(Arc::new(UserInfo(Zeroizing::new(text.to_owned()))))
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorization(url: &str, password: Option<&str>) -> Option<String> {
        let url: ProxyUrl = url.parse().unwrap();
        let password = password.map(|text| Zeroizing::new(text.as_bytes().to_vec()));
        let value = url.expose_authorization(password.as_ref())?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn a_url_is_read_with_or_without_scheme_port_and_user() {
        let cases = [
            ("http://proxy.example:3128", "proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.Example:3128/", "proxy.example:3128", "http://proxy.example:3128"),
            ("proxy.example:3128", "proxy.example:3128", "http://proxy.example:3128"),
            ("proxy.example", "proxy.example:80", "http://proxy.example:80"),
            ("http://[2001:db8::1]:3128", "[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
            ("http://u:p@192.0.2.1:1", "192.0.2.1:1", "http://u:p@192.0.2.1:1"),
            ("u:p/#@x@proxy.example:1", "proxy.example:1", "http://u:p/#@x@proxy.example:1"),
        ];
        for (text, shown, whole) in cases {
            let url: ProxyUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(*url.expose_url(), whole);
            assert_eq!(whole.parse::<ProxyUrl>().unwrap(), url);
        }
        assert_eq!("http://[::1]:1".parse::<ProxyUrl>().unwrap().host(), "::1");
    }

    #[test]
    fn a_text_that_is_no_proxys_url_is_refused_without_being_shown() {
        for url in [
            "",
            "http://",
            "http://user:sesame@",
            "http://user:sesame@proxy.example:0",
            "http://user:sesame@proxy.example:x",
            "http://user:sesame@proxy.example:70000",
            "http://user:sesame@proxy.example/path",
            "http://user:sesame@proxy example",
            "http://:sesame@proxy.example",
            "http://us%3aer:sesame@proxy.example",
            "http://user:sesame%0d%0aevil@proxy.example",
            "https://user:sesame@proxy.example:443",
            "socks5h://user:sesame@proxy.example:1080",
            "ftp://user:sesame@proxy.example",
        ] {
            let error = url.parse::<ProxyUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
        }
        let of = |url: &str| url.parse::<ProxyUrl>().unwrap_err().to_string();
        assert!(of("https://a").contains("TLS to the proxy itself"));
        assert!(of("socks5://a").contains("SOCKS"));
    }

    #[test]
    fn the_user_is_authorised_with_either_password() {
        // RFC 7617, section 2
        let known = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned());
        assert_eq!(authorization("http://Aladdin:open%20sesame@proxy", None), known);
        assert_eq!(authorization("http://Aladdin@proxy", Some("open sesame")), known);
        assert_eq!(authorization("http://proxy", Some("open sesame")), None);
        let at = STANDARD.encode("a@b:c:d");
        assert_eq!(authorization("http://a%40b:c:d@proxy", None), Some(format!("Basic {at}")));
    }

    #[test]
    fn the_password_is_not_shown() {
        let url: ProxyUrl = "http://user:sesame@proxy.example:3128".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "proxy.example:3128 ProxyUrl(proxy.example:3128)");
        assert!(url.has_user() && url.has_password());
        let url: ProxyUrl = "http://user@proxy.example".parse().unwrap();
        assert!(url.has_user() && !url.has_password());
    }
}
