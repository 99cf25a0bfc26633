//! Reads an invitation again, because its file may hold a newer one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use paddington_crypto::KeyPair;
use paddington_exchange::Renewal;
use paddington_transport::{Endpoint, Fallbacks, Renewed, TlsFiles};
use paddington_wire::PeerName;
use tracing::warn;

use crate::Invite;
use crate::known::KnownServer;
use crate::links::Keys;
use crate::timestamp::Timestamp;

/// The file that an invitation was read from, which may hold a newer one by now.
#[derive(Debug)]
pub(crate) struct InvitationFile {
    path: PathBuf,
    own: PeerName,
    server: KnownServer,
    /// What the server may ask for.
    certificate: Option<TlsFiles>,
    seen: Mutex<Seen>,
}

/// What was found in the file.
#[derive(Debug)]
struct Seen {
    /// The invitation in use.
    used: Found,
    /// A newer one that cannot be used, because TLS cannot be set up.
    unusable: Option<Found>,
}

type Found = (Endpoint, Fallbacks, Option<Arc<KeyPair>>);

impl InvitationFile {
    /// Returns the source of newer invitations of the service called `own` to `server`, if its
    /// invitation was read from a file.
    pub(crate) fn of(
        own: &PeerName,
        server: &KnownServer,
        certificate: Option<TlsFiles>,
    ) -> Option<Arc<dyn Renewal>> {
        let path = server.source.as_ref()?;
        Some(Arc::new(Self { certificate, ..Self::new(own, server, path) }))
    }

    fn new(own: &PeerName, server: &KnownServer, path: &Path) -> Self {
        let newest = server.keys.pairs().last();
        let used = (server.url.clone(), server.fallbacks.clone(), newest.map(Arc::clone));
        let seen = Mutex::new(Seen { used, unusable: None });
        let (path, own, server) = (path.to_owned(), own.clone(), server.clone());
        Self { path, own, server, certificate: None, seen }
    }

    fn is_same_link(&self, invite: &Invite) -> bool {
        invite.server == self.server.name
            && invite.encoding == self.server.encoding()
            && invite.client.as_ref().is_none_or(|client| *client == self.own)
    }
}

impl Renewal for InvitationFile {
    /// Returns a newer invitation of the same link. One that cannot be read is ignored, because it
    /// may be half written.
    fn renewed(&self) -> Option<Renewed> {
        let invite = Invite::load_again(&self.path).ok()?;
        let keys = Some(Arc::clone(&invite.keys));
        let found = (invite.url.clone(), invite.fallbacks.clone(), keys);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_same_link(&invite) || seen.used == found {
            return None;
        }
        let certificate = self.certificate.clone();
        let tls = match self.server.tls_for(&invite.url, &invite.fallbacks, certificate) {
            Ok(tls) => tls,
            Err(error) => {
                if seen.unusable.as_ref() != Some(&found) {
                    warn!(
                        server = %self.server.name, endpoint = %invite.url, %error,
                        "the newer invitation cannot be used: TLS cannot be set up"
                    );
                    seen.unusable = Some(found);
                }
                return None;
            }
        };
        *seen = Seen { used: found, unusable: None };
        let names = [&self.server.name, &self.own];
        let (encoding, generation) = (self.server.encoding(), invite.generation);
        let keys = Keys::begin(
            encoding,
            names,
            generation,
            Arc::clone(&invite.keys),
            None,
            Timestamp::now(),
        );
        let Invite { url: endpoint, fallbacks, .. } = invite;
        Some(Renewed { endpoint, fallbacks, credentials: keys.credentials(), tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServiceConfig;
    use crate::known::KnownPeer;

    fn joined(invite: Invite, authorities: Option<PathBuf>) -> KnownServer {
        let config = ServiceConfig::new("sensor", "ws://localhost:2", "127.0.0.1", &2).unwrap();
        match config.plan_server(invite, authorities, Timestamp::now()).unwrap() {
            KnownPeer::Server(server) => server,
            KnownPeer::Client(_) => panic!("it is a server"),
        }
    }

    #[test]
    fn a_renewed_invitation_brings_the_tls_that_its_url_needs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("invitation.toml");
        let mut hub = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &1).unwrap();
        let invite = hub.add_client("sensor", "127.0.0.1").unwrap();
        invite.save(&path).unwrap();
        let authorities = folder.path().join("authorities.pem");
        let source = Some(path.clone());
        let server = joined(Invite { source, ..invite.clone() }, Some(authorities.clone()));
        let file = InvitationFile::new(&"sensor".parse().unwrap(), &server, &path);
        assert!(file.renewed().is_none(), "it has not changed");

        invite.clone().at("wss://localhost:2").unwrap().save(&path).unwrap();
        assert!(file.renewed().is_none(), "there are no authorities yet");
        std::fs::write(&authorities, AUTHORITY).unwrap();
        let renewed = file.renewed().unwrap();
        assert!(renewed.tls.is_some() && renewed.endpoint.is_secure());
        assert!(file.renewed().is_none(), "it has not changed again");

        invite.save(&path).unwrap();
        assert!(file.renewed().unwrap().tls.is_none());
    }

    #[test]
    fn a_pipe_in_the_place_of_an_invitation_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("invitation.toml");
        let mut hub = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &1).unwrap();
        let server = joined(hub.add_client("sensor", "127.0.0.1").unwrap(), None);
        let file = InvitationFile::new(&"sensor".parse().unwrap(), &server, &path);
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(file.renewed().is_none());
    }

    /// A certificate authority that was made for this test.
    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdDCCARugAwIBAgIUV49znwr+5I+PH5MZcJ0Hk9PzVC4wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjYxMTUyMjZaGA8yMTI2MTEwMjExNTIy
NlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEqf
YRDZRrUZP/9E8p/6O8RCgusIpyB3ERw0KrL7pDUZKCMoZc+Ik62ezGdsvaJdOVyi
azxM44+kokoI1tqS726jUzBRMB0GA1UdDgQWBBS1XJcEFhKY1M1kwOgLSWaS3z2I
aDAfBgNVHSMEGDAWgBS1XJcEFhKY1M1kwOgLSWaS3z2IaDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0cAMEQCIDprRYM1PgcavtZ9aK3pOmN1lB3rlTlfMPoj
0trEk4VlAiAyoZjdfEXdErwKkWwExPOzF6IhpjBS10NqQKHmddTM2A==
-----END CERTIFICATE-----
";
}
