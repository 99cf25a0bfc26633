//! What a person can see of a link: where the peer is, since when, how far away, and why it is not
//! connected, in words, with what helps.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::{Duration, SystemTime};

use paddington::{Encoding, LastError, PeerStatus, PingError, Service};
use paddington_test_support::{FakeServer, eventually, pair, pair_with};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn peer(service: &Service) -> PeerStatus {
    service.peers().remove(0)
}

async fn connected(services: [&Service; 2]) {
    for service in services {
        eventually(async || peer(service).is_connected()).await;
    }
}

async fn failed(service: &Service) -> LastError {
    eventually(async || peer(service).last_error.is_some()).await;
    peer(service).last_error.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_status_says_who_dials_where_and_since_when() {
    let pair = pair();
    let began = SystemTime::now();
    let (server, _) = pair.start_server().await;
    let status = peer(&server);
    assert_eq!((status.since, status.address, status.round_trip), (None, None, None));
    let (client, _) = pair.start_client().await;
    connected([&server, &client]).await;

    let (of_client, of_server) = (peer(&server), peer(&client));
    assert_eq!((of_client.dialled, of_server.dialled), (false, true));
    assert_eq!(of_client.address.unwrap().to_string(), "127.0.0.1");
    assert_eq!(of_server.address.unwrap().to_string(), "127.0.0.1:6501");
    let since = of_server.since.unwrap();
    assert!(since >= began && since <= SystemTime::now());
    assert_eq!((&of_client.last_error, &of_server.last_error), (&None, &None));
    assert_eq!(peer(&client).since, Some(since), "it does not change while nothing happens");

    server.shutdown().await;
    let error = failed(&client).await;
    assert!(error.cause.contains("the peer closed the connection: shutdown"), "{error:?}");
    assert!(error.at >= since);
    let away = peer(&client);
    assert!(away.since.unwrap() > since);
    assert_eq!((away.address, away.round_trip), (None, None));
    // Then nobody listens.
    eventually(async || failed(&client).await.cause.contains("could not be reached")).await;
    let remedy = failed(&client).await.remedy.unwrap();
    assert!(remedy.contains("check that the server runs"), "{remedy}");
    client.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_ping_measures_the_way_there_and_back() {
    let pair = pair();
    let (server, _) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    connected([&server, &client]).await;
    assert!(server.ping("client").await.unwrap() < SECOND);
    assert!(client.ping("server").await.unwrap() < SECOND);

    let held = pair.network.hold();
    let pinging = tokio::spawn({
        let client = client.clone();
        async move { client.ping("server").await }
    });
    sleep(3 * SECOND).await;
    held.release();
    let round_trip = pinging.await.unwrap().unwrap();
    assert!((3 * SECOND..4 * SECOND).contains(&round_trip), "{round_trip:?}");
    assert_eq!(peer(&client).round_trip, Some(round_trip));
    assert_eq!(peer(&client).counters.sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_cannot_be_answered_says_why() {
    let pair = pair();
    let (server, _) = pair.start_server().await;
    let unknown = server.ping("nobody").await.unwrap_err();
    assert_eq!(unknown, PingError::UnknownPeer("nobody".to_owned()));
    let away = server.ping("client").await.unwrap_err();
    assert!(matches!(away, PingError::NotConnected(_)), "{away}");
    let (client, _) = pair.start_client().await;
    connected([&server, &client]).await;

    pair.network.freeze();
    let (first, second, third) =
        tokio::join!(client.ping("server"), client.ping("server"), client.ping("server"));
    assert!(matches!(third, Err(PingError::TooMany(_))), "{third:?}");
    for silent in [first.unwrap_err(), second.unwrap_err()] {
        let told = matches!(silent, PingError::NoAnswer { .. } | PingError::Ended(_));
        assert!(told, "{silent}");
    }
    let error = failed(&client).await;
    assert!(error.cause.contains("nothing arrived from the peer for too long"), "{error:?}");
    assert!(error.remedy.unwrap().contains("check the network"));
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_nobody_waits_for_any_more_takes_no_place() {
    let pair = pair();
    let (server, _) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    connected([&server, &client]).await;
    let held = pair.network.hold();
    let mut refused = 0;
    for _ in 0..100 {
        let pinged = timeout(SECOND / 100, client.ping("server")).await;
        refused += u32::from(matches!(pinged, Ok(Err(PingError::TooMany(_)))));
    }
    assert_eq!(refused, 98, "no more than two are under way, so that each is answered");
    held.release();
    sleep(SECOND).await;
    let began = Instant::now();
    assert!(client.ping("server").await.unwrap() < SECOND);
    assert!(began.elapsed() < SECOND);
    assert_eq!(peer(&client).counters.sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn the_pings_of_a_silent_connection_measure_too() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, _) = pair.start_server().await;
        let (client, _) = pair.start_client().await;
        connected([&server, &client]).await;
        assert_eq!(peer(&client).round_trip, None);
        sleep(15 * SECOND).await;
        assert!(peer(&client).round_trip.unwrap() < SECOND, "{encoding}");
        if encoding == Encoding::Hex {
            let refused = client.ping("server").await.unwrap_err();
            assert!(matches!(refused, PingError::Hex(_)), "{refused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_answers_in_the_place_of_a_server_is_named_with_what_helps() {
    for (answer, cause, remedy) in [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "answered 404", "path"),
        ("HTTP/1.1 400 Bad Request\r\nserver: nginx\r\n\r\n", "proxy answered 400", "Upgrade"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "answered 200", "something else"),
        ("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n", "429", "too many"),
        ("HTTP/1.1 502 Bad Gateway\r\nserver: nginx\r\n\r\n", "502", "behind it does not"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "did not answer in HTTP", "something else may listen"),
        ("", "timed out while waiting for the answer", "firewalls"),
    ] {
        let pair = pair();
        let mut server = FakeServer::new(&pair.network, "127.0.0.1:6501").await;
        let (client, _) = pair.start_client().await;
        let _stream = server.answer(answer).await;
        let error = failed(&client).await;
        assert!(error.cause.contains(cause), "{answer}: {error:?}");
        assert!(error.cause.contains("(at 127.0.0.1:6501)"), "{error:?}");
        assert!(error.remedy.as_ref().unwrap().contains(remedy), "{answer}: {error:?}");
        client.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_know_that_a_second_process_was_refused() {
    let pair = pair();
    let (server, _) = pair.start_server().await;
    let (first, _) = pair.start_client().await;
    connected([&server, &first]).await;
    let (second, _) = pair.start_client().await;
    let told = failed(&second).await;
    assert!(told.cause.contains("another live process uses this invitation"), "{told:?}");
    assert!(told.remedy.unwrap().contains("stop the other process"));
    let seen = failed(&server).await;
    assert!(seen.cause.contains("from 127.0.0.1 was refused: another live process"), "{seen:?}");
    assert!(seen.remedy.unwrap().contains("give each its own invitation"));
    assert_eq!(peer(&first).last_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_known_is_told_what_to_check() {
    let mut pair = pair();
    let stranger = paddington_test_support::pair();
    pair.client = stranger.client; // with keys that the server does not know
    let (server, _) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    let error = failed(&client).await;
    assert!(error.cause.contains("the server hung up during the handshake"), "{error:?}");
    assert!(error.remedy.unwrap().contains("invitation"));
    assert_eq!(peer(&server).last_error, None, "the server does not know whose they are");
    assert_eq!(server.refusals()[0].cause, "the peer could not be authenticated");
}
