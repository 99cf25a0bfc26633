//! The URL of a database, with the settings of TLS that the client library does not know.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::error::OpenError;

/// A URL that was read.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    pub(crate) config: Config,
    /// A file of roots instead of the machine's.
    pub(crate) roots: Option<PathBuf>,
    /// The hosts and the name of the database, for people.
    pub(crate) place: String,
}

impl Url {
    /// Reads a URL. Its errors never show it, because it may contain a password.
    pub(crate) fn read(url: &str) -> Result<Self, OpenError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(OpenError::Url("it has to begin with postgres://".to_owned()));
        }
        let (start, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut rest, mut mode, mut roots) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value.to_owned()),
                Some(("sslrootcert", value)) => {
                    let path = percent_decode_str(value).decode_utf8_lossy().into_owned();
                    roots = Some(PathBuf::from(path));
                }
                // A list, as for other clients; the library takes one host of each pair.
                Some(("host", hosts)) => {
                    rest.extend(hosts.split(',').map(|host| format!("host={host}")));
                }
                _ => rest.push(pair.to_owned()),
            }
        }
        let invalid = |error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            OpenError::Url(cause.unwrap_or_else(|| error.to_string()))
        };
        let mut config: Config = format!("{start}?{}", rest.join("&")).parse().map_err(invalid)?;
        config.ssl_mode(ssl_mode(mode.as_deref(), &config)?);
        let place = place(&config);
        Ok(Self { config, roots, place })
    }

    /// Returns the number of hosts.
    pub(crate) fn hosts(&self) -> usize {
        self.config.get_hosts().len()
    }

    /// Returns the same URL with one of its hosts only, whether that one writes or not.
    pub(crate) fn at_host(&self, at: usize) -> Self {
        let all = &self.config;
        let mut config = Config::new();
        match all.get_hosts().get(at) {
            Some(Host::Tcp(name)) => config.host(name),
            #[cfg(unix)]
            Some(Host::Unix(path)) => config.host_path(path),
            None => &mut config,
        };
        let address = all.get_hostaddrs().get(at);
        address.map(|address| config.hostaddr(*address));
        let port = all.get_ports().get(at).or_else(|| all.get_ports().first());
        port.map(|port| config.port(*port));
        all.get_user().map(|user| config.user(user));
        all.get_password().map(|password| config.password(password));
        all.get_dbname().map(|name| config.dbname(name));
        all.get_options().map(|options| config.options(options));
        all.get_application_name().map(|name| config.application_name(name));
        all.get_connect_timeout().map(|timeout| config.connect_timeout(*timeout));
        all.get_tcp_user_timeout().map(|timeout| config.tcp_user_timeout(*timeout));
        config.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
        config.channel_binding(all.get_channel_binding());
        let place = place(&config);
        Self { config, roots: self.roots.clone(), place }
    }
}

/// Without a mode, TLS is used wherever others may listen.
fn ssl_mode(mode: Option<&str>, config: &Config) -> Result<SslMode, OpenError> {
    match mode {
        Some("disable") => Ok(SslMode::Disable),
        Some("prefer" | "allow") => Ok(SslMode::Prefer),
        Some("require" | "verify-ca" | "verify-full") => Ok(SslMode::Require),
        Some(_) => Err(OpenError::Url(
            "sslmode is one of disable, prefer, require and verify-full".to_owned(),
        )),
        None if config.get_hosts().iter().all(is_here) => Ok(SslMode::Disable),
        None => Ok(SslMode::Require),
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(is_loopback),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn is_loopback(address: std::net::IpAddr) -> bool {
    address.is_loopback()
}

fn place(config: &Config) -> String {
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    };
    let hosts: Vec<_> = config.get_hosts().iter().map(host).collect();
    let name = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("{}/{name}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::TargetSessionAttrs;

    use super::*;

    fn mode(url: &str) -> SslMode {
        Url::read(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn tls_is_used_wherever_others_may_listen() {
        assert_eq!(mode("postgres://paddington@db1,db2/service"), SslMode::Require);
        assert_eq!(mode("postgres://paddington@127.0.0.1,db2/service"), SslMode::Require);
        assert_eq!(
            mode("postgres://paddington@localhost,127.0.0.1,[::1]/service"),
            SslMode::Disable
        );
        assert_eq!(mode("postgres:///service?host=/run/postgresql"), SslMode::Disable);
        assert_eq!(mode("postgres:///service?host=/run/postgresql,db2"), SslMode::Require);
        assert_eq!(mode("postgres://db1/service?sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("postgres://db1/service?sslmode=verify-full"), SslMode::Require);
    }

    #[test]
    fn each_host_has_its_own_port_and_all_else_in_common() {
        let url = "postgres://me:secret@db1:5433,db2/service?sslmode=disable&target_session_attrs=read-write";
        let url = Url::read(url).unwrap();
        assert_eq!(url.hosts(), 2);
        for (at, host, port) in [(0, "db1", 5433), (1, "db2", 5432)] {
            let one = url.at_host(at);
            assert_eq!(one.place, format!("{host}/service"));
            assert_eq!(one.config.get_ports(), [port]);
            assert_eq!(one.config.get_target_session_attrs(), TargetSessionAttrs::Any);
            assert_eq!(one.config.get_password(), Some(&b"secret"[..]));
            assert_eq!(one.config.get_ssl_mode(), SslMode::Disable);
        }
    }

    #[test]
    fn what_is_said_of_a_url_never_holds_its_password() {
        let url =
            Url::read("postgres://me:secret@db1,db2/service?sslrootcert=%2Fetc%2Froots").unwrap();
        assert_eq!(url.place, "db1,db2/service");
        assert_eq!(url.roots, Some("/etc/roots".into()));
        for wrong in [
            "mysql://me:secret@db/x",
            "postgres://me:secret@db/x?sslmode=maybe",
            "postgres://me:secret@db:port/x",
            "postgres://me:secret@db/x?nonsense=secret",
        ] {
            let text = Url::read(wrong).unwrap_err().to_string();
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
