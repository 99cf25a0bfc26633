use super::Problem;
use super::configuration::of_document;
use super::document::Document;

/// Returns the problems of a text.
fn of_text(text: &str) -> Vec<Problem> {
    match Document::parse(text) {
        Ok(document) => of_document(&document),
        Err(problems) => problems,
    }
}

const GOOD: &str = "\
name = \"hub\"
url = \"wss://hub.example/paddington\"
ip = \"127.0.0.1\"
port = 6501
";

/// Returns the problems of a configuration that ends with `lines`, as line and text.
fn found(lines: &str) -> Vec<(Option<usize>, String)> {
    let problems = of_text(&format!("{GOOD}{lines}"));
    problems.into_iter().map(|it| (it.line, format!("{} {}", it.what, it.remedy))).collect()
}

fn one(lines: &str) -> (Option<usize>, String) {
    let mut problems = found(lines);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn a_good_configuration_has_no_problem() {
    assert_eq!(found(""), []);
    let whole = "\
[settings]
handler_timeout = 10
[settings.transport.timeouts]
ping_interval = 5
[api]
tcp = \"127.0.0.1:6580\"
changes = true
[health]
required = [\"sensor\"]
grace = \"2m\"
[handler]
exec = [\"true\"]
";
    assert_eq!(found(whole), []);
}

#[test]
fn a_typing_error_in_a_key_names_the_right_one() {
    let cases = [
        ("potr = 1", 5, "\"port\""),
        ("[setings]", 5, "\"settings\""),
        ("[settings]\nhandler_timout = 3", 6, "\"handler_timeout\""),
        ("[settings.transport.timeouts]\nping_intervall = 3", 6, "\"ping_interval\""),
        ("[settings]\nping_interval = 3", 6, "[settings.transport.timeouts]"),
        ("[api]\nsockt = \"x\"", 6, "\"socket\""),
    ];
    for (lines, line, named) in cases {
        let (at, text) = one(lines);
        assert_eq!(at, Some(line), "{lines}");
        assert!(text.contains(named), "{lines}: {text}");
    }
}

#[test]
fn a_policy_is_looked_at_as_a_whole() {
    let retry = "[settings.on_error]\npolicy = \"retry\"\nattempts = 3\nbackoff = \"1s\"";
    assert_eq!(found(retry), []);
    let (at, text) = one("[settings]\non_error = { policy = \"retry\", attempts = 3 }");
    assert_eq!(at, Some(6));
    assert!(text.contains("backoff"), "{text}");
    let (at, text) = one("[settings.on_error]\npolicy = \"next\"\natempts = 3");
    assert_eq!(at, Some(7));
    assert!(text.contains("\"attempts\""), "{text}");
}

#[test]
fn every_wrong_value_is_found_at_once() {
    let text = "\
name = \"hub hub\"
url = \"ftp://hub\"
ip = \"localhost\"
port = 70000
[settings]
handlers = \"many\"
[health]
grace = true
[api]
changes = 1
";
    let problems = of_text(text);
    let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines.len(), 7, "{problems:#?}");
    for line in [1, 2, 3, 4, 6, 8, 10] {
        assert!(lines.contains(&Some(line)), "{line}: {problems:#?}");
    }
    assert!(problems.iter().all(|problem| !problem.remedy.is_empty()));
}

#[test]
fn missing_fields_are_named_with_an_example() {
    let problems = of_text("name = \"hub\"\n");
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("url = \"ws://localhost:6501\"")));
}

#[test]
fn relations_that_make_no_sense_are_all_found() {
    let lines = "\
[settings]
outbox_bytes = 10
[settings.transport.timeouts]
dead = 10
ping_interval = 20
";
    let problems = found(lines);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems.iter().any(|(line, text)| *line == Some(8 + 1) && text.contains("ping_interval")),
        "{problems:?}"
    );
    assert!(
        problems.iter().any(|(line, text)| *line == Some(6) && text.contains("outbox_bytes")),
        "{problems:?}"
    );
}

#[test]
fn further_urls_are_checked() {
    let written = |line: &str| found(&format!("fallback_urls = {line}\n"));
    assert_eq!(
        written("[\"wss://b.example/paddington\", \"ws://10.0.0.7:6501/paddington?a=b\"]"),
        []
    );
    for (line, named) in [
        ("\"wss://b.example/paddington\"", "expected a list"),
        ("[\"ftp://b.example/paddington\"]", "ws:// or wss://"),
        (
            "[\"wss://b.example/paddington\", \"https://b.example:443/paddington\"]",
            "is there twice",
        ),
        ("[\"wss://hub.example:443/paddington\"]", "is url already"),
        ("[\"wss://b.example/other\"]", "has another path"),
    ] {
        let problems = written(line);
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert_eq!(problems[0].0, Some(5), "{line}");
        assert!(problems[0].1.contains(named), "{line}: {problems:?}");
    }
    let behind = "fallback_urls = [\"wss://b.example/other\"]\n\
        [settings.transport.proxies]\nranges = [\"127.0.0.1\"]\n";
    assert_eq!(found(behind), [], "a proxy may change the path");
    let (line, text) = one("fallback_url = []");
    assert!(line == Some(5) && text.contains("\"fallback_urls\""), "{text}");
}

#[test]
fn proxies_in_front_of_the_service_are_checked() {
    let table = "[settings.transport.proxies]\n";
    for good in [
        "ranges = [\"10.0.0.0/8\", \"::1\"]\nproxy_protocol = true\n",
        "ranges = [\"10.0.0.1\"]\nheader = \"Forwarded\"\n",
    ] {
        assert_eq!(found(&format!("{table}{good}")), []);
    }
    for (lines, at, named) in [
        ("proxy_protocol = true", 6, "needs the addresses of the proxies"),
        ("proxy_protocol = true\nranges = []", 6, "needs the addresses of the proxies"),
        ("proxy_protocol = \"v2\"", 6, "boolean"),
        ("proxi_protocol = true", 6, "\"proxy_protocol\""),
        ("ranges = [\"10.0.0.1\"]\nproxy_protocol = true\nheader = \"X-Real-IP\"", 8, "not read"),
        ("ranges = [\"10.0.0.0/99\"]", 6, "is not an address range"),
        ("header = \"X Real IP\"", 6, "HTTP header"),
    ] {
        let (line, text) = one(&format!("{table}{lines}"));
        assert_eq!(line, Some(at), "{lines}");
        assert!(text.contains(named), "{lines}: {text}");
    }
}

#[test]
fn the_way_out_is_checked_and_a_password_is_not_shown() {
    let table = "[settings.transport.outbound]\n";
    let good = "proxy = \"http://user:sesame@proxy.example:3128\"\n\
        no_proxy = [\"example.org:443\", \"10.0.0.0/8\"]\nproxy_loopback = [\"*\"]\n";
    assert_eq!(found(&format!("{table}{good}")), []);
    for (line, named) in [
        ("proxy = \"http://user:sesame@proxy.example/path\"", "it has a path"),
        ("proxy = \"http://user:sesame@proxy.example:0\"", "its port"),
        ("proxy = \"https://user:sesame@proxy.example\"", "write http://"),
        ("proxy = \"socks5://user:sesame@proxy.example\"", "SOCKS is not supported"),
        ("no_proxy = [\"10.0.0.0/99\"]", "names no hosts"),
        ("prox = \"none\"", "\"proxy\""),
        ("proxy_password_file = \"x\"", "needs a proxy whose URL names a user"),
        ("client_certificate = \"x\"", "client_certificate and client_key need each other"),
        ("client_key = \"x\"", "client_certificate and client_key need each other"),
    ] {
        let (at, text) = one(&format!("{table}{line}"));
        assert_eq!(at, Some(6), "{line}");
        assert!(text.contains(named) && !text.contains("sesame"), "{line}: {text}");
    }
    let (at, text) = one("[settings]\nproxy = \"none\"");
    assert_eq!(at, Some(6));
    assert!(text.contains("[settings.transport.outbound]"), "{text}");
}

#[test]
fn what_is_no_toml_is_told_with_its_lines() {
    let problems = of_text("name = \nurl = \"x\n");
    assert!(!problems.is_empty());
    assert_eq!(problems[0].line, Some(1));
}

#[test]
fn keys_are_never_shown() {
    let secret = "5ec3e700".repeat(8);
    let lines = format!(
        "[[clients]]\nname = \"sensor\"\nrange = \"127.0.0.1\"\ninner_key.data = \"{secret}x\"\n\
         outer_key.data = \"{secret}\"\n"
    );
    let problems = found(&lines);
    assert!(!problems.is_empty());
    assert!(!format!("{problems:?}").contains("5ec3e700"), "{problems:?}");
}

#[test]
fn the_table_of_tls_needs_a_folder_or_two_files() {
    for whole in [
        "[tls]\ndirectory = \"hub\"",
        "[tls]\ncertificate = \"hub.pem\"\nkey = \"hub.key\"\nclient_authorities = \"ca.pem\"",
    ] {
        assert_eq!(found(whole), []);
    }
    let cases = [
        ("[tls]", 5, "both certificate and key are needed"),
        ("[tls]\ncertificate = \"hub.pem\"", 5, "both certificate and key are needed"),
        ("[tls]\ndirectory = \"hub\"\nkey = \"hub.key\"", 5, "not both"),
        ("[tls]\ndirectory = 7", 5, "invalid type"),
        ("[tls]\ndirectry = \"hub\"", 6, "Did you mean \"directory\"?"),
    ];
    for (lines, line, text) in cases {
        let (at, told) = one(lines);
        assert_eq!(at, Some(line), "{lines}");
        assert!(told.contains(text), "{lines}: {told}");
    }
}
