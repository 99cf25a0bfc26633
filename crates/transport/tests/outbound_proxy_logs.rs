//! The password for a proxy is in no line of the log, whatever the proxy does with it.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use paddington::{ProxyChoice, ProxyEnvironment, Service, ServiceConfig};
use paddington_test_support::{Behaviour, ConnectProxy, Inbox, capture_logs, eventually, quick};
use paddington_transport::system_in;

const PASSWORD: &str = "sesame-7f3a9c";
/// `somebody:sesame-7f3a9c` in base 64, and the password alone.
const SECRETS: [&str; 4] = [PASSWORD, "c29tZWJvZHk6c2VzYW1lLTdmM2E5Yw", "somebody", "Basic c29"];

fn config() -> ServiceConfig {
    let mut server = ServiceConfig::new("server", "ws://hub.invalid:1", "127.0.0.1", &0).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    client.add_server(invite).unwrap();
    quick(&mut client);
    client.settings_mut().transport.retry.refused = Duration::from_millis(100);
    client
}

#[tokio::test]
async fn credentials_and_the_words_of_a_proxy_are_in_no_log() {
    let logs = capture_logs();
    let proxy = ConnectProxy::start().await;
    let url = format!("http://somebody:{PASSWORD}@{}", proxy.address());
    let mut named = config();
    named.settings_mut().transport.outbound.proxy = ProxyChoice::Url(url.parse().unwrap());
    let in_environment = |url: String| {
        ProxyEnvironment::of(move |name| (name == "all_proxy").then(|| url.clone().into()))
    };
    let socks = url.replace("http:", "socks5:");
    let (named, other) = (
        Service::start(&named, Inbox::new().1).await.unwrap(),
        Service::start_on(system_in(in_environment(url.clone())), &config(), Inbox::new().1)
            .await
            .unwrap(),
    );
    let unusable = system_in(in_environment(socks));
    let unusable = Service::start_on(unusable, &config(), Inbox::new().1).await.unwrap();

    for (answer, words) in [
        (
            "HTTP/1.1 407 evil\r\nProxy-Authenticate: Basic realm=\"evil\"\r\n\r\n",
            "does not accept",
        ),
        ("HTTP/1.1 403 evil\x07\r\n\r\n", "its answer is invalid"),
        ("HTTP/1.1 403 evil\r\n\r\nevil", "403 Forbidden"),
        ("HTTP/1.1 502 evil\r\n\r\n", "502 Bad Gateway"),
        ("evil evil\r\n\r\n", "not HTTP"),
        ("", "it did not answer"),
    ] {
        proxy.behave(Behaviour::Answers(answer.as_bytes().to_vec()));
        let logged = async || {
            let lines = logs.lines();
            lines.iter().filter(|line| line.contains(words)).count() >= 2
        };
        eventually(logged).await;
    }
    for text in ["the proxy of all_proxy", "SOCKS is not supported", "connecting through a proxy"] {
        eventually(async || logs.lines().iter().any(|line| line.contains(text))).await;
    }
    let status = [&named, &other, &unusable].map(|service| format!("{:?}", service.peers()));
    assert!(proxy.heads().iter().any(|head| head.contains(SECRETS[1])), "it was never sent");
    let mut lines = logs.lines();
    lines.extend(status);
    lines.extend([&named, &other, &unusable].map(|service| format!("{service:?}")));
    for secret in SECRETS {
        let shown = lines.iter().find(|line| line.contains(secret));
        assert_eq!(shown, None, "{secret}");
    }
    assert_eq!(lines.iter().find(|line| line.contains("evil")), None);
}
