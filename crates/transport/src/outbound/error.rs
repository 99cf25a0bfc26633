//! The ways in which a proxy opens no way to a server.

use std::io;
use std::path::PathBuf;

use http::StatusCode;
use thiserror::Error;

use super::ProxyUrlError;

/// Why there is no way to a server through a proxy. Nothing that the proxy has sent is in it but the status
/// of its answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A variable of the environment cannot be used.
    #[error("its value cannot be used")]
    Variable(#[source] ProxyUrlError),
    /// The file with the password cannot be read.
    #[error("the password in {path:?} cannot be read")]
    PasswordFile {
        /// The path of the file.
        path: PathBuf,
        /// The error in reading it.
        #[source]
        source: io::Error,
    },
    /// The proxy's own name could not be resolved.
    #[error("its name could not be resolved")]
    Resolve(#[source] io::Error),
    /// None of the proxy's addresses could be reached.
    #[error("{address} could not be reached")]
    Connect {
        /// The address that was tried last.
        address: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The proxy did not answer in time, or closed the connection instead.
    #[error("it did not answer")]
    NoAnswer(#[source] io::Error),
    /// The answer is not that of an HTTP proxy.
    #[error("its answer is invalid: {0}")]
    Answer(&'static str),
    /// The proxy wants a password, and there is none (407).
    #[error("it wants a user's name and a password")]
    WantsPassword,
    /// The proxy does not accept the user's name or the password (407).
    #[error("it does not accept the user's name or the password")]
    PasswordRefused,
    /// The proxy wants another authentication than Basic (407).
    #[error("it wants an authentication other than Basic")]
    NotBasic,
    /// The proxy answered with another status than 2xx.
    #[error("it answered {0}")]
    Refused(StatusCode),
}

impl ProxyError {
    /// Returns the stable name of the failure, for programs (`docs/doctor.md`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Variable(_) | Self::PasswordFile { .. } => "proxy_settings",
            Self::Resolve(_) | Self::Connect { .. } => "proxy_unreachable",
            Self::NoAnswer(_) => "proxy_no_answer",
            Self::Answer(_) => "proxy_answer_invalid",
            Self::WantsPassword | Self::NotBasic => "proxy_wants_password",
            Self::PasswordRefused => "proxy_password_refused",
            Self::Refused(status) if is_from_behind(*status) => "proxy_cannot_reach_server",
            Self::Refused(_) => "proxy_refused",
        }
    }

    /// Returns what probably helps.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Variable(_) => {
                "correct the variable, or write proxy = \"none\" or a proxy's URL into \
                 [settings.transport.outbound]"
            }
            Self::PasswordFile { .. } => {
                "let proxy_password_file name a file with the password that this service can read"
            }
            Self::Resolve(_) => "check the host in the proxy's URL, and this machine's DNS",
            Self::Connect { .. } => {
                "check that the proxy runs, and the host and the port in its URL"
            }
            Self::NoAnswer(_) | Self::Answer(_) => {
                "check that the proxy's URL leads to an HTTP proxy, and its log"
            }
            Self::WantsPassword => {
                "write http://USER@HOST:PORT as proxy and the password into proxy_password_file, or \
                 ask who runs the proxy to let this machine pass without one"
            }
            Self::PasswordRefused => "correct the user's name and the password for the proxy",
            Self::NotBasic => {
                "ask who runs the proxy to offer Basic authentication, or to let this machine pass"
            }
            Self::Refused(status) if is_from_behind(*status) => {
                "check that the server runs and that the proxy can resolve and reach the host and the \
                 port in the invitation's URL"
            }
            Self::Refused(_) => {
                "ask who runs the proxy to allow CONNECT to the host and the port in the \
                 invitation's URL; many proxies allow port 443 only"
            }
        }
    }

    /// Returns whether only a person can resolve the failure.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Variable(_) | Self::WantsPassword | Self::PasswordRefused | Self::NotBasic => {
                true
            }
            Self::Refused(status) => !status.is_server_error(),
            _ => false,
        }
    }

    /// Returns whether the proxy has refused this server, or could not reach it.
    pub(crate) fn concerns_server(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// Returns whether a proxy says by its answer that it does not reach the server.
fn is_from_behind(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}
