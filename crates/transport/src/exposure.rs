//! Modes of files with secrets.

use std::fs::Metadata;

/// Returns whether a file can be read, or written, by others than those for whom it is meant: its owner,
/// and of a file that somebody else owns, a group of this process. So is what a container's platform
/// mounts: it belongs to root, has mode 0440, and the group is the process's own.
#[cfg(unix)]
#[must_use]
pub fn is_exposed(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    use rustix::process::{getegid, geteuid, getgroups};

    let is_own = metadata.uid() == geteuid().as_raw();
    let in_group = || {
        let mut groups = getgroups().unwrap_or_default().into_iter().chain([getegid()]);
        groups.any(|group| group.as_raw() == metadata.gid())
    };
    is_exposed_as(metadata.mode(), !is_own && in_group())
}

/// Files have no modes here.
#[cfg(not(unix))]
#[must_use]
pub fn is_exposed(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn is_exposed_as(mode: u32, is_for_group: bool) -> bool {
    let meant = if is_for_group { 0o740 } else { 0o700 };
    mode & 0o777 & !meant != 0
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_read_what_is_mounted_for_it() {
        for (mode, is_for_group, expected) in [
            (0o600, false, false),
            (0o400, false, false),
            (0o640, false, true),
            (0o604, false, true),
            (0o440, true, false),
            (0o640, true, false),
            (0o660, true, true),
            (0o444, true, true),
        ] {
            assert_eq!(is_exposed_as(mode, is_for_group), expected, "{mode:o} {is_for_group}");
        }
    }

    #[test]
    fn ones_own_file_is_for_nobody_else() {
        use std::os::unix::fs::PermissionsExt;

        let file = tempfile::NamedTempFile::new().unwrap();
        let exposed = |mode| {
            file.as_file().set_permissions(PermissionsExt::from_mode(mode)).unwrap();
            is_exposed(&file.as_file().metadata().unwrap())
        };
        assert!(!exposed(0o600) && exposed(0o640) && exposed(0o644));
    }
}
