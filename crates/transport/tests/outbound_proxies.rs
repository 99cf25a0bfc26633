//! Clients that reach their servers through an HTTP proxy, which alone knows the servers' names.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test stops at the first surprise")]

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington::{
    DialError, Encoding, Invite, Message, ProxyChoice, ProxyEnvironment, ProxyError, Service,
    ServiceConfig, with_causes,
};
use paddington_test_support::{Behaviour, ConnectProxy, Inbox, ReverseProxy, conserved, quick};
use paddington_transport::{Network, NetworkListener, Stream, system, system_in};
use tls_proxy::TlsProxy;

mod tls_proxy;

const LIMIT: Duration = Duration::from_secs(10);
/// Nobody but the proxy knows it: names below `invalid` do not exist (RFC 6761).
const HUB: &str = "hub.invalid:6501";
/// `user:sesame`
const AUTHORIZATION: &str = "Basic dXNlcjpzZXNhbWU=";

/// Starts a server, and returns it with the invitation for a client.
async fn server(encoding: Encoding) -> (Service, Inbox, Invite) {
    let mut config = ServiceConfig::new("server", "ws://hub.invalid:1", "127.0.0.1", &0).unwrap();
    let invite = config.add_client_with("client", "127.0.0.1", encoding).unwrap();
    quick(&mut config);
    let (inbox, handler) = Inbox::new();
    let server = Service::start(&config, handler).await.unwrap();
    (server, inbox, invite.at(&format!("ws://{HUB}/")).unwrap())
}

fn client(invite: Invite) -> ServiceConfig {
    client_with(invite, None)
}

fn client_with(invite: Invite, authorities: Option<PathBuf>) -> ServiceConfig {
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    client.add_server_with(invite, authorities).unwrap();
    quick(&mut client);
    client
}

/// A client of a server that is never started.
fn client_of_nobody() -> ServiceConfig {
    let mut server = ServiceConfig::new("server", "ws://hub.invalid:1", "127.0.0.1", &0).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    client(invite.at(&format!("ws://{HUB}/")).unwrap())
}

fn through(config: &mut ServiceConfig, url: &str) {
    config.settings_mut().transport.outbound.proxy = ProxyChoice::Url(url.parse().unwrap());
}

async fn exchanged(client: &Service, inbox: &Inbox, text: &str) {
    client.send(Message::new("server", text)).await.unwrap();
    assert_eq!(inbox.text().await, text);
}

/// Returns the address that the status of a client's only link shows.
fn address(client: &Service) -> String {
    client.peers()[0].address.map(|address| address.to_string()).unwrap_or_default()
}

/// Returns why the server cannot be reached: the code, and the failure in words.
async fn failure(client: &ServiceConfig, limit: Duration) -> (&'static str, String) {
    let reach = client.reach("server", limit).await.unwrap();
    assert!(!reach.tunnelled, "{reach:?}");
    let error = reach.outcome.unwrap_err();
    (error.code(), with_causes(&error))
}

#[tokio::test]
async fn messages_flow_through_a_proxy_that_alone_knows_the_servers_name() {
    let proxy = ConnectProxy::start().await;
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let (server, inbox, invite) = server(encoding).await;
        proxy.know(HUB, server.address().unwrap());
        let mut config = client(invite);
        through(&mut config, &format!("http://{}", proxy.address()));
        let client = Service::start(&config, Inbox::new().1).await.unwrap();
        exchanged(&client, &inbox, "through the proxy").await;
        assert_eq!(address(&client), proxy.address().to_string(), "it is the proxy's");
        client.shutdown().await;
    }
    for head in proxy.heads() {
        assert_eq!(head, format!("CONNECT {HUB} HTTP/1.1\r\nHost: {HUB}\r\n\r\n"));
    }
}

#[tokio::test]
async fn tls_is_spoken_with_the_server_inside_the_tunnel() {
    let (server, inbox, invite) = server(Encoding::Sealed).await;
    let tls = TlsProxy::start("hub.invalid", server.address().unwrap()).await;
    let proxy = ConnectProxy::start().await;
    proxy.know("hub.invalid:443", tls.address);
    let invite = invite.at("wss://hub.invalid/").unwrap();
    let config = client_with(invite, Some(tls.authorities.clone()));
    // The environment names the proxy.
    let url = format!("http://{}", proxy.address());
    let environment =
        ProxyEnvironment::of(|name| (name == "HTTPS_PROXY").then(|| url.clone().into()));
    let network = system_in(environment);
    let client = Service::start_on(network, &config, Inbox::new().1).await.unwrap();
    exchanged(&client, &inbox, "TLS in the tunnel").await;
    assert_eq!(proxy.heads().len(), 1);

    // A server with a certificate for another name is not the one that was asked for.
    let other = TlsProxy::start("other.invalid", server.address().unwrap()).await;
    proxy.know("hub.invalid:443", other.address);
    std::fs::copy(&other.authorities, &tls.authorities).unwrap();
    let mut config = config;
    through(&mut config, &url);
    let reach = config.reach("server", LIMIT).await.unwrap();
    assert!(reach.tunnelled && reach.connected == Some(proxy.address()), "{reach:?}");
    assert_eq!(reach.outcome.unwrap_err().code(), "tls_wrong_name");
}

#[tokio::test]
async fn no_message_is_lost_or_doubled_while_the_proxy_dies_and_comes_back() {
    const ROUNDS: usize = 6;
    const MESSAGES: usize = 300;
    let padding = "x".repeat(2_000); // so that many are under way
    let proxy = ConnectProxy::start().await;
    let (server, at_server, invite) = server(Encoding::Sealed).await;
    proxy.know(HUB, server.address().unwrap());
    let mut config = client(invite);
    through(&mut config, &format!("http://{}", proxy.address()));
    let (at_client, handler) = Inbox::new();
    let client = Service::start(&config, handler).await.unwrap();

    let numbers = |round: usize| {
        (round * MESSAGES..(round + 1) * MESSAGES).map(|number| format!("{number} {padding}"))
    };
    for round in 0..ROUNDS {
        for number in numbers(round) {
            client.send(Message::new("server", number.as_str())).await.unwrap();
            server.send(Message::new("client", number.as_str())).await.unwrap();
        }
        let mut expected = numbers(round);
        let first: Vec<_> = expected.by_ref().take(10).collect();
        for number in &first {
            assert_eq!(&at_server.text().await, number);
        }
        proxy.die().await; // while the others are under way
        proxy.come_back().await;
        for number in expected {
            assert_eq!(at_server.text().await, number);
        }
        for number in numbers(round) {
            assert_eq!(at_client.text().await, number);
        }
    }
    assert!(proxy.heads().len() > ROUNDS / 2, "the connection was never cut");
    client.send(Message::new("server", "the end")).await.unwrap().await;
    assert_eq!(at_server.text().await, "the end");
    let texts = [at_server.drain().await, at_client.drain().await].concat();
    assert!(texts.iter().all(|text| text.starts_with('{')), "only control messages: {texts:?}");
    conserved([&client, &server]);
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_gets_it_from_the_url_or_from_a_file() {
    let proxy = ConnectProxy::start().await;
    proxy.want(AUTHORIZATION);
    let (server, inbox, invite) = server(Encoding::Sealed).await;
    proxy.know(HUB, server.address().unwrap());
    let mut config = client(invite);
    let address = proxy.address();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");

    for (url, expected) in [
        (format!("http://{address}"), "proxy_wants_password"),
        (format!("http://user:opensesame@{address}"), "proxy_password_refused"),
        (format!("http://user@{address}"), "proxy_password_refused"),
    ] {
        through(&mut config, &url);
        let (code, text) = failure(&config, LIMIT).await;
        assert_eq!(code, expected, "{text}");
        assert!(!text.contains("sesame") && text.contains(&address.to_string()), "{text}");
    }

    through(&mut config, &format!("http://user:sesame@{address}"));
    let with_url = Service::start(&config, Inbox::new().1).await.unwrap();
    exchanged(&with_url, &inbox, "with the password of the URL").await;
    with_url.shutdown().await;

    through(&mut config, &format!("http://user@{address}"));
    config.settings_mut().transport.outbound.proxy_password_file.clone_from(&file);
    let (code, text) = failure(&config, LIMIT).await;
    assert_eq!(code, "proxy_settings");
    assert!(text.contains("password\" cannot be read"), "{text}");
    std::fs::write(&file, "wrong").unwrap();
    assert_eq!(failure(&config, LIMIT).await.0, "proxy_password_refused");
    // A running service takes the new one with its next attempt.
    config.settings_mut().transport.retry.refused = Duration::from_millis(100);
    let with_file = Service::start(&config, Inbox::new().1).await.unwrap();
    std::fs::write(&file, "sesame\n").unwrap();
    exchanged(&with_file, &inbox, "with the password of the file").await;
}

#[tokio::test]
async fn every_answer_that_is_no_tunnel_is_named_and_not_shown() {
    let proxy = ConnectProxy::start().await;
    let mut config = client_of_nobody();
    through(&mut config, &format!("http://{}", proxy.address()));
    let many = b"x-evil: 1\r\n".repeat(65);
    let many = [b"HTTP/1.1 200 OK\r\n", many.as_slice(), b"\r\n"].concat();
    let cases: [(&[u8], &str, &str); 17] = [
        (b"HTTP/1.1 403 evil\r\n\r\n", "proxy_refused", "403 Forbidden"),
        (b"HTTP/1.1 405 evil\r\n\r\n", "proxy_refused", "405"),
        (b"HTTP/1.1 302 evil\r\nLocation: http://evil\r\n\r\n", "proxy_refused", "302"),
        (b"HTTP/1.1 500 evil\r\n\r\n", "proxy_refused", "500"),
        (b"HTTP/1.1 502 \x1b[31mevil\r\n\r\n", "proxy_answer_invalid", "not HTTP"),
        (b"HTTP/1.1 502 evil\r\n\r\nevil", "proxy_cannot_reach_server", "502 Bad Gateway"),
        (b"HTTP/1.1 503 evil\r\n\r\n", "proxy_cannot_reach_server", "503"),
        (b"HTTP/1.1 504 evil\r\n\r\n", "proxy_cannot_reach_server", "504"),
        (b"HTTP/1.1 407 evil\r\n\r\n", "proxy_wants_password", "a user's name and a password"),
        (
            b"HTTP/1.1 407 evil\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n\r\n",
            "proxy_wants_password",
            "other than Basic",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "proxy_answer_invalid", "provisional"),
        (b"HTTP/1.1 200 OK\r\n\r\nevil", "proxy_answer_invalid", "something follows it"),
        (b"HTTP/1.1 200 OK\r\n", "proxy_no_answer", "it did not answer"),
        (b"220 mail.evil ESMTP\r\n", "proxy_answer_invalid", "not HTTP"),
        (b"HTTP/1.1 000 evil\r\n\r\n", "proxy_answer_invalid", "not HTTP"),
        (b"", "proxy_no_answer", "it did not answer"),
        (&many, "proxy_answer_invalid", "too many lines"),
    ];
    for (answer, expected, words) in cases {
        proxy.behave(Behaviour::Answers(answer.to_vec()));
        let (code, text) = failure(&config, LIMIT).await;
        let answer = String::from_utf8_lossy(answer);
        assert_eq!(code, expected, "{answer:?}: {text}");
        assert!(text.contains(words) && !text.contains("evil"), "{answer:?}: {text}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_given_up() {
    let proxy = ConnectProxy::start().await;
    let mut config = client_of_nobody();
    through(&mut config, &format!("http://{}", proxy.address()));
    // One line, whose end is never seen.
    proxy.behave(Behaviour::Repeats(b"HTTP/1.1 200 ".to_vec()));
    let (code, text) = failure(&config, LIMIT).await;
    assert_eq!(code, "proxy_answer_invalid");
    assert!(text.contains("its head is too long"), "{text}");

    proxy.behave(Behaviour::Silent);
    let (code, text) = failure(&config, Duration::from_millis(500)).await;
    assert_eq!((code, text.contains("timed out")), ("proxy_no_answer", true), "{text}");

    proxy.die().await;
    let (code, text) = failure(&config, LIMIT).await;
    assert_eq!((code, text.contains("refused")), ("proxy_unreachable", true), "{text}");
}

#[tokio::test]
async fn hosts_that_need_no_proxy_are_reached_directly() {
    let (server, inbox, invite) = server(Encoding::Sealed).await;
    // Nobody listens at port 1, where the proxy is said to be.
    let environment =
        ProxyEnvironment::of(|name| (name == "all_proxy").then(|| "127.0.0.1:1".into()));
    let invite = invite.at(&format!("ws://{}/", server.address().unwrap())).unwrap();
    let mut config = client(invite);
    let network = system_in(environment);
    let direct = Service::start_on(Arc::clone(&network), &config, Inbox::new().1).await.unwrap();
    exchanged(&direct, &inbox, "this machine needs none").await;
    direct.shutdown().await;

    let proxy = ConnectProxy::start().await;
    let own = server.address().unwrap();
    proxy.know(&own.to_string(), own);
    through(&mut config, &format!("http://{}", proxy.address()));
    let outbound = &mut config.settings_mut().transport.outbound;
    outbound.proxy_loopback = vec!["127.0.0.0/8".parse().unwrap()];
    let named = Service::start_on(network, &config, Inbox::new().1).await.unwrap();
    exchanged(&named, &inbox, "unless it is named").await;
    assert_eq!(proxy.heads().len(), 1);
}

/// tinyproxy resolves the server's name, which is one that every machine knows.
#[tokio::test]
async fn a_proxy_that_others_have_written_is_passed_with_its_password() {
    let config = |_: &Path, listen: SocketAddr| {
        format!(
            "Port {}\nListen 127.0.0.1\nTimeout 600\nAllow 127.0.0.1\nBasicAuth user sesame\n",
            listen.port()
        )
    };
    let Some(proxy) = ReverseProxy::start("tinyproxy", "-dc", config).await else {
        eprintln!("skipped: tinyproxy is not installed");
        return;
    };
    let (server, inbox, invite) = server(Encoding::Sealed).await;
    let url = format!("ws://localhost:{}/", server.address().unwrap().port());
    let mut config = client(invite.at(&url).unwrap());
    config.settings_mut().transport.outbound.proxy_loopback = vec!["localhost".parse().unwrap()];
    through(&mut config, &format!("http://user:wrong@{}", proxy.address()));
    let (code, text) = failure(&config, LIMIT).await;
    assert!(["proxy_password_refused", "proxy_refused"].contains(&code), "{code} {text}");
    through(&mut config, &format!("http://user:sesame@{}", proxy.address()));
    let client = Service::start(&config, Inbox::new().1).await.unwrap();
    exchanged(&client, &inbox, "through tinyproxy").await;
    assert_eq!(address(&client), proxy.address().to_string());
    client.shutdown().await;
    // A server that nobody is.
    let mut nobody = client_of_nobody();
    through(&mut nobody, &format!("http://user:sesame@{}", proxy.address()));
    assert_eq!(failure(&nobody, LIMIT).await.0, "proxy_refused");
}

/// The operating system's network with one more name, whose first address leads nowhere. It notes which
/// names it is asked for.
#[derive(Debug)]
struct Named {
    system: Arc<dyn Network>,
    proxy: SocketAddr,
    asked: Mutex<Vec<String>>,
}

const NOWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 3128);

impl Network for Named {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.asked.lock().unwrap().push(format!("{host}:{port}"));
        let known = host == "proxy.invalid";
        let known = known.then(|| vec![NOWHERE, self.proxy]).ok_or(io::ErrorKind::NotFound.into());
        Box::pin(async { known })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        if address == NOWHERE {
            return Box::pin(std::future::pending());
        }
        self.system.connect(address)
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        self.system.bind(address)
    }
}

#[tokio::test]
async fn the_addresses_of_the_proxy_are_raced_and_the_servers_name_is_never_looked_up() {
    let proxy = ConnectProxy::start().await;
    let (server, inbox, invite) = server(Encoding::Sealed).await;
    proxy.know(HUB, server.address().unwrap());
    let mut config = client(invite);
    through(&mut config, "http://proxy.invalid:3128");
    let network =
        Arc::new(Named { system: system(), proxy: proxy.address(), asked: Mutex::default() });
    let shared = Arc::clone(&network) as Arc<dyn Network>;
    let client = Service::start_on(shared, &config, Inbox::new().1).await.unwrap();
    exchanged(&client, &inbox, "by the second address").await;
    assert_eq!(*network.asked.lock().unwrap(), ["proxy.invalid:3128"]);
}

#[tokio::test]
async fn a_configuration_is_written_and_read_with_its_proxy() {
    let mut config = client_of_nobody();
    through(&mut config, "http://user:se%40same@proxy.example:3128");
    config.settings_mut().transport.outbound.no_proxy = vec![".example.org".parse().unwrap()];
    let text = config.to_toml().unwrap();
    let again = ServiceConfig::from_toml(&text).unwrap();
    assert_eq!(again.settings(), config.settings());
    let bad = text.replace("http://user:", "https://user:");
    let refused = ServiceConfig::from_toml(&bad).unwrap_err();
    let shown = format!("{refused} {refused:?}");
    assert!(shown.contains("TLS to the proxy itself") && !shown.contains("same"), "{shown}");
    let path = Path::new("/nowhere");
    config.settings_mut().transport.outbound.proxy_password_file = path.to_owned();
    let two = Service::start(&config, Inbox::new().1).await.unwrap_err();
    assert!(with_causes(&two).contains("proxy_password_file needs a proxy"), "{two}");
}

#[tokio::test]
async fn a_proxys_failure_shows_in_the_status_of_the_link() {
    let proxy = ConnectProxy::start().await;
    let mut config = client_of_nobody();
    through(&mut config, &format!("http://{}", proxy.address()));
    let client = Service::start(&config, Inbox::new().1).await.unwrap();
    paddington_test_support::eventually(async || client.peers()[0].last_error.is_some()).await;
    let error = client.peers().remove(0).last_error.unwrap();
    assert_eq!(error.code, "proxy_cannot_reach_server");
    let reach = config.reach("server", LIMIT).await.unwrap();
    let Err(DialError::Proxy { source: ProxyError::Refused(status), .. }) = reach.outcome else {
        unreachable!("{reach:?}")
    };
    assert_eq!(status.as_u16(), 503);
}
