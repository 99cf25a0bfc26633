//! Queries: an error in one is answered like every other error.

use axum::extract::rejection::QueryRejection;

use crate::failure::Failure;

/// A query, or why it is not valid.
pub(super) type Query<T> = Result<axum::extract::Query<T>, QueryRejection>;

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        let message = format!("the query is not what is expected here: {}", rejection.body_text());
        Self::invalid("invalid_query", message).remedy("GET /v1/openapi.json says what is expected")
    }
}
