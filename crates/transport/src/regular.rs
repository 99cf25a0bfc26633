//! Opens regular files only, once and without waiting for anybody, and judges them by their
//! descriptor: a path can be exchanged, a pipe may never have a writer, and a device may never end.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens the file at `path` for reading. Returns `None` if the path holds something else: a folder,
/// a device, a pipe or a socket.
///
/// # Errors
///
/// [`io::Error`] if there is nothing, or it cannot be opened.
pub fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let file = match options().open(path) {
        Err(error) if is_without_content(&error) => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata)))
}

/// Reads the file at `path`, which may have up to `longest` bytes.
///
/// # Errors
///
/// [`io::Error`] if there is no regular file, or it cannot be read, or it is longer.
pub fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let Some((file, _)) = open(path)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    };
    let mut bytes = Vec::new();
    file.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        let error = format!("it is longer than {longest} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(bytes)
}

/// Returns the way to open a file for reading that does not wait for the other end of a pipe.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        options.custom_flags(flags.bits().cast_signed());
    }
    options
}

/// Returns whether opening failed because there is nothing that could be read, as with a socket.
fn is_without_content(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::NXIO | Errno::NODEV))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}
