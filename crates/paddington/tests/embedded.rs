//! Configurations and invitations inside files of a program's own, files of the original as they are,
//! and one error for all of it.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};

use paddington::{Encoding, Error, FileError, Invite, ServiceConfig, save_private};
use paddington_test_support::{capture_logs, key_digits};
use serde::{Deserialize, Serialize};

/// A service's configuration as the original writes it, with both spellings of ranges.
const ORIGINAL: &str = r#"name = "hub"
url = "ws://hub.example:6501/"
ip = "0.0.0.0"
port = 6501
heathcheck_port = 6502
proxy_header = "X-Forwarded-For"

[[servers]]
name = "portal"
url = "wss://portal.example:443/paddington"
zone = "default"
inner_key.data = "101112131415161718191a1b1c1d1e1f000102030405060708090a0b0c0d0e0f"
outer_key.data = "303132333435363738393a3b3c3d3e3f202122232425262728292a2b2c2d2e2f"

[[clients]]
name = "sensor"
zone = "default"

[clients.ip]
IP = "192.0.2.7"

[clients.inner_key]
data = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

[clients.outer_key]
data = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"

[[clients]]
name = "attic"

[clients.ip]
Range = "10.0.0.0/255.255.0.0"

[clients.inner_key]
data = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e10"

[clients.outer_key]
data = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e30"

[encryption.Simple]
"#;

fn hub() -> ServiceConfig {
    ServiceConfig::new("hub", "http://localhost:6501", "127.0.0.1", &6501).unwrap()
}

/// The configuration of a program.
#[derive(Serialize, Deserialize)]
struct Program {
    interval: u32,
    service: ServiceConfig,
    invitation: Option<Invite>,
}

fn program() -> Program {
    let mut service = hub();
    let invitation = Some(service.add_client("sensor", "192.0.2.0/24").unwrap());
    service.settings_mut().outbox_messages = 7;
    Program { interval: 10, service, invitation }
}

fn assert_same(read: &Program, written: &Program) {
    assert_eq!(*read.service.to_toml().unwrap(), *written.service.to_toml().unwrap());
    let digits = |program: &Program| program.invitation.as_ref().map(key_digits);
    assert_eq!(digits(read), digits(written));
    assert_eq!(read.interval, written.interval);
}

#[test]
fn a_program_keeps_a_configuration_and_an_invitation_in_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program.toml");
    let written = program();
    for _ in 0..2 {
        save_private(&path, &toml::to_string(&written).unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read: Program = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_same(&read, &written);
    }
    let json = serde_json::to_string(&written).unwrap();
    assert_same(&serde_json::from_str(&json).unwrap(), &written);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_private_file_follows_no_link_and_replaces_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("victim"), "unchanged").unwrap();
    symlink(path("victim"), path("link")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    for name in ["link", "folder"] {
        let refused = save_private(path(name), "text");
        assert!(matches!(refused, Err(FileError::Occupied { .. })), "{name}: {refused:?}");
    }
    assert_eq!(fs::read_to_string(path("victim")).unwrap(), "unchanged");
    let missing = save_private(path("none").join("file"), "text");
    assert!(matches!(missing, Err(FileError::Unwritable { .. })), "{missing:?}");
}

#[test]
fn values_inside_another_file_are_checked_as_files_are() {
    let mut value: toml::Table = toml::from_str(&hub().to_toml().unwrap()).unwrap();
    value.insert("name".to_owned(), "no name!".into());
    let refused = value.clone().try_into::<ServiceConfig>().unwrap_err();
    assert!(refused.to_string().contains("no name!"), "{refused}");
    value.insert("name".to_owned(), "hub".into());
    value.insert("prot".to_owned(), 1.into());
    let refused = value.try_into::<ServiceConfig>().unwrap_err();
    assert!(refused.to_string().contains("prot"), "{refused}");

    let invite = program().invitation.unwrap();
    let mut value: toml::Table = toml::from_str(&invite.to_toml().unwrap()).unwrap();
    value.remove("version");
    let refused = value.try_into::<Invite>().unwrap_err();
    assert!(refused.to_string().contains("lacks \"version\""), "{refused}");
}

#[test]
fn a_configuration_of_the_original_loads_as_it_is() {
    let hub = ServiceConfig::from_toml(ORIGINAL).unwrap();
    assert_eq!(hub.peers().collect::<Vec<_>>(), ["sensor", "attic", "portal"]);
    let text = hub.to_toml().unwrap();
    for expected in ["range = \"192.0.2.7\"", "range = \"10.0.0.0/16\"", "encoding = \"hex\""] {
        assert!(text.contains(expected), "{expected} is missing in {}", *text);
    }
    assert!(!text.contains("sealed"), "the original knows one encoding only");
    for dropped in ["proxy_header", "zone", "check_port", "encryption", "IP ="] {
        assert!(!text.contains(dropped), "{dropped} has no meaning");
    }
    for wrong in ["IP = \"192.0.2.999\"", "Net = \"192.0.2.7\"", "IP = 7"] {
        let refused = ServiceConfig::from_toml(&ORIGINAL.replace("IP = \"192.0.2.7\"", wrong));
        assert!(refused.is_err(), "{wrong}");
    }
}

#[test]
fn the_tables_of_the_command_are_ignored() {
    let tables = "[api]\nsocket = \"paddington.sock\"\nchanges = true\n[health]\nrequired = [\"portal\"]\n\
                  [handler]\nexec = [\"cat\"]\n";
    let hub = ServiceConfig::from_toml(&format!("{ORIGINAL}\n{tables}")).unwrap();
    assert_eq!(hub.peers().count(), 3);
    assert!(ServiceConfig::from_toml(&format!("{ORIGINAL}\n[apis]\n")).is_err());
}

#[test]
fn what_has_no_effect_is_said_once() {
    let logs = capture_logs();
    ServiceConfig::from_toml(&ORIGINAL.replace("\"hub\"", "\"told\"")).unwrap();
    let told = "healthcheck_port, proxy_header, encryption, zone";
    let lines = logs.lines();
    assert_eq!(
        lines.iter().filter(|line| line.contains(told) && line.contains("=told ")).count(),
        1,
        "{lines:?}"
    );
}

#[test]
fn every_error_of_the_facade_becomes_the_one_error() {
    fn config() -> Result<(), Error> {
        ServiceConfig::new("no name!", "ws://localhost:1", "127.0.0.1", &1)?;
        Ok(())
    }
    fn invitation() -> Result<(), Error> {
        Invite::load("missing.toml")?;
        Ok(())
    }
    fn url() -> Result<(), Error> {
        program().invitation.unwrap().at("ftp://localhost")?;
        Ok(())
    }
    fn own() -> Result<(), Error> {
        Err(Box::<dyn std::error::Error + Send + Sync>::from("my own"))?;
        Ok(())
    }
    fn reading() -> Result<(), Error> {
        Err(io::Error::other("my disk"))?;
        Ok(())
    }
    assert!(matches!(config(), Err(Error::Config(_))));
    assert!(matches!(invitation(), Err(Error::Invite(_))));
    assert!(matches!(url(), Err(Error::Url(_))));
    assert_eq!(own().unwrap_err().to_string(), "my own");
    assert_eq!(reading().unwrap_err().to_string(), "my disk");
    let parsed = "x".parse::<u8>().map_err(Error::other);
    assert_eq!(parsed.unwrap_err().to_string(), "invalid digit found in string");
    assert_eq!(Encoding::default(), Encoding::Sealed);
}
