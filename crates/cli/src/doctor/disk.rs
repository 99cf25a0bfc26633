//! Whether there is room to write, and the right to.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::report::Finding;

/// Free space below which a disk counts as full, in bytes: SQLite needs room beside what it stores.
const LOW: u64 = 16 * 1024 * 1024;

/// Tries to write in a folder, as the service will have to. Nothing stays.
pub(super) fn unwritable(folder: &Path) -> Option<Finding> {
    let path = folder.join(format!(".paddington-doctor.{}", std::process::id()));
    let written = try_out(&path);
    _ = fs::remove_file(&path); // there may be none
    written.err().map(|error| finding(folder, &error))
}

fn try_out(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()
}

/// Returns what follows from an error in writing to `path`.
fn finding(path: &Path, error: &io::Error) -> Finding {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Finding::new(
            "disk_full",
            format!("nothing can be written to {shown}: {error}"),
            "Free some space there, or move the outbox and the links to another disk.",
        ),
        _ => Finding::new(
            "not_writable",
            format!("nothing can be written to {shown}: {error}"),
            format!(
                "Let the user who runs the service own it (chown, chmod u+rwx {shown}), and see \
                     whether its file system is mounted read-only."
            ),
        ),
    }
}

/// Tries to open a file for writing, if it is there. It is not changed.
pub(super) fn unwritable_file(path: &Path) -> Option<Finding> {
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(finding(path, &error)),
    }
}

/// Returns what is left on a disk that is nearly full.
#[cfg(unix)]
pub(super) fn nearly_full(folder: &Path) -> Option<Finding> {
    let room = rustix::fs::statvfs(folder).ok()?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    (free < LOW).then(|| {
        Finding::new(
            "disk_full",
            format!("only {} are free where {} is", crate::view::bytes(free), folder.display()),
            "Free some space there, or move the outbox and the links to another disk.",
        )
    })
}

#[cfg(not(unix))]
pub(super) fn nearly_full(_: &Path) -> Option<Finding> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_be_written_to_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| unreachable!("{error}"));
        assert_eq!(unwritable(folder.path()), None);
        assert_eq!(fs::read_dir(folder.path()).map(Iterator::count).ok(), Some(0));
        let nowhere = unwritable(&folder.path().join("nowhere"));
        assert_eq!(nowhere.map(|it| it.code).as_deref(), Some("not_writable"));
        let full = finding(folder.path(), &io::ErrorKind::StorageFull.into());
        assert_eq!(full.code, "disk_full");
    }
}
