//! A link has one connection, in whatever order connections arrive (`docs/protocol.md` §8).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use paddington::{Encoding, Event, Handler, Message, PeerStatus, Service};
use paddington_test_support::{
    Inbox, Intruder, MemoryDisk, Pair, Random, RawFrame, credentials, pair, pair_with,
};
use paddington_wire::sealed::Greeting;
use paddington_wire::{CloseCode, Frame, Instance};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{Instant, sleep};

const SERVER: &str = "127.0.0.1:6501";

fn instance(byte: u8) -> Instance {
    Instance::from([byte; 16])
}

fn status(service: &Service) -> PeerStatus {
    service.peers().remove(0)
}

async fn connected(service: &Service) {
    while !status(service).is_connected() {
        sleep(Duration::from_millis(10)).await;
    }
}

fn generous(mut pair: Pair) -> Pair {
    pair.server.settings_mut().transport.limits.attempts = 100_000;
    pair.server.settings_mut().handshakes = 100_000;
    pair
}

#[tokio::test(start_paused = true)]
async fn a_restarted_client_replaces_its_dead_connection() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, inbox) = pair.start_server().await;
        let (first, _) = pair.start_client().await;
        first.send(Message::new("server", "before")).await.unwrap();
        assert_eq!(inbox.text().await, "before");
        pair.network.freeze(); // the client's machine is down, and no FIN was sent
        let restarted = Instant::now();
        let (second, _) = pair.start_client().await;
        second.send(Message::new("server", "after")).await.unwrap();
        assert_eq!(inbox.text().await, "after");
        let took = restarted.elapsed();
        assert!((3..=4).contains(&took.as_secs()), "{encoding}: probe and handshake took {took:?}");
        assert!(status(&server).is_connected());
    }
}

/// Two processes with the same invitation, each with a store of its own or none, take turns.
#[tokio::test(start_paused = true)]
async fn a_second_process_with_the_same_invitation_makes_no_message_come_twice() {
    for [server_stores, client_stores] in [[false, false], [false, true], [true, true]] {
        let pair = pair();
        let disks = [(); 2].map(|()| MemoryDisk::default());
        let start = async |config, disk: Option<&MemoryDisk>| {
            let (inbox, handler) = Inbox::new();
            let (disk, cables) = (disk.map(MemoryDisk::open), pair.network.clone());
            let handler = Arc::new(handler);
            let handler = move |message: Message| {
                if message.payload() == "before" {
                    cables.freeze(); // its acknowledgement does not arrive
                }
                let handler = Arc::clone(&handler);
                async move { handler.handle(message).await }
            };
            let network = pair.network.network();
            (Service::start_with(network, disk, config, handler).await.unwrap(), inbox)
        };
        let (server, inbox) = start(&pair.server, server_stores.then_some(&disks[0])).await;
        let (first, _) = start(&pair.client, client_stores.then_some(&disks[1])).await;
        first.send(Message::new("server", "before")).await.unwrap();
        assert_eq!(inbox.text().await, "before");
        let (second, _) = pair.start_client().await;
        for message in 1..=3 {
            second.send(Message::new("server", format!("second {message}"))).await.unwrap();
            assert_eq!(inbox.text().await, format!("second {message}"));
        }
        second.shutdown().await;
        first.send(Message::new("server", "after")).await.unwrap();
        assert_eq!(inbox.text().await, "after");
        sleep(Duration::from_secs(60)).await;
        let handled = inbox.drain().await;
        assert!(!handled.iter().any(|text| text == "before"), "{handled:?}");
        assert!(status(&server).is_conserved() && status(&first).is_conserved());
        assert_eq!(status(&first).counts.unwrap().acknowledged, 2);
    }
}

/// Waits until a service tells of an event, and returns how long that has taken.
async fn told(service: &Service, wanted: impl Fn(&Event) -> bool) -> Duration {
    let (mut events, begun) = (service.exchange().events(), Instant::now());
    while !wanted(&events.recv().await.unwrap()) {}
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn both_sides_notice_that_the_cable_hangs_and_nothing_is_lost() {
    for (idle, talks) in (0..30).map(|half| (Duration::from_millis(500) * half, half % 2 == 0)) {
        let pair = pair();
        let (server, inbox) = pair.start_server().await;
        let (client, client_inbox) = pair.start_client().await;
        client.send(Message::new("server", "1")).await.unwrap();
        assert_eq!(inbox.text().await, "1");
        sleep(idle).await;
        pair.network.freeze();
        if talks {
            client.send(Message::new("server", "2")).await.unwrap();
            server.send(Message::new("client", "3")).await.unwrap();
        }
        let is_down = |event: &Event| matches!(event, Event::Down { .. });
        let noticed = tokio::join!(told(&server, is_down), told(&client, is_down));
        let latest = noticed.0.max(noticed.1);
        assert!(latest <= Duration::from_secs(31), "{noticed:?} after {idle:?}");
        if !talks {
            client.send(Message::new("server", "2")).await.unwrap();
            server.send(Message::new("client", "3")).await.unwrap();
        }
        let again = Instant::now();
        assert_eq!((inbox.text().await, client_inbox.text().await), ("2".into(), "3".into()));
        assert!(again.elapsed() <= Duration::from_secs(1), "{:?}", again.elapsed());
        assert_eq!(inbox.drain().await, [""; 0], "no message twice, no second Connected");
        assert!(status(&server).is_conserved() && status(&client).is_conserved());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_alone_noticed_the_end_takes_over_at_once() {
    let pair = pair();
    let (server, inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    connected(&server).await;
    sleep(Duration::from_secs(60)).await;
    let held = pair.network.hold();
    for number in ["1", "2", "3"] {
        client.send(Message::new("server", number)).await.unwrap();
    }
    held.strand();
    let took = told(&server, |event| matches!(event, Event::Up { .. })).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    held.release(); // what the old connection carried comes behind the new one
    for number in ["1", "2", "3"] {
        assert_eq!(inbox.text().await, number);
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(inbox.drain().await, [""; 0]);
    assert!(status(&server).is_conserved() && status(&client).is_conserved());
}

#[tokio::test(start_paused = true)]
async fn a_second_process_with_the_same_invitation_waits_until_the_first_has_left() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, inbox) = pair.start_server().await;
        let (first, first_inbox) = pair.start_client().await;
        connected(&server).await;
        assert!(inbox.next().await.is_control());
        let since = Instant::now();
        let (second, second_inbox) = pair.start_client().await;
        for minute in 0..5 {
            sleep(Duration::from_secs(60)).await;
            assert!(status(&first).is_connected() && !status(&second).is_connected());
            first.send(Message::new("server", minute.to_string())).await.unwrap();
            assert_eq!(inbox.next().await.payload(), minute.to_string());
        }
        let stood = status(&server).connected_for.unwrap();
        assert!(stood >= since.elapsed(), "{encoding}: the first one was never disturbed");
        assert_eq!(first_inbox.drain().await, [r#"{"Connected":{"agent":"server"}}"#]);
        assert_eq!(second_inbox.drain().await, [""; 0]);
        if encoding == Encoding::Sealed {
            assert!(pair.network.dialled() <= 45, "it waits: {}", pair.network.dialled());
        }
        first.shutdown().await;
        let left = Instant::now();
        connected(&second).await;
        let limit = if encoding == Encoding::Sealed { 1 } else { 65 };
        assert!(left.elapsed() <= Duration::from_secs(limit), "{encoding}: {:?}", left.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_orderly_predecessor_hands_over_within_a_second() {
    for overlap in (0..40).map(|step| Duration::from_millis(500) * step) {
        let pair = pair();
        let (server, inbox) = pair.start_server().await;
        let (first, _) = pair.start_client().await;
        connected(&server).await;
        let (second, _) = pair.start_client().await;
        second.send(Message::new("server", "from the second")).await.unwrap();
        sleep(overlap).await;
        assert!(first.peers()[0].is_connected() && !second.peers()[0].is_connected());
        first.send(Message::new("server", "last of the first")).await.unwrap();
        assert!(first.shutdown().await.is_clean());
        let left = Instant::now();
        connected(&second).await;
        assert!(left.elapsed() <= Duration::from_secs(1), "{overlap:?}: {:?}", left.elapsed());
        assert_eq!(inbox.text().await, "last of the first");
        assert_eq!(inbox.text().await, "from the second");
        let refused = status(&server).counters.refused_duplicate > 0;
        assert_eq!(refused, overlap >= Duration::from_secs(7), "{overlap:?}");
    }
}

/// A process that has only lost its connection may be back soon, and goes first.
#[tokio::test(start_paused = true)]
async fn a_lost_connection_does_not_hand_the_slot_over_at_once() {
    let pair = pair();
    let (server, _) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let first = Intruder::establish(&pair.network, SERVER, &secrets, instance(1)).await;
    connected(&server).await;
    let (mut talks, mut session) = first;
    let (second, _) = pair.start_client().await;
    sleep(Duration::from_millis(100)).await;
    talks.say(&mut session, &Frame::Pong(u64::MAX)).await; // it is alive
    sleep(Duration::from_secs(1)).await;
    assert!(!status(&second).is_connected());
    drop(talks);
    let lost = Instant::now();
    connected(&second).await;
    let took = lost.elapsed().as_secs_f64();
    assert!((0.5..=1.5).contains(&took), "{took}");
}

/// In a rolling update on one machine the new server starts while the old one shuts down.
#[tokio::test(start_paused = true)]
async fn the_clients_of_a_server_that_is_replaced_in_order_are_connected_at_once() {
    let mut pair = pair();
    let (first, _) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    connected(&first).await;
    sleep(Duration::from_secs(60)).await;
    pair.server.settings_mut().listen_wait = Duration::from_secs(60);
    let (ended, (second, inbox)) = tokio::join!(
        async {
            sleep(Duration::from_secs(5)).await;
            first.shutdown().await;
            Instant::now()
        },
        pair.start_server(),
    );
    connected(&second).await;
    // A client that came before the second one listened comes again after a second.
    assert!(ended.elapsed() <= Duration::from_millis(1_500), "{:?}", ended.elapsed());
    client.send(Message::new("server", "to the second")).await.unwrap();
    assert_eq!(inbox.text().await, "to the second");
}

#[tokio::test(start_paused = true)]
async fn the_second_process_is_told_why() {
    let pair = generous(pair());
    let (server, _) = pair.start_server().await;
    let (_first, _) = pair.start_client().await;
    connected(&server).await;
    let secrets = credentials(&pair.invite);
    let (_, greeting) =
        Intruder::enter(&pair.network, SERVER, &secrets, instance(9)).await.unwrap();
    assert!(matches!(greeting, Greeting::Closed(CloseCode::Busy)));
}

#[tokio::test(start_paused = true)]
async fn the_newer_of_two_handshakes_wins() {
    let pair = generous(pair());
    let (server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let enter = || async {
        let entered = Intruder::enter(&pair.network, SERVER, &secrets, instance(1)).await;
        let (intruder, Greeting::Ready(session, _)) = entered.unwrap() else { panic!("closed") };
        (intruder, session)
    };
    let ready = Frame::Ready(paddington_test_support::empty_ready(instance(1)));
    let (mut older, mut older_session) = enter().await;
    let (mut newer, mut newer_session) = enter().await;
    older.say(&mut older_session, &ready).await;
    assert_eq!(older.client.rest().await, b"", "the older one must not be established");
    assert!(!status(&server).is_connected());
    newer.say(&mut newer_session, &ready).await;
    connected(&server).await;
    assert_eq!(inbox.next().await.payload(), r#"{"Connected":{"agent":"client"}}"#);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_older_connection_does_not_touch_the_newer_one() {
    let pair = generous(pair());
    let (server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let (mut old, mut old_session) =
        Intruder::establish(&pair.network, SERVER, &secrets, instance(1)).await;
    connected(&server).await;
    let taken_over = Instant::now();
    let (mut new, mut new_session) =
        Intruder::establish(&pair.network, SERVER, &secrets, instance(1)).await;
    let mut heard = old.hear(&mut old_session).await;
    while !matches!(heard, None | Some(Frame::Close(_))) {
        heard = old.hear(&mut old_session).await;
    }
    assert_eq!(heard, Some(Frame::Close(CloseCode::Replaced)));
    assert!(taken_over.elapsed() < Duration::from_millis(100), "the same instance needs no probe");
    old.client.send(&RawFrame::binary(&[0; 100])).await;
    drop(old);
    sleep(Duration::from_secs(5)).await;
    assert!(status(&server).is_connected());
    new.say(&mut new_session, &Frame::Ping(5)).await;
    let mut heard = new.hear(&mut new_session).await;
    while !matches!(heard, None | Some(Frame::Pong(5))) {
        heard = new.hear(&mut new_session).await;
    }
    assert_eq!(heard, Some(Frame::Pong(5)));
    assert_eq!(inbox.drain().await, [r#"{"Connected":{"agent":"client"}}"#], "once");
}

#[tokio::test(start_paused = true)]
async fn too_many_handshakes_of_one_link_are_refused() {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.attempts = 1_000;
    let (_server, _) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    for attempt in 0..7 {
        let (_, greeting) =
            Intruder::enter(&pair.network, SERVER, &secrets, instance(1)).await.unwrap();
        let refused = matches!(greeting, Greeting::Closed(CloseCode::Overload));
        assert_eq!(refused, attempt >= 5, "{attempt}");
    }
    sleep(Duration::from_secs(10)).await;
    let (_, greeting) =
        Intruder::enter(&pair.network, SERVER, &secrets, instance(1)).await.unwrap();
    assert!(matches!(greeting, Greeting::Ready(..)));
}

#[tokio::test(start_paused = true)]
async fn handshakes_with_stolen_keys_do_not_keep_the_connected_instance_out() {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.attempts = 1_000;
    let (server, inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    connected(&server).await;
    let secrets = credentials(&pair.invite);
    let mut refused = 0;
    for attempt in 0..100 {
        let thief = instance(2 + attempt % 50);
        let entered = Intruder::enter(&pair.network, SERVER, &secrets, thief).await;
        refused += u32::from(matches!(
            entered,
            Some((_, Greeting::Closed(CloseCode::Overload | CloseCode::Busy)))
        ));
    }
    assert_eq!(refused, 100, "another instance is connected, or has made too many");
    pair.network.cut();
    client.send(Message::new("server", "still here")).await.unwrap();
    let cut = Instant::now();
    assert_eq!(inbox.text().await, "still here");
    assert!(cut.elapsed() <= Duration::from_secs(2), "{:?}", cut.elapsed());
}

/// A handler that takes some time for one message in eight, so that others wait behind it, and
/// what it was given.
fn slow_inbox() -> (mpsc::UnboundedReceiver<String>, impl Handler) {
    let (tell, told) = mpsc::unbounded_channel();
    let handler = move |message: Message| {
        let tell = tell.clone();
        async move {
            let Some(id) = message.id() else { return Ok(()) };
            if id.number.is_multiple_of(8) {
                sleep(Duration::from_micros(id.number * 997 % 3_000)).await;
            }
            tell.send(message.payload().to_owned())
        }
    };
    (told, handler)
}

/// Lets some milliseconds pass, or some turns of the other tasks within the same one.
async fn some_time(random: &mut Random) {
    if random.coin() {
        return sleep(random.up_to(Duration::from_millis(30))).await;
    }
    for _ in 0..random.below(60) {
        tokio::task::yield_now().await;
    }
}

/// In half of the cases the client alone notices that its connection has ended, and the next one
/// takes over from one that still delivers.
#[tokio::test(start_paused = true)]
async fn a_storm_of_reconnects_delivers_everything_once_and_in_order() {
    let (mut pair, mut random) = (generous(pair()), Random::new(1));
    for config in [&mut pair.server, &mut pair.client] {
        config.settings_mut().outbox_messages = 200_000;
        config.settings_mut().transport.retry.interval = Duration::from_millis(2);
    }
    let (mut at_server, handler) = slow_inbox();
    let network = || pair.network.network();
    let server = Service::start_on(network(), &pair.server, handler).await.unwrap();
    let (mut at_client, handler) = slow_inbox();
    let client = Service::start_on(network(), &pair.client, handler).await.unwrap();
    let (mut sent, mut late) = (0, 0);
    for _ in 0..1_000 {
        some_time(&mut random).await;
        let held = if random.coin() { Some(pair.network.hold()) } else { None };
        for _ in 0..random.below(100) {
            client.send(Message::new("server", sent.to_string())).await.unwrap();
            server.send(Message::new("client", sent.to_string())).await.unwrap();
            sent += 1;
        }
        some_time(&mut random).await;
        let Some(held) = held else {
            pair.network.cut();
            continue;
        };
        let before = pair.network.dialled();
        held.strand();
        some_time(&mut random).await;
        late += usize::from(pair.network.dialled() > before);
        held.release();
    }
    assert!(pair.network.dialled() > 500, "{} connections", pair.network.dialled());
    assert!(late > 100, "{late} connections delivered behind their successors");
    for number in 0..sent {
        assert_eq!(at_server.recv().await.unwrap(), number.to_string());
        assert_eq!(at_client.recv().await.unwrap(), number.to_string());
    }
    for service in [&client, &server] {
        while status(service).outbox_messages > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    sleep(Duration::from_secs(120)).await;
    for told in [&mut at_server, &mut at_client] {
        assert_eq!(told.try_recv(), Err(TryRecvError::Empty), "nothing comes twice");
    }
}
