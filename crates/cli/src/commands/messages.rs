//! `paddington send`, `request`, `listen` and `ping`: what two peers say to each other.

use std::time::Duration;

use paddington_admin::model::{
    Accepted, Acknowledged, IdList, Incoming, NewMessage, OutcomeAnswer, PingAnswer, ReplyAnswer,
};
use serde::Serialize;

use crate::access::client;
use crate::args::{Listen, Ping, Request, Send};
use crate::content;
use crate::failure::{Exit, Failure};
use crate::output::{Output, note, write_raw};
use crate::view;

pub(crate) async fn send(args: &Send, output: Output) -> Result<(), Failure> {
    let mut client = client().await?;
    let content = content::read(&args.message, args.bytes)?;
    let message = NewMessage { content, ttl_seconds: args.ttl.map(|ttl| ttl.as_secs_f64()) };
    let path = format!("/v1/peers/{}/messages", args.peer);
    if !args.wait {
        let accepted: Accepted = client.post(&path, &message).await?;
        return output.print(&accepted, |accepted| match accepted.ids.first() {
            Some(Some(id)) => format!("accepted as {id}"),
            _ => "accepted".to_owned(),
        });
    }
    let outcome: OutcomeAnswer = client.post(&format!("{path}?wait=handled"), &message).await?;
    output.print(&outcome, |outcome| outcome.text.clone())?;
    match outcome.outcome.as_str() {
        "handled" | "sent" => Ok(()),
        "expired" => Err(Failure::new(Exit::Late, "the message was not handled")),
        _ => Err(Failure::new(Exit::No, "the message was not handled")),
    }
}

pub(crate) async fn request(args: &Request, output: Output) -> Result<(), Failure> {
    let mut client = client().await?;
    let message =
        NewMessage { content: content::read(&args.message, args.bytes)?, ttl_seconds: None };
    let seconds = args.timeout.as_secs_f64();
    let path = format!("/v1/peers/{}/requests?timeout={seconds}s", args.peer);
    let reply: ReplyAnswer = client.post(&path, &message).await?;
    if output.is_json() {
        return output.print(&reply, |_| String::new());
    }
    let mut bytes = content::bytes(&reply.content)?;
    if reply.content.text.is_some() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    write_raw(&bytes)
}

pub(crate) async fn listen(args: &Listen, output: Output) -> Result<(), Failure> {
    let mut client = client().await?;
    let path = match &args.peer {
        Some(peer) => format!("/v1/messages?peer={peer}"),
        None => "/v1/messages".to_owned(),
    };
    let mut events = client.events(&path).await?;
    let mut left = args.count;
    note("listening; each message that is printed counts as handled. Ctrl-C ends this.");
    while left != Some(0) {
        let Some(event) = events.next().await? else {
            return Err(Failure::new(Exit::NoService, "the service has ended"));
        };
        if event.name != "message" {
            continue;
        }
        let message: Incoming = serde_json::from_str(&event.data)
            .map_err(|error| Failure::new(Exit::No, format!("this is no message: {error}")))?;
        print(&message, args.raw, output)?;
        let ids = IdList { ids: vec![message.id] };
        let _: Acknowledged = client.post("/v1/messages/handled", &ids).await?;
        left = left.map(|left| left - 1);
    }
    Ok(())
}

fn print(message: &Incoming, raw: bool, output: Output) -> Result<(), Failure> {
    if raw {
        let mut bytes = content::bytes(&message.content)?;
        bytes.push(b'\n');
        return write_raw(&bytes);
    }
    output.print(message, |message| {
        let what = if message.request { "asks" } else { "says" };
        let text = match (&message.content.text, &message.content.base64) {
            (Some(text), _) => text.clone(),
            (None, Some(base64)) => format!("(bytes) {base64}"),
            (None, None) => String::new(),
        };
        format!("{} {what}: {}", message.peer, escaped(&text))
    })
}

/// Text of a peer must not move the cursor of a terminal.
fn escaped(text: &str) -> String {
    let visible =
        |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(visible).collect()
}

#[derive(Serialize)]
struct Pings {
    peer: String,
    sent: usize,
    lost: usize,
    min_seconds: Option<f64>,
    avg_seconds: Option<f64>,
    p99_seconds: Option<f64>,
}

pub(crate) async fn ping(args: &Ping, output: Output) -> Result<(), Failure> {
    let mut client = client().await?;
    let path = format!("/v1/peers/{}/ping", args.peer);
    let (mut times, mut lost) = (Vec::new(), 0);
    for number in 0..args.count.max(1) {
        if number > 0 {
            tokio::time::sleep(args.interval.max(Duration::from_millis(1))).await;
        }
        match client.post::<PingAnswer>(&path, &()).await {
            Ok(answer) => {
                note(&format!("{}: {}", args.peer, view::seconds(answer.round_trip_seconds)));
                times.push(answer.round_trip_seconds);
            }
            Err(error) => {
                lost += 1;
                let failure = Failure::from(error);
                if times.is_empty() && lost == 1 && args.count > 1 && !failure.is_late() {
                    return Err(failure);
                }
                note(&format!("{}: {failure}", args.peer));
            }
        }
    }
    let pings = statistics(&args.peer, times, lost);
    output.print(&pings, |pings| {
        match (pings.min_seconds, pings.avg_seconds, pings.p99_seconds) {
            (Some(min), Some(avg), Some(p99)) => format!(
                "{} of {} came back: min {}, avg {}, p99 {}",
                pings.sent - pings.lost,
                pings.sent,
                view::seconds(min),
                view::seconds(avg),
                view::seconds(p99),
            ),
            _ => format!("none of {} came back", pings.sent),
        }
    })?;
    if pings.lost > 0 { Err(Failure::new(Exit::Late, "not every ping came back")) } else { Ok(()) }
}

fn statistics(peer: &str, mut times: Vec<f64>, lost: usize) -> Pings {
    times.sort_by(f64::total_cmp);
    let count = times.len();
    let sum: f64 = times.iter().sum();
    // The smallest time that 99 of 100 do not exceed.
    let rank = (count * 99).div_ceil(100);
    Pings {
        peer: peer.to_owned(),
        sent: count + lost,
        lost,
        min_seconds: times.first().copied(),
        avg_seconds: u32::try_from(count).ok().filter(|it| *it > 0).map(|it| sum / f64::from(it)),
        p99_seconds: rank.checked_sub(1).and_then(|at| times.get(at)).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_of_the_pings_that_came_back() {
        let times = (1..=200).rev().map(f64::from).collect();
        let pings = statistics("hub", times, 3);
        assert_eq!((pings.sent, pings.lost), (203, 3));
        assert_eq!(pings.min_seconds, Some(1.0));
        assert_eq!(pings.avg_seconds, Some(100.5));
        assert_eq!(pings.p99_seconds, Some(198.0));
        let none = statistics("hub", Vec::new(), 1);
        assert_eq!((none.min_seconds, none.avg_seconds, none.p99_seconds), (None, None, None));
    }

    #[test]
    fn what_a_peer_says_does_not_move_the_cursor() {
        assert_eq!(escaped("\u{1b}[2Jhot\r\n"), "\\u{1b}[2Jhot\\r\\n");
    }
}
