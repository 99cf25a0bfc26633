//! Who may connect from where. Implements the checks of `docs/protocol.md` §3.4, §10 and §11.1 that
//! come before any cryptography.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{AddressRange, Encoding, PeerName, hex, sealed};

/// The secrets of one link, in the encoding that its invitation pins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// For the `sealed` encoding.
    Sealed(Arc<sealed::Credentials>),
    /// For the `hex` encoding.
    Hex(Arc<hex::Credentials>),
}

impl Credentials {
    /// The encoding that the link speaks.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Sealed(_) => Encoding::Sealed,
            Self::Hex(_) => Encoding::Hex,
        }
    }
}

/// A client that this service has invited.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The client's name.
    pub name: PeerName,
    /// Where it connects from.
    pub range: AddressRange,
    /// What it proves its name with.
    pub credentials: Credentials,
}

/// All clients that a service expects.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    expected: Vec<Expected>,
}

/// The clients that may stand behind one connection, by encoding, each with the secrets to try.
#[derive(Clone, Debug)]
pub struct Candidates<C> {
    names: Vec<PeerName>,
    credentials: Vec<Arc<C>>,
}

impl Admission {
    /// Expects these clients.
    #[must_use]
    pub fn new(expected: Vec<Expected>) -> Self {
        Self { expected }
    }

    /// Whether any client is expected from `address`.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.at(address).next().is_some()
    }

    /// Whether any client of the `hex` encoding is expected from `address`.
    #[must_use]
    pub fn admits_hex(&self, address: IpAddr) -> bool {
        self.at(address).any(|client| client.credentials.encoding() == Encoding::Hex)
    }

    /// The clients of the `sealed` encoding that are expected from `address`.
    #[must_use]
    pub fn sealed_candidates(&self, address: IpAddr) -> Candidates<sealed::Credentials> {
        self.candidates(address, |credentials| match credentials {
            Credentials::Sealed(secrets) => Some(secrets),
            Credentials::Hex(_) => None,
        })
    }

    /// The clients of the `hex` encoding that are expected from `address`.
    #[must_use]
    pub fn hex_candidates(&self, address: IpAddr) -> Candidates<hex::Credentials> {
        self.candidates(address, |credentials| match credentials {
            Credentials::Hex(secrets) => Some(secrets),
            Credentials::Sealed(_) => None,
        })
    }

    fn candidates<C>(
        &self,
        address: IpAddr,
        secrets: impl Fn(&Credentials) -> Option<&Arc<C>>,
    ) -> Candidates<C> {
        let (names, credentials) = self
            .at(address)
            .filter_map(|client| {
                secrets(&client.credentials)
                    .map(|secrets| (client.name.clone(), Arc::clone(secrets)))
            })
            .unzip();
        Candidates { names, credentials }
    }

    fn at(&self, address: IpAddr) -> impl Iterator<Item = &Expected> {
        self.expected.iter().filter(move |client| client.range.contains(address))
    }
}

impl<C> Candidates<C> {
    /// The secrets to try, in a fixed order.
    #[must_use]
    pub fn credentials(&self) -> &[Arc<C>] {
        &self.credentials
    }

    /// The name of the candidate at `index` of [`credentials`](Self::credentials).
    #[must_use]
    pub fn name(&self, index: usize) -> &PeerName {
        &self.names[index]
    }
}

#[cfg(test)]
mod tests {
    use paddington_crypto::KeyPair;

    use super::*;

    fn expected(name: &str, range: &str, encoding: Encoding) -> Expected {
        let (name, keys): (PeerName, _) = (name.parse().unwrap(), KeyPair::generate().unwrap());
        let credentials = match encoding {
            Encoding::Sealed => Credentials::Sealed(Arc::new(sealed::Credentials::new(
                &"server".parse().unwrap(),
                &name,
                &keys,
            ))),
            Encoding::Hex => Credentials::Hex(Arc::new(hex::Credentials::new(Arc::new(keys)))),
        };
        Expected { name, range: range.parse().unwrap(), credentials }
    }

    fn names<C>(candidates: &Candidates<C>) -> Vec<&str> {
        candidates.names.iter().map(PeerName::as_str).collect()
    }

    #[test]
    fn only_clients_whose_range_holds_the_address_are_candidates() {
        let admission = Admission::new(vec![
            expected("a", "10.0.0.0/8", Encoding::Sealed),
            expected("b", "10.1.0.0/16", Encoding::Sealed),
            expected("c", "10.1.0.0/16", Encoding::Hex),
            expected("d", "2001:db8::/32", Encoding::Sealed),
        ]);
        let cases: [(&str, &[&str], &[&str]); 5] = [
            ("10.2.0.1", &["a"], &[]),
            ("10.1.0.1", &["a", "b"], &["c"]),
            ("::ffff:10.1.0.1", &["a", "b"], &["c"]),
            ("2001:db8::9", &["d"], &[]),
            ("192.0.2.1", &[], &[]),
        ];
        for (address, sealed, hex) in cases {
            let address = address.parse().unwrap();
            assert_eq!(names(&admission.sealed_candidates(address)), sealed);
            assert_eq!(names(&admission.hex_candidates(address)), hex);
            assert_eq!(admission.admits(address), !sealed.is_empty() || !hex.is_empty());
            assert_eq!(admission.admits_hex(address), !hex.is_empty());
        }
    }
}
