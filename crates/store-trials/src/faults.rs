//! Disks that are full, slow, or fail.

use std::path::Path;

/// Appends again and again.
pub async fn stubborn(_path: &Path, _seconds: u64) {}

/// All of them.
#[must_use]
pub fn all(_program: &Path) -> bool {
    true
}
