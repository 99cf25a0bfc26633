//! The filter in `docs/fail2ban` finds every address that was refused in the log of a server, as text and
//! as JSON, and nothing else, whatever strangers write.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};

use paddington::{Encoding, Instance, ServiceConfig};
use paddington_test_support::{
    Intruder, MemoryNetwork, REQUEST, RawClient, RawFrame, credentials, empty_ready, pair,
};
use paddington_wire::Frame;
use paddington_wire::sealed::{Credentials, Greeting};
use regex::Regex;
use tokio::io::AsyncWriteExt;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const FILTER: &str = "../../docs/fail2ban/paddington.conf";
const SERVER: &str = "127.0.0.1:6501";
const PROXY: &str = "10.0.0.1";
/// How fail2ban reads `<HOST>`.
const HOST: &str = r"(?:::f{4,6}:)?(?P<host>(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F:]+|[\w\-.^_]*\w)";
/// What strangers would like to have in the log.
const FORGED: &str = "refused a connection address=6.6.6.6 stage=READY cause=no";

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The filter, with the parts of its syntax that it uses.
struct Filter {
    fails: Vec<Regex>,
    ignores: Vec<Regex>,
}

impl Filter {
    fn read() -> Self {
        let text = fs::read_to_string(FILTER).unwrap();
        let mut options: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with(['#', '['])) {
            match line.split_once(" = ") {
                Some((name, value)) if !line.starts_with(' ') => {
                    options.push((name.trim().to_owned(), vec![value.to_owned()]));
                }
                _ if line.trim().is_empty() => {}
                _ => options.last_mut().unwrap().1.push(line.trim().to_owned()),
            }
        }
        let values = |name: &str| {
            let mut values = options.iter().find(|(it, _)| it == name).unwrap().1.clone();
            for value in &mut values {
                for (part, parts) in &options {
                    *value = value.replace(&format!("%({part})s"), &parts[0]);
                }
                *value = value.replace("<HOST>", HOST);
            }
            values.iter().map(|value| Regex::new(value).unwrap()).collect()
        };
        Self { fails: values("failregex"), ignores: values("ignoreregex") }
    }

    /// Returns the address of a line that counts, with its time and without it: fail2ban cuts it out if it
    /// reads it from there.
    fn find(&self, line: &str) -> Option<String> {
        let time = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z").unwrap();
        let found = [line, &time.replace(line, "")].map(|line| {
            let ignored = self.ignores.iter().any(|ignore| ignore.is_match(line));
            let found = self.fails.iter().find_map(|fail| fail.captures(line));
            found.filter(|_| !ignored).map(|found| found["host"].to_owned())
        });
        assert_eq!(found[0], found[1], "{line}");
        found[0].clone()
    }

    fn addresses(&self, log: &str) -> BTreeSet<String> {
        log.lines().filter_map(|line| self.find(line)).collect()
    }
}

/// Sends `bytes` and waits until the server hangs up.
async fn send(network: &MemoryNetwork, source: &str, bytes: &[u8]) {
    let mut client = RawClient::connect(&network.from(source), SERVER).await;
    let _ = client.stream.write_all(bytes).await; // the server may have hung up already
    client.rest().await;
}

fn with_header(header: &str) -> Vec<u8> {
    REQUEST.replace("Host:", &format!("{header}\r\nHost:")).into_bytes()
}

/// Does as strangers who write into everything that they can, and as a client that does.
async fn forge(network: &MemoryNetwork, link: &Arc<Credentials>, instance: Instance) {
    send(network, "192.0.2.2", &with_header("X-Forwarded-For: 6.6.6.6")).await;
    let forged = format!("User-Agent: x\n INFO paddington_transport::refusal_log: {FORGED}");
    send(network, "192.0.2.3", &with_header(&forged)).await;
    send(network, PROXY, &with_header(&format!("X-Forwarded-For: {FORGED}"))).await;
    let from = network.from("192.0.2.30");
    let (mut client, greeting) = Intruder::enter(&from, SERVER, link, instance).await.unwrap();
    let Greeting::Ready(mut session, _) = greeting else { unreachable!("closed") };
    let mut ready = empty_ready(instance);
    ready.software = FORGED.parse().unwrap();
    client.say(&mut session, &Frame::Ready(ready)).await;
    client.hear(&mut session).await; // it is connected
}

#[tokio::test(start_paused = true)]
async fn the_filter_of_fail2ban_finds_whoever_was_refused_and_nobody_else() {
    let (text, json) = (Log::default(), Log::default());
    tracing_subscriber::registry()
        .with(layer().with_ansi(false).with_writer(text.clone()))
        .with(layer().json().with_writer(json.clone()))
        .init();
    let mut config = ServiceConfig::new("server", "ws://server:6501", "127.0.0.1", &6501).unwrap();
    let invite = config.add_client("client", "192.0.2.0/24").unwrap();
    config.add_client("six", "2001:db8:1::/48").unwrap();
    config.add_client_with("old", "203.0.113.0/24", Encoding::Hex).unwrap();
    let transport = &mut config.settings_mut().transport;
    transport.proxies.ranges = vec![PROXY.parse().unwrap()];
    let pair = pair();
    let (server, _) = pair.start(&config).await;
    let (network, link) = (&pair.network, credentials(&invite));

    // Each stage, and both families of addresses.
    send(network, "198.51.100.1", b"").await;
    send(network, "2001:db8::bad", b"").await;
    let path = format!("GET /%0A{} ", FORGED.replace(' ', "%20"));
    send(network, "192.0.2.1", REQUEST.replace("GET / ", &path).as_bytes()).await;
    send(network, "2001:db8:1::7", b"GET").await;
    send(network, PROXY, &with_header("X-Forwarded-For: 198.51.100.9")).await;
    let (mut client, _) = RawClient::upgrade(&network.from("192.0.2.9"), SERVER).await;
    client.send(&RawFrame::binary(&[7; 1344])).await;
    client.rest().await;
    let from = network.from("192.0.2.20");
    let instance = Instance::random().unwrap();
    let (silent, waiting, hello) = Intruder::prepare(&from, SERVER, &link, instance).await;
    let (mut silent, _) = silent.handshake(waiting, &hello).await.unwrap();
    silent.client.rest().await;

    forge(network, &link, instance).await;
    server.shutdown().await;

    let expected = [
        "198.51.100.1",
        "198.51.100.9",
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
        "192.0.2.9",
        "192.0.2.20",
        "2001:db8::bad",
        "2001:db8:1::7",
    ];
    let expected: BTreeSet<_> = expected.map(str::to_owned).into_iter().collect();
    let (text, json) = (text.text(), json.text());
    assert!(text.contains(&format!("address={PROXY} ")), "it was refused, and is not to be banned");
    let filter = Filter::read();
    for (log, name) in [(&text, "text"), (&json, "JSON")] {
        assert_eq!(filter.addresses(log), expected, "{name}:\n{log}");
        for stage in ["accept", "request", "HELLO", "READY"] {
            let of_stage = [format!("stage={stage} "), format!(r#""stage":"{stage}""#)];
            let is_of_stage = |line: &&str| of_stage.iter().any(|part| line.contains(part));
            assert!(log.lines().filter(is_of_stage).any(|it| filter.find(it).is_some()), "{stage}");
        }
        as_fail2ban_does(log, &expected);
    }
}

/// Runs fail2ban itself, where it is installed.
fn as_fail2ban_does(log: &str, expected: &BTreeSet<String>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), log).unwrap();
    let mut command = Command::new("fail2ban-regex");
    let Ok(out) = command.args(["-o", "id"]).arg(file.path()).arg(FILTER).output() else { return };
    let found = String::from_utf8(out.stdout).unwrap();
    let found: BTreeSet<_> = found.lines().map(str::to_owned).collect();
    assert_eq!(found, *expected, "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn a_line_that_only_quotes_a_refusal_is_none() {
    let filter = Filter::read();
    let time = "2026-11-27T01:48:08.123456Z";
    let own = format!("{time}  INFO paddington_transport::refusal_log: {FORGED}");
    assert_eq!(filter.find(&own).unwrap(), "6.6.6.6", "the form of the line is right");
    let journal = format!("host paddington[12]: {own}");
    assert_eq!(filter.find(&journal).unwrap(), "6.6.6.6");
    let of_proxy = |cause: &str| own.replace("READY cause=no", &format!("accept cause={cause}"));
    for line in [
        of_proxy("the proxy does not report its client's address"),
        of_proxy("the proxy does not begin with a valid header of the PROXY protocol"),
        format!("{time}  INFO shop: {FORGED}"),
        format!("{time}  INFO shop: a user wrote {own}"),
        format!("{time}  INFO shop{{user={own}}}: hello"),
        format!("{time} DEBUG paddington_transport::refusal_log: {FORGED}"),
        format!(r#"{{"timestamp":"{time}","level":"INFO","fields":{{"message":"{own}"}}}}"#),
        format!(
            r#"{{"timestamp":"{time}","level":"INFO","fields":{{"message":"hi","user":"\"message\":\"refused a connection\",\"address\":\"6.6.6.6\",\"stage\":\"accept\",\"cause\":\""}}}}"#
        ),
    ] {
        assert_eq!(filter.find(&line), None, "{line}");
    }
}
