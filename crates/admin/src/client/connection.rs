//! Questions and answers.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use zeroize::Zeroize;

use super::{ClientError, Events};
use crate::model::{ApiError, ErrorBody};

/// The longest answer, in bytes.
const LONGEST: usize = 256 * 1024 * 1024;

/// A client of the local API of a service, with one connection at a time. One that was closed while it
/// was idle is opened again.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    connection: Connection,
}

/// A connection, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Client {
    /// Connects to the socket of a service.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotRunning`] if nobody runs the service, and others if the socket cannot be used.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        let path = path.as_ref().to_owned();
        let connection = Connection::open(&path).await?;
        Ok(Self { path, connection })
    }

    /// Asks for something, such as `/v1/status`.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is no answer, or it is an error.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        read(self.send(Method::GET, path, None).await?).await
    }

    /// Posts something as JSON.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        read(self.send(Method::POST, path, Some(written(body)?)).await?).await
    }

    /// Puts something as JSON.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn put<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        read(self.send(Method::PUT, path, Some(written(body)?)).await?).await
    }

    /// Deletes something.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn delete<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        read(self.send(Method::DELETE, path, None).await?).await
    }

    /// Asks for a text, such as `/readyz`, and returns the HTTP status with it.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is no answer.
    pub async fn text(&mut self, path: &str) -> Result<(u16, String), ClientError> {
        let response = self.send(Method::GET, path, None).await?;
        let status = response.status().as_u16();
        let body = whole(response.into_body()).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Follows a stream of events, such as `/v1/events`, on a connection of its own.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn events(&self, path: &str) -> Result<Events, ClientError> {
        let mut connection = Connection::open(&self.path).await?;
        let request = Request::get(path).header(header::ACCEPT, "text/event-stream");
        let response = connection.ask(request, Bytes::new()).await?;
        let response = accepted(response).await?;
        Ok(Events::new(response.into_body(), connection))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Response<Incoming>, ClientError> {
        if self.connection.requests.ready().await.is_err() {
            self.connection = Connection::open(&self.path).await?;
        }
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        self.connection.ask(request, body.unwrap_or_default()).await
    }
}

impl Connection {
    async fn open(path: &Path) -> Result<Self, ClientError> {
        let socket = UnixStream::connect(path).await.map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning { path, source }
                }
                _ => ClientError::Socket { path, source },
            }
        })?;
        let (requests, connection) = http1::handshake(TokioIo::new(socket)).await?;
        // Whoever waits for an answer is told how the connection ends.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { requests, task })
    }

    async fn ask(
        &mut self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = request.header(header::HOST, "localhost").body(Full::new(body));
        Ok(self.requests.send_request(request.map_err(ClientError::Request)?).await?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn written(body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(ClientError::Body)
}

async fn read<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let body = whole(accepted(response).await?.into_body()).await?;
    let json: &[u8] = if body.is_empty() { b"null" } else { &body };
    let answer = serde_json::from_slice(json).map_err(ClientError::Answer);
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize(); // it may hold an invitation
    }
    answer
}

/// Makes an error of an answer that is one.
async fn accepted(response: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = whole(response.into_body()).await?;
    let error = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) => body.error,
        Err(_) => unexplained(status),
    };
    Err(ClientError::Refused { status: status.as_u16(), error })
}

fn unexplained(status: StatusCode) -> ApiError {
    let message = format!("the service answers with the status {status}");
    ApiError { code: "unexplained".to_owned(), message, remedy: None }
}

async fn whole(body: Incoming) -> Result<Bytes, ClientError> {
    match Limited::new(body, LONGEST).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLong(LONGEST)),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => Err(ClientError::Connection(*error)),
            Err(_) => Err(ClientError::TooLong(LONGEST)),
        },
    }
}
