//! A message is text or bytes, says which, and stays what it is wherever it goes.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use paddington::{
    Delivered, Encoding, Event, Handler, Message, OnError, RejectCode, SendError, Service,
    accept_bytes,
};
use paddington_test_support::{MemoryDisk, Pair, pair, pair_with};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

const REJECTED: Delivered = Delivered::Rejected(RejectCode::TEXT_ONLY);

/// A message that a handler was given: whether it was bytes, and the bytes.
type Given = (bool, Vec<u8>);

/// Returns a handler that passes on what it is given, except for control messages.
fn keep() -> (impl Handler, UnboundedReceiver<Given>) {
    let (given, receiver) = unbounded_channel();
    let handler = move |message: Message| {
        let one = (message.is_bytes(), message.bytes().to_vec());
        assert!(!message.is_bytes() || message.payload().is_empty());
        std::future::ready(if message.is_control() { Ok(()) } else { given.send(one) })
    };
    (handler, receiver)
}

async fn next(given: &mut UnboundedReceiver<Given>) -> Given {
    timeout(Duration::from_secs(600), given.recv()).await.unwrap().unwrap()
}

fn message(to: &str, given: &Given) -> Message {
    match given {
        (true, bytes) => Message::with_bytes(to, bytes.clone()),
        (false, bytes) => Message::new(to, String::from_utf8(bytes.clone()).unwrap()),
    }
}

/// Both kinds mixed, short and long, with bytes that are no text and others that look like it.
fn mixed() -> Vec<Given> {
    let short = (0..200_u32).map(|number| match number % 3 {
        0 => (true, vec![0xff, number as u8]),
        1 => (true, number.to_string().into_bytes()),
        _ => (false, number.to_string().into_bytes()),
    });
    let long = [(true, vec![0x80; 1 << 20]), (false, vec![b'x'; 100_000]), (true, vec![0; 5_000])];
    short.chain([(true, Vec::new()), (false, Vec::new())]).chain(long).collect()
}

async fn start(pair: &Pair, server: bool, disk: Option<&MemoryDisk>, h: impl Handler) -> Service {
    let config = if server { &pair.server } else { &pair.client };
    let store = disk.map(MemoryDisk::open);
    Service::start_with(pair.network.network(), store, config, h).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn text_and_bytes_arrive_as_what_they_are() {
    let pair = pair();
    let ((at_server, mut from_client), (at_client, mut from_server)) = (keep(), keep());
    let server = start(&pair, true, None, accept_bytes(at_server)).await;
    let client = start(&pair, false, None, accept_bytes(at_client)).await;
    for given in mixed() {
        server.exchange().send_when_ready(message("client", &given)).await.unwrap();
        client.exchange().send_when_ready(message("server", &given)).await.unwrap();
    }
    for given in mixed() {
        assert_eq!(next(&mut from_client).await, given);
        assert_eq!(next(&mut from_server).await, given);
    }
    assert!(client.shutdown().await.is_clean() && server.shutdown().await.is_clean());
    assert!(client.peers()[0].is_conserved() && server.peers()[0].is_conserved());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_text_is_never_called_with_bytes() {
    let retry = OnError::Retry { attempts: 3, backoff: Duration::from_secs(60) };
    for on_error in [OnError::Next, retry, OnError::Stop] {
        let mut pair = pair();
        pair.server.settings_mut().on_error = on_error;
        let (handler, mut given) = keep();
        let server = start(&pair, true, None, handler).await;
        let (client, _) = pair.start_client().await;
        let mut events = client.exchange().events();
        let mut receipts = Vec::new();
        for sent in [(false, b"1"), (true, b"2"), (false, b"3"), (true, b"\xff")] {
            let message = message("server", &(sent.0, sent.1.to_vec()));
            receipts.push(client.send(message).await.unwrap());
        }
        let mut outcomes = Vec::new();
        for receipt in receipts {
            outcomes.push(receipt.await);
        }
        assert_eq!(outcomes, [Delivered::Handled, REJECTED, Delivered::Handled, REJECTED]);
        let texts = [next(&mut given).await.1, next(&mut given).await.1];
        assert_eq!((texts, given.is_empty()), ([b"1".to_vec(), b"3".to_vec()], true));
        let (status, counts) = (&server.peers()[0], client.peers()[0].counts.unwrap());
        assert_eq!((status.handled, status.failed, status.halted), (2, 2, false), "{on_error:?}");
        assert_eq!((counts.acknowledged, counts.rejected), (2, 2));
        assert!(client.peers()[0].is_conserved());
        let told = |event: &Event| matches!(event, Event::Undelivered { outcome: REJECTED, .. });
        assert!(std::iter::from_fn(|| events.try_recv().ok()).any(|event| told(&event)));
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_bytes_are_kept_as_dead_letters_that_are_bytes() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    let (handler, mut given) = keep();
    let server = start(&pair, true, Some(&disk), handler).await;
    let (client, _) = pair.start_client().await;
    let receipt = client.send(Message::with_bytes("server", &b"\xff1"[..])).await.unwrap();
    assert_eq!(receipt.await, REJECTED);
    assert_eq!(server.peers()[0].counters.dead_letters, 1);
    server.shutdown().await;

    // The service is started again, with a handler that takes bytes.
    let (handler, mut now_given) = keep();
    let server = start(&pair, true, Some(&disk), accept_bytes(handler)).await;
    client.send(Message::with_bytes("server", &b"\xff2"[..])).await.unwrap();
    assert_eq!(next(&mut now_given).await, (true, b"\xff2".to_vec()), "the first does not come");
    assert!(given.try_recv().is_err());
    let store = server.exchange().store().unwrap();
    let letters = store.letters().await.unwrap();
    let letter = store.take_letter(letters[0].0).await.unwrap().unwrap();
    assert_eq!((letters.len(), letter.code), (1, RejectCode::TEXT_ONLY));
    assert!(letter.payload.is_bytes() && *letter.payload == *b"\xff1");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_wait_in_a_store_are_bytes_after_a_restart() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    let (ignore, _given) = keep();
    let client = start(&pair, false, Some(&disk), ignore).await;
    for given in mixed() {
        client.send(message("server", &given)).await.unwrap();
    }
    client.shutdown().await;
    let (handler, mut given) = keep();
    let _server = start(&pair, true, None, accept_bytes(handler)).await;
    let (ignore, _given) = keep();
    let client = start(&pair, false, Some(&disk), ignore).await;
    for expected in mixed() {
        assert_eq!(next(&mut given).await, expected);
    }
    client.shutdown().await;
    assert!(client.peers()[0].is_conserved());
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_sent_or_tried_again_are_still_bytes() {
    let mut pair = pair();
    pair.server.settings_mut().on_error =
        OnError::Retry { attempts: 2, backoff: Duration::from_secs(1) };
    let (seen, mut given) = unbounded_channel();
    let handler = move |message: Message| {
        let one = (message.attempt(), message.is_bytes(), message.bytes().to_vec());
        let result = match message.attempt() {
            _ if message.is_control() => Ok(()),
            1 => seen.send(one).map_or(Ok(()), |()| Err("as planned")),
            _ => seen.send(one).map_err(|_| "nobody listens"),
        };
        std::future::ready(result)
    };
    let _server = start(&pair, true, None, accept_bytes(handler)).await;
    let (client, _) = pair.start_client().await;
    let receipt = client.send(Message::with_bytes("server", &b"\xff"[..])).await.unwrap();
    assert_eq!(given.recv().await.unwrap(), (1, true, vec![0xff]));
    pair.network.cut();
    assert_eq!(given.recv().await.unwrap(), (2, true, vec![0xff]));
    assert_eq!(receipt.await, Delivered::Handled);
}

#[tokio::test(start_paused = true)]
async fn a_hex_link_refuses_bytes_at_send_and_carries_text() {
    let pair = pair_with(Encoding::Hex);
    let (handler, mut given) = keep();
    let _server = start(&pair, true, None, accept_bytes(handler)).await;
    let (client, _) = pair.start_client().await;
    let bytes = || Message::with_bytes("server", &b"text"[..]);
    let refused = client.send(bytes()).await.unwrap_err();
    assert_eq!(refused, SendError::TextOnly("server".parse().unwrap()));
    assert!(!refused.is_retryable() && refused.to_string().contains("hex"), "{refused}");
    let refused = client.exchange().send_when_ready(bytes()).await.unwrap_err();
    assert!(matches!(refused, SendError::TextOnly(_)));
    client.send(Message::new("server", "text")).await.unwrap();
    assert_eq!(next(&mut given).await, (false, b"text".to_vec()));
    assert_eq!(client.peers()[0].outbox_messages, 0);
}

/// A handler may be a type of its own, and say itself that it takes bytes.
#[tokio::test(start_paused = true)]
async fn a_handler_says_itself_what_it_takes() {
    struct Counter(Arc<AtomicU32>);

    impl Handler for Counter {
        async fn handle(&self, message: Message) -> Result<(), paddington::HandlerError> {
            self.0.fetch_add(u32::from(message.is_bytes()), Ordering::Relaxed);
            Ok(())
        }

        fn takes_bytes(&self) -> bool {
            true
        }
    }

    let (pair, count) = (pair(), Arc::new(AtomicU32::new(0)));
    let _server = start(&pair, true, None, Counter(Arc::clone(&count))).await;
    let (client, _) = pair.start_client().await;
    let receipt = client.send(Message::with_bytes("server", vec![1])).await.unwrap();
    assert_eq!((receipt.await, count.load(Ordering::Relaxed)), (Delivered::Handled, 1));
}
