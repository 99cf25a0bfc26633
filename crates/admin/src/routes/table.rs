//! A router that knows its routes, so that a test can compare them with the document.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, post, put};
use http::Method;

use crate::app::Shared;

/// A router, and the list of its routes.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) router: Router<Shared>,
    pub(crate) routes: Vec<(Method, &'static str)>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn get<H: Handler<T, Shared>, T: 'static>(self, path: &'static str, it: H) -> Self {
        self.route(Method::GET, path, get(it))
    }

    pub(crate) fn post<H: Handler<T, Shared>, T: 'static>(self, path: &'static str, it: H) -> Self {
        self.route(Method::POST, path, post(it))
    }

    pub(crate) fn put<H: Handler<T, Shared>, T: 'static>(self, path: &'static str, it: H) -> Self {
        self.route(Method::PUT, path, put(it))
    }

    pub(crate) fn delete<H: Handler<T, Shared>, T: 'static>(
        self,
        path: &'static str,
        it: H,
    ) -> Self {
        self.route(Method::DELETE, path, delete(it))
    }

    /// Adds a file of the page, which is not part of the API.
    pub(crate) fn file<H: Handler<T, Shared>, T: 'static>(
        mut self,
        path: &'static str,
        it: H,
    ) -> Self {
        self.router = self.router.route(path, get(it));
        self
    }

    /// Adds the routes of another table.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.routes.extend(other.routes);
        self
    }

    fn route(mut self, method: Method, path: &'static str, answers: MethodRouter<Shared>) -> Self {
        self.router = self.router.route(path, answers);
        self.routes.push((method, path));
        self
    }
}
