//! Random bytes that are not keys: nonces, challenges, names of streams.

use orion::util::secure_rand_bytes;

use crate::KeyError;

/// Draws `N` bytes from the operating system's random generator.
///
/// # Errors
///
/// [`KeyError::NoRandomness`] if the operating system gives none.
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
