//! Answers that are errors.

use std::error::Error;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use paddington::{
    AddError, ChangeError, ConfigError, LinkError, PingError, PurgeError, RekeyError, RemoveError,
    with_causes,
};
use serde::Serialize;

use crate::model::{ApiError, ErrorBody};

/// An answer that is an error.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: ApiError,
    retry_after: Option<u64>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let error = ApiError { code: code.to_owned(), message: message.into(), remedy: None };
        Self { status, error, retry_after: None }
    }

    /// Adds what to do.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.error.remedy = Some(remedy.into());
        self
    }

    /// Adds after how many seconds it may be worth trying again.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says which of several messages it is about, from 0.
    pub(crate) fn at(mut self, index: usize) -> Self {
        self.error.message = format!("message {index}: {}", self.error.message);
        self
    }

    /// Adds that `later` messages were accepted nevertheless.
    pub(crate) fn after(mut self, later: usize) -> Self {
        let message = &self.error.message;
        self.error.message = format!("{message}; {later} of the messages after it were accepted");
        self
    }

    /// Answers with a body that holds the error and more.
    pub(crate) fn with_body<T: Serialize>(self, body: impl FnOnce(ApiError) -> T) -> Response {
        let Self { status, error, retry_after } = self;
        respond(status, retry_after, &body(error))
    }

    /// Of something in a request that is not valid.
    pub(crate) fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn unknown_peer(name: &str) -> Self {
        let name: String = name.chars().take(80).collect();
        Self::new(StatusCode::NOT_FOUND, "unknown_peer", format!("no peer is called {name:?}"))
            .remedy("GET /v1/peers lists the peers")
    }

    pub(crate) fn no_store() -> Self {
        let message = "this service keeps nothing in a store";
        Self::new(StatusCode::NOT_FOUND, "no_store", message)
            .remedy("name a file in the field outbox of service.toml, and restart the service")
    }

    pub(crate) fn store(error: &dyn Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_failed", with_causes(error))
            .remedy("look at the disk: whether it is full, and whether its files can be written")
    }

    /// Of something that may be done, or will be.
    fn unsure(error: &dyn Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unsure", with_causes(error))
            .remedy("ask for it again: if nothing is stored for the link any more, it is done")
    }

    fn conflict(code: &str, error: &dyn Error) -> Self {
        Self::new(StatusCode::CONFLICT, code, with_causes(error))
    }

    pub(crate) fn shutting_down() -> Self {
        let message = "the service is shutting down";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message)
    }

    fn internal(error: &dyn Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", with_causes(error))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.with_body(|error| ErrorBody { error })
    }
}

fn respond(status: StatusCode, retry_after: Option<u64>, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match &error {
            LinkError::Config(config) => Self::config(config),
            LinkError::Add(AddError::ShuttingDown)
            | LinkError::Remove(RemoveError::ShuttingDown)
            | LinkError::Change(ChangeError::ShuttingDown)
            | LinkError::Keys(RekeyError::ShuttingDown) => Self::shutting_down(),
            LinkError::Remove(RemoveError::UnknownPeer(name))
            | LinkError::Change(ChangeError::UnknownPeer(name))
            | LinkError::Keys(RekeyError::UnknownPeer(name)) => Self::unknown_peer(name),
            LinkError::Remove(RemoveError::Waiting { .. }) => {
                Self::conflict("messages_wait", &error)
                    .remedy("say ?waiting=purge or ?waiting=keep")
            }
            LinkError::Keys(RekeyError::NotOffered(_)) => Self::conflict("not_now", &error),
            LinkError::Purge(PurgeError::NoStore) => Self::no_store(),
            LinkError::Purge(PurgeError::Late(_)) => Self::unsure(&error),
            LinkError::Store(_) | LinkError::Purge(PurgeError::Store(_)) => Self::store(&error),
            LinkError::NotDurable(_)
            | LinkError::Remove(RemoveError::NotDurable(_))
            | LinkError::Add(AddError::NotDurable(_))
            | LinkError::Keys(RekeyError::NotDurable(_)) => Self::store(&error),
            LinkError::Runtime(_) => Self::internal(&error),
            _ => Self::conflict("not_possible", &error),
        }
    }
}

impl Failure {
    pub(crate) fn config(error: &ConfigError) -> Self {
        match error {
            ConfigError::Unknown(name) => Self::unknown_peer(name.as_str()),
            ConfigError::Name(_) | ConfigError::Url(_) | ConfigError::Range(_) => {
                Self::invalid("invalid_value", with_causes(error))
            }
            ConfigError::Duplicate(_) => Self::conflict("known_already", error),
            ConfigError::File(_) => Self::store(error),
            _ => Self::conflict("not_possible", error),
        }
    }
}

impl From<PingError> for Failure {
    fn from(error: PingError) -> Self {
        match &error {
            PingError::UnknownPeer(name) => Self::unknown_peer(name),
            PingError::NotConnected(_) => Self::conflict("not_connected", &error),
            PingError::Hex(_) => Self::conflict("hex", &error),
            PingError::TooMany(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_pings", with_causes(&error))
            }
            PingError::NoAnswer { .. } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "no_answer", with_causes(&error))
            }
            _ => Self::new(StatusCode::BAD_GATEWAY, "connection_ended", with_causes(&error)),
        }
    }
}
