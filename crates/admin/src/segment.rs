//! The part of a path that names something.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use crate::failure::Failure;

/// The variable part of a path, such as the name of a peer.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let segment = Path::<String>::from_request_parts(parts, state).await;
        let invalid = |_| Failure::invalid("invalid_path", "the path is not valid UTF-8");
        segment.map(|Path(segment)| Self(segment)).map_err(invalid)
    }
}
