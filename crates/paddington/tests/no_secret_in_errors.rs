//! No error about a file shows a key that is in it, wherever it is, and whatever is wrong with it.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::error::Error;
use std::fs;
use std::path::Path;

use paddington::{Invite, ServiceConfig};

/// The digits of a key, as somebody may put them anywhere.
const KEY: &str = "c0ffee00112233445566778899aabbccddeeff0123456789abcdef0011223344";

/// Returns all that an error can show.
fn shown(error: &(dyn Error + 'static)) -> String {
    let mut shown = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        shown = format!("{shown}{error}\n{error:?}\n{error:#?}\n");
        next = error.source();
    }
    shown
}

/// Returns the text with something wrong in it: with the key in the place of each value, of each field, of
/// each table, in front of and behind each line, twice, and cut off at each line.
fn spoiled(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let mut all = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let mut variants = vec![
            format!("{KEY}\n{line}"),
            format!("\"{KEY}\"\n{line}"),
            format!("{KEY} = 1\n{line}"),
            format!("{KEY} = 1\n{KEY} = 2\n{line}"),
            format!("\"{KEY} \" = 1\n{line}"),
            format!("{line} {KEY}"),
            format!("{line}\n{line}"),
            format!("[{KEY}]\n{line}"),
            format!("[{KEY}]\n[{KEY}]\n{line}"),
            format!("[[{KEY}]]\n{line}"),
            format!("x.{KEY}.y = 1\n{line}"),
        ];
        if let Some((field, value)) = line.split_once(" = ") {
            // It is a name, and a path, which are shown.
            let is_shown = ["name", "client", "outbox", "links", "authorities"].contains(&field);
            if !is_shown {
                variants.push(format!("{field} = \"{KEY}\""));
            }
            for wrong in [
                format!("\"{KEY}{KEY}\""),
                format!("\" {KEY}\""),
                format!("\"ws://{KEY}/{KEY}@\""),
                format!("\"ws://{KEY}:x/\""),
                format!("[\"{KEY}\"]"),
                format!("{{ {KEY} = 1 }}"),
                format!("{{ data = \"{KEY}{KEY}\" }}"),
                format!("\"{KEY}"),
                format!("'{KEY}\\"),
                format!("\"\\x{KEY}\""),
                KEY.to_owned(),
                format!("0x{KEY}"),
                format!("{KEY} {value}"),
            ] {
                variants.push(format!("{field} = {wrong}"));
            }
            variants.push(format!("{KEY} = {value}"));
            variants.push(format!("{field}.{KEY} = {value}"));
        }
        for variant in variants {
            let mut lines = lines.clone();
            lines[at] = variant;
            all.push(lines.join("\n"));
            all.push(lines[..=at].join("\n"));
        }
    }
    all
}

/// Checks what is said about each of these texts, of which many are refused.
fn check(text: &str, read: impl Fn(&str) -> Result<(), Box<dyn Error>>) {
    let good = text.lines().filter(|line| line.trim_start().starts_with("data = "));
    let mut keys: Vec<_> = good.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect();
    assert!(!keys.is_empty(), "{text}");
    keys.push(KEY.to_owned());
    let (mut refused, mut total) = (0, 0);
    for text in spoiled(text) {
        total += 1;
        let Err(error) = read(&text) else { continue };
        refused += 1;
        let shown = shown(&*error);
        for key in &keys {
            for part in [&key[..12], &key[20..32], &key[52..]] {
                assert!(!shown.contains(part), "{shown}\nof\n{text}");
            }
        }
    }
    assert!(refused * 2 > total, "{refused} of {total}");
}

fn config(name: &str) -> ServiceConfig {
    ServiceConfig::new(name, "ws://localhost:1", "127.0.0.1", &1).unwrap()
}

fn hub() -> (ServiceConfig, Invite) {
    let mut hub = config("hub");
    let mut other = config("other");
    hub.add_server(other.add_client("hub", "127.0.0.1").unwrap()).unwrap();
    hub.add_client("sensor", "127.0.0.1").unwrap();
    let invite = hub.renew("sensor").unwrap();
    (hub, invite)
}

#[test]
fn of_a_configuration_in_one_file() {
    let (hub, _) = hub();
    check(&hub.to_toml().unwrap(), |text| Ok(ServiceConfig::from_toml(text).map(drop)?));
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("hub.toml");
    let text = format!("name = \"{KEY}\nport = 1\n");
    fs::write(&path, text).unwrap();
    assert!(!shown(&ServiceConfig::load(&path).unwrap_err()).contains(&KEY[..12]));
}

#[test]
fn of_an_invitation() {
    let (_, invite) = hub();
    check(&invite.to_toml().unwrap(), |text| Ok(Invite::from_toml(text).map(drop)?));
}

#[test]
fn of_the_file_of_a_link() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("links");
    let (mut hub, _) = hub();
    hub.set_links(&folder).unwrap();
    for name in ["sensor.toml", "other.toml"] {
        let path = folder.join(name);
        let good = fs::read_to_string(&path).unwrap();
        check(&good, |text| read_link(&folder, &path, text));
        fs::write(&path, good).unwrap();
    }
    assert_eq!(hub.peers().count(), 2);
}

fn read_link(folder: &Path, path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    fs::write(path, text)?;
    Ok(config("hub").set_links(folder)?)
}
