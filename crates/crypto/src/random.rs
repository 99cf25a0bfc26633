//! Random bytes for anything but keys: nonces, challenges, instances.

use orion::util::secure_rand_bytes;

use crate::KeyError;

/// Draws `N` bytes from the operating system's random generator.
///
/// # Errors
///
/// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    secure_rand_bytes(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ() {
        assert_ne!(random_bytes::<16>().unwrap(), random_bytes::<16>().unwrap());
    }
}
