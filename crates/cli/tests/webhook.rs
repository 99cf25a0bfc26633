//! Messages that `paddington run --webhook` posts to a web server: what it sees, and what its answers
//! mean for the sender.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use support::Pair;

mod support;

/// A request that a web server got.
struct Posted {
    line: String,
    /// The header fields, as they were sent.
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Posted {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let mut fields = Vec::new();
        loop {
            let mut field = String::new();
            lines.read_line(&mut field).ok()?;
            let Some((name, value)) = field.trim_end().split_once(": ") else { break };
            fields.push((name.to_lowercase(), value.to_owned()));
        }
        let mut posted = Self { line: line.trim_end().to_owned(), fields, body: Vec::new() };
        let length = posted.field("content-length")?.parse().ok()?;
        posted.body.resize(length, 0);
        lines.read_exact(&mut posted.body).ok()?;
        Some(posted)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A web server that answers what it gets, and tells it.
fn web_server(answer: fn(&[u8]) -> String) -> (SocketAddr, Receiver<Posted>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Some(posted) = Posted::read(&stream) else { continue };
            stream.write_all(answer(&posted.body).as_bytes()).unwrap();
            if tell.send(posted).is_err() {
                return; // the test is over
            }
        }
    });
    (address, told)
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn answer_of(body: &[u8]) -> String {
    match body {
        b"elsewhere" => answer("302 Found\r\nlocation: http://127.0.0.1:1/", ""),
        b"broken" => answer("500 Internal Server Error", "the pump is off\nat line 3"),
        b"long" => answer("200 OK", &"x".repeat(2_000_000)),
        body => answer("200 OK", &String::from_utf8_lossy(body).to_uppercase()),
    }
}

#[test]
fn a_web_server_gets_each_message_and_its_status_decides() {
    let pair = Pair::at_free_port();
    let (address, told) = web_server(answer_of);
    pair.hub.edit("[settings]\n", "[settings]\ntransport.limits.max_payload = 1000000\n");
    let _hub = pair.hub.run_with(&["--webhook", &format!("http://{address}/in?key=secret-word")]);
    let _sensor = pair.sensor.run();

    let sent = pair.sensor.done(&["send", "hub", "hello", "--wait"]);
    assert!(sent.contains("handled"), "{sent}");
    let posted = told.recv().unwrap();
    assert_eq!(posted.line, "POST /in?key=secret-word HTTP/1.1");
    assert_eq!(posted.body, b"hello");
    assert_eq!(posted.field("paddington-peer"), Some("sensor"));
    assert_eq!(posted.field("paddington-kind"), Some("message"));
    assert_eq!(posted.field("content-type"), Some("text/plain; charset=utf-8"));
    assert!(posted.field("paddington-id").is_some());

    let file = pair.sensor.folder.join("bytes");
    std::fs::write(&file, [0, 159, 255]).unwrap();
    let path = format!("@{}", file.display());
    pair.sensor.done(&["send", "hub", &path, "--bytes", "--wait"]);
    let posted = told.recv().unwrap();
    assert_eq!(posted.field("content-type"), Some("application/octet-stream"));
    assert_eq!(posted.body, [0, 159, 255]);

    let asked = pair.sensor.done(&["request", "hub", "warm?", "--timeout", "30s"]);
    assert_eq!(asked.trim_end(), "WARM?");
    let posted = told.recv().unwrap();
    assert_eq!(posted.field("paddington-kind"), Some("request"));
    let left: f64 = posted.field("paddington-seconds-left").unwrap().parse().unwrap();
    assert!(left > 0.0 && left <= 30.0, "{left}");

    for text in ["broken", "elsewhere"] {
        let failed = pair.sensor.call(&["send", "hub", text, "--wait"]);
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        told.recv().unwrap();
    }
    let log = pair.hub.log();
    let because = "the webhook has answered 500 Internal Server Error: the pump is off";
    assert!(log.contains(because), "{log}");
    assert!(!log.contains("secret-word") && !log.contains("line 3"), "{log}");
    let letters = pair.hub.done(&["dead-letters", "list"]);
    assert_eq!(letters.lines().count(), 3, "{letters}");

    let long = pair.sensor.call(&["request", "hub", "long", "--timeout", "30s"]);
    assert_eq!(long.status.code(), Some(1), "{long:?}");
    let log = pair.hub.log();
    assert!(log.contains("the reply is longer than 1000000 bytes"), "{log}");
}

#[test]
fn a_web_server_that_is_down_costs_no_message() {
    let pair = Pair::at_free_port();
    let port = support::free_port();
    let _hub = pair.hub.run_with(&["--webhook", &format!("http://127.0.0.1:{port}/")]);
    let _sensor = pair.sensor.run();
    let failed = pair.sensor.call(&["send", "hub", "one", "--wait"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let kept = pair.hub.done(&["dead-letters", "show", "1"]);
    assert!(kept.ends_with("one\n") || kept.ends_with("one"), "{kept}");
}
