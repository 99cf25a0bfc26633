//! The configuration of a service that runs, read again.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use paddington::Service;

use crate::model::Reloaded;

/// Reads the configuration of a service again and applies it, or says why it cannot be used.
type Apply = dyn Fn(Service) -> BoxFuture<'static, Result<Reloaded, String>> + Send + Sync;

/// How the configuration of a service is read again, for `POST /v1/reload`.
#[derive(Clone)]
pub struct Reload(Arc<Apply>);

impl Reload {
    /// Takes what reads the configuration and applies it.
    pub fn new<F>(apply: impl Fn(Service) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Reloaded, String>> + Send + 'static,
    {
        Self(Arc::new(move |service| Box::pin(apply(service))))
    }

    /// Reads the configuration and applies it.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, in words. Nothing has changed then.
    pub async fn apply(&self, service: &Service) -> Result<Reloaded, String> {
        (self.0)(service.clone()).await
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}
