//! Conclusions from an attempt to reach a server that did not come as far as the handshake.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use paddington::{DialError, Endpoint, ProxyError, Reach, Step, UpgradeError, with_causes};

use super::authority;
use super::report::{Check, Finding};

/// The server that is asked, and how.
pub(super) struct Target<'a> {
    pub(super) peer: &'a str,
    pub(super) own_name: &'a str,
    pub(super) url: &'a Endpoint,
    /// The trusted authorities, in words.
    pub(super) trusted: String,
    pub(super) is_hex: bool,
}

/// Returns a check for each step, up to the one that failed.
pub(super) fn checks(reach: &Reach, target: &Target<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    let host = target.url.host();
    if let Some(proxy) = &reach.proxy {
        checks.extend(reach.connected.map(|_| way(proxy, reach)));
    } else if !reach.addresses.is_empty() && host.parse::<IpAddr>().is_err() {
        let all: Vec<_> = reach.addresses.iter().map(|it| it.ip().to_string()).collect();
        checks.push(Check::passed("name", format!("{host} is {}", all.join(", "))));
    }
    if let Some(address) = reach.connected.filter(|_| reach.proxy.is_none()) {
        checks.push(Check::passed("connection", format!("{address} accepts connections")));
    }
    if reach.secured {
        let text = format!("{}, trusted by {}", authority::presented(reach), target.trusted);
        checks.push(Check::passed("certificate", text));
    }
    checks.push(match &reach.outcome {
        Ok(()) => Check::passed("request", "the server speaks this protocol at this URL"),
        Err(error) => Check::failed(step(error, reach, target), finding(error, reach, target)),
    });
    checks
}

/// Says through which proxy the server is asked, and how far that let the attempt come.
fn way(proxy: &str, reach: &Reach) -> Check {
    let named_in = reach.proxy_named_in.unwrap_or("the environment");
    let far = match reach.tunnelled {
        true => "opens a way to the server, whose name it resolves itself",
        false => "accepts connections",
    };
    Check::passed("proxy", format!("{proxy}, which {named_in} names, {far}"))
}

/// Returns the step that failed.
fn step(error: &DialError, reach: &Reach, target: &Target<'_>) -> &'static str {
    match error {
        DialError::Proxy { .. } => "proxy",
        DialError::Tls(_) => "certificate",
        _ if reach.addresses.is_empty() => "name",
        _ if reach.connected.is_none() => "connection",
        _ if target.url.is_secure() && !reach.secured => "certificate",
        _ => "request",
    }
}

fn finding(error: &DialError, reach: &Reach, target: &Target<'_>) -> Finding {
    let code = error.code();
    match error {
        DialError::Resolve { host, source } => Finding::new(
            code,
            format!("the name {host:?} in the invitation's URL cannot be resolved: {source}"),
            format!(
                "Check the spelling of {} and this machine's DNS (`getent hosts {host}`); if the name \
                 is wrong, let the server's operator correct the url and renew the invitation.",
                target.url
            ),
        ),
        DialError::Connect { address, source } => of_connect(code, address, source, target),
        DialError::Proxy { source, .. } => of_proxy(code, error, source, reach, target),
        DialError::Tls(source) => {
            authority::finding(code, source, reach, target.url.host(), &target.trusted)
        }
        DialError::Upgrade(error) => of_upgrade(error, reach, target),
        DialError::Timeout(step) => of_timeout(code, *step, target),
        error => Finding::new(
            code,
            with_causes(error),
            sentence(error.remedy().unwrap_or("try again, and see the log")),
        ),
    }
}

fn of_proxy(
    code: &'static str,
    error: &DialError,
    source: &ProxyError,
    reach: &Reach,
    target: &Target<'_>,
) -> Finding {
    let named_in = reach.proxy_named_in;
    let named_in = named_in.map(|it| format!(" (named in {it})")).unwrap_or_default();
    let text = format!("{}{named_in}", with_causes(error));
    let server = target.url.authority();
    let remedy = match code {
        "proxy_cannot_reach_server" => format!(
            "The proxy runs, and does not reach {server}: check that {} runs, and let who runs the \
             proxy see whether it resolves and reaches that host and port.",
            target.peer
        ),
        "proxy_refused" => format!(
            "Ask who runs the proxy to allow CONNECT to {server} (many proxies allow port 443 only), or \
             list the host in no_proxy of [settings.transport.outbound] if no proxy is needed."
        ),
        _ => sentence(source.remedy()),
    };
    Finding::new(code, text, remedy)
}

fn of_connect(
    code: &'static str,
    address: &str,
    source: &io::Error,
    target: &Target<'_>,
) -> Finding {
    match code {
        "connection_refused" => Finding::new(
            code,
            format!("nobody listens at {address}"),
            format!(
                "Check with {}'s operator that it runs (`paddington status` there), that {} is its \
                 port or that of its proxy, and that no firewall refuses it.",
                target.peer,
                target.url.port()
            ),
        ),
        "no_route" => Finding::new(
            code,
            format!("there is no way to {address}: {source}"),
            "Check this machine's network and its route to the server (`ip route get ADDRESS`).",
        ),
        _ => Finding::new(
            code,
            format!("{address} cannot be reached: {source}"),
            "Check the route and the firewalls between the two, and that the server runs.",
        ),
    }
}

fn of_timeout(code: &'static str, step: Step, target: &Target<'_>) -> Finding {
    let remedy = match step {
        Step::Resolve => "Check this machine's DNS: its server does not answer.",
        Step::Connect => {
            "A firewall probably drops the packets, or the host is down: check the route and the \
             firewalls between the two."
        }
        _ => {
            "Something accepts the connection and says nothing: check that the URL leads to a \
             paddington server, and whether large packets are lost on the way (path MTU)."
        }
    };
    Finding::new(code, format!("timed out while {step} at {}", target.url), remedy)
}

fn of_upgrade(error: &UpgradeError, reach: &Reach, target: &Target<'_>) -> Finding {
    let code = error.code();
    match error {
        UpgradeError::Refused { status, .. } => of_status(code, status.as_u16(), reach, target),
        UpgradeError::BadProxy => Finding::new(code, with_causes(error), PROXY),
        UpgradeError::Http(_) if error.is_silence() => Finding::new(
            code,
            format!(
                "{} closes the connection without a word, as a server does with an address that no \
                 invitation allows{}",
                target.url.authority(),
                own_address(reach)
            ),
            ask_there(target),
        ),
        UpgradeError::Http(_) => Finding::new(
            code,
            format!("what listens at {} does not speak HTTP", target.url.authority()),
            "Check the port in the invitation's URL; if it speaks TLS, the URL has to begin with \
             wss://.",
        ),
        UpgradeError::OtherEncoding(what) => {
            encoding_mismatch(format!("the server speaks another encoding: {what}"), target)
        }
        UpgradeError::Answer(what) => Finding::new(
            code,
            format!("the server's answer is invalid: {what}"),
            "Check whether a proxy changes the answer, and what listens there.",
        ),
        error => Finding::new(code, with_causes(error), sentence("check the invitation's URL")),
    }
}

/// The remedy for a proxy that keeps headers to itself.
const PROXY: &str = "Let the proxy pass on the headers Upgrade and Connection. For nginx: \
    proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \
    \"upgrade\";";

fn of_status(code: &'static str, status: u16, reach: &Reach, target: &Target<'_>) -> Finding {
    let url = target.url;
    let answered = |what: &str| format!("{} answers {status}: {what}", url.authority());
    let (text, remedy) = match code {
        "proxy_without_upgrade" if status == 400 && target.is_hex => {
            let text = answered("it expects no hex client from this address");
            return encoding_mismatch(format!("{text}{}", own_address(reach)), target);
        }
        "address_refused" => {
            let text = answered("the server, or its proxy, does not admit this address");
            let text = format!("{text}{}", own_address(reach));
            return Finding::new(code, text, ask_there(target));
        }
        "wrong_path" => (
            answered(&format!("{:?} is not the path of this server", url.path())),
            "Let the url in the server's service.toml, the path that its proxy passes on, and the \
             invitation agree; then renew the invitation.",
        ),
        "redirected" => (
            answered("it sends clients elsewhere, which are not followed"),
            "Let the server's operator write the URL of the service itself into url (perhaps wss:// \
             instead of ws://), and renew the invitation.",
        ),
        "proxy_wants_password" => (
            answered("a proxy asks for a password"),
            "Let the proxy pass on this path without one: the keys of the link protect it.",
        ),
        "too_many_attempts" => (
            answered("there were too many attempts from this address"),
            "Wait some seconds, and mend what failed before; the server's log has it.",
        ),
        "proxy_without_service" => (
            answered("a proxy answers, and cannot reach the service behind it"),
            "Check that the service runs (`paddington status` there), and that the proxy passes on to \
             its ip and port.",
        ),
        "proxy_without_upgrade" => (answered("the upgrade was lost on the way"), PROXY),
        _ => (
            answered("it is another web server, or a proxy that does not pass on this path"),
            "Check the host, the port and the path of the invitation's URL, and what listens there; a \
             proxy has to pass on this path to the server.",
        ),
    };
    Finding::new(code, text, remedy)
}

fn encoding_mismatch(text: String, target: &Target<'_>) -> Finding {
    let own = if target.is_hex { "hex" } else { "sealed" };
    Finding::new(
        "encoding_mismatch",
        text,
        format!(
            "The invitation here is for the {own} encoding. Let {}'s operator see what `paddington show \
             {}` says there, and write a new invitation: for hex with --hex.",
            target.peer, target.own_name
        ),
    )
}

/// A stranger may know nothing: the server's operator has to be asked.
pub(super) fn ask_there(target: &Target<'_>) -> String {
    format!(
        "Only the server sees why: ask {}'s operator to run there: paddington doctor {}",
        target.peer, target.own_name
    )
}

/// Says from which address the server sees this machine. A router on the way may make another one of it.
pub(super) fn own_address(reach: &Reach) -> String {
    if let Some(proxy) = &reach.proxy {
        return format!("; the server sees the address of the proxy {proxy}");
    }
    let found = reach.connected.and_then(own_address_towards);
    found
        .map(|ip| format!("; this machine connects from {ip}, unless a router changes that"))
        .unwrap_or_default()
}

/// Returns the address of this machine on the way to another one. Nothing is sent.
fn own_address_towards(server: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Makes a sentence of a remedy in the words of the log.
pub(super) fn sentence(remedy: &str) -> String {
    let mut letters = remedy.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}
