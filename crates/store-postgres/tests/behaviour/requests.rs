//! Requests that one replica makes and another one answers.

use std::time::Duration;

use paddington_exchange::store::{
    Ending, LaneLeft, LinkStore, Mailbox, Relay, RelayId, Relayed, SharedStore, Signal, TakeOf,
};
use paddington_store_postgres::PostgresStore;
use paddington_test_support::eventually;
use paddington_wire::FailureCode;

use crate::support::{claim, claim_later, heard, mailbox, payload, place};

const LONG: Duration = Duration::from_secs(60);

fn request(number: u64, left: Option<Duration>) -> Relayed {
    Relayed { payload: payload(number, number.to_string()), depth: 3, left }
}

async fn ask(store: &PostgresStore, to: &Mailbox, number: u64) {
    store.ask(to, number, request(number, Some(LONG))).await.unwrap();
}

async fn take(store: &PostgresStore, of: &Mailbox) -> Vec<(RelayId, Relayed)> {
    store.take(TakeOf::Links(vec![of.link])).await.unwrap()
}

#[tokio::test]
async fn the_owner_of_a_link_takes_requests_once_and_the_asker_reads_how_they_ended() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let (mut told, mut asker) = (one.signals(), other.signals());
    claim(&one, &hub).await;
    other.ask(&hub, 1, request(1, None)).await.unwrap();
    let asked = Signal::Asked { link: hub.link };
    heard(&mut told, |signal| *signal == asked).await;
    ask(&other, &hub, 2).await;
    assert_eq!(take(&other, &hub).await, [], "it does not own the link");
    let mut taken = take(&one, &hub).await;
    taken.sort_by_key(|(id, _)| id.number);
    assert_eq!(take(&one, &hub).await, []);
    let (id, first) = taken.remove(0);
    assert_eq!((id.link, id.asker, id.number), (hub.link, other.replica(), 1));
    assert_eq!(first, request(1, None));
    let (second, relayed) = taken.remove(0);
    let left = relayed.left.unwrap();
    assert!(left <= LONG && left > LONG / 2, "{left:?}");
    assert_eq!(relayed, request(2, relayed.left));

    assert_eq!(other.endings(vec![hub.link]).await.unwrap(), []);
    let reply = Ending::Reply(payload(2, vec![0xff; 100_000]));
    let words = Ending::Failed { code: FailureCode(999), text: Some("it is broken".to_owned()) };
    one.end(id, reply.clone()).await.unwrap();
    let answered = Signal::Answered { link: hub.link };
    heard(&mut asker, |signal| *signal == answered).await;
    one.end(id, Ending::TimedOut).await.unwrap();
    other.end(second, Ending::TimedOut).await.unwrap();
    one.end(second, words.clone()).await.unwrap();
    let mut endings = other.endings(vec![hub.link]).await.unwrap();
    endings.sort_by_key(|(number, _)| *number);
    assert_eq!(endings, [(1, reply), (2, words)], "what was said first counts");
    assert_eq!(one.endings(vec![hub.link]).await.unwrap(), []);
    for number in [1, 2] {
        other.withdraw(hub.link, number).await.unwrap();
    }
    assert_eq!(place.sql("SELECT count(*) FROM request"), "0");
}

#[tokio::test]
async fn every_ending_is_read_as_it_was_written() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    claim(&store, &hub).await;
    let all = [
        Ending::Reply(payload(1, "")),
        Ending::Failed { code: FailureCode::NO_ANSWER, text: None },
        Ending::TimedOut,
        Ending::Full { requests: 1_024 },
        Ending::TooLong { max: u32::MAX },
        Ending::NotAnswering,
        Ending::PeerChanged,
        Ending::Removed,
        Ending::Moved,
        Ending::Lost,
    ];
    for number in 0..all.len() as u64 {
        ask(&store, &hub, number).await;
    }
    let taken = take(&store, &hub).await;
    assert_eq!(taken.len(), all.len());
    let written = taken.iter().map(|(id, _)| {
        let ending = all[usize::try_from(id.number).unwrap()].clone();
        store.end(*id, ending)
    });
    for written in written.collect::<Vec<_>>() {
        written.await.unwrap();
    }
    let mut endings = store.endings(vec![hub.link]).await.unwrap();
    endings.sort_by_key(|(number, _)| *number);
    assert_eq!(endings.into_iter().map(|(_, ending)| ending).collect::<Vec<_>>(), all);
    place.sql("UPDATE request SET ending = 99 WHERE number = 0");
    let looked = store.look_after(vec![(hub.link, 0)]).await.unwrap();
    assert_eq!(looked, [(0, Ending::Moved)], "a later version may say more");
}

#[tokio::test]
async fn what_was_given_back_is_for_the_next_owner() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let first = claim(&one, &hub).await;
    ask(&other, &hub, 1).await;
    let (id, _) = take(&one, &hub).await.remove(0);
    one.release(vec![(hub.clone(), first.fence, LaneLeft::Free)]).await.unwrap();
    claim(&other, &hub).await;
    assert_eq!(other.take(TakeOf::All(0)).await.unwrap(), []);
    let mut told = other.signals();
    one.give_back(id).await.unwrap();
    let asked = Signal::Asked { link: hub.link };
    heard(&mut told, |signal| *signal == asked).await;
    let (again, relayed) = other.take(TakeOf::All(0)).await.unwrap().remove(0);
    assert_eq!((again.number, again.turn, relayed.depth), (1, id.turn + 1, 3));
    // A late repeat of the one who has given it back changes nothing.
    one.give_back(id).await.unwrap();
    other.give_back(RelayId { turn: id.turn, ..again }).await.unwrap();
    assert_eq!(other.take(TakeOf::All(0)).await.unwrap(), []);
    assert_eq!(other.over(0, vec![again, id]).await.unwrap(), [id]);
}

#[tokio::test]
async fn requests_wait_for_an_owner_until_their_time_is_over() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let brief = Duration::from_millis(300);
    other.ask(&hub, 1, request(1, Some(brief))).await.unwrap();
    other.ask(&hub, 2, request(2, Some(Duration::MAX))).await.unwrap();
    assert_eq!(other.look_after(vec![(hub.link, 1), (hub.link, 2)]).await.unwrap(), []);
    let mut told = one.signals();
    claim(&one, &hub).await;
    other.look_after(vec![(hub.link, 2)]).await.unwrap();
    let asked = Signal::Asked { link: hub.link };
    heard(&mut told, |signal| *signal == asked).await; // again, for one that may be lost
    tokio::time::sleep(brief).await;
    let taken: Vec<_> = take(&one, &hub).await.iter().map(|(id, _)| id.number).collect();
    assert_eq!(taken, [2]);
    place.sql("UPDATE request SET deadline = deadline - 60000 WHERE number = 1");
    one.over(0, Vec::new()).await.unwrap();
    assert_eq!(place.sql("SELECT number FROM request"), "2");
}

#[tokio::test]
async fn a_cancel_is_told_to_whoever_makes_the_request() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let mut told = one.signals();
    claim(&one, &hub).await;
    for number in 1..=3 {
        ask(&other, &hub, number).await;
    }
    let mut taken = take(&one, &hub).await;
    taken.sort_by_key(|(id, _)| id.number);
    one.end(taken[0].0, Ending::TimedOut).await.unwrap();
    other.withdraw(hub.link, 1).await.unwrap(); // it has ended: nobody is told
    other.withdraw(hub.link, 2).await.unwrap();
    let asker = other.replica();
    let given_up = heard(&mut told, |signal| matches!(signal, Signal::GivenUp { .. })).await;
    assert_eq!(given_up, Signal::GivenUp { link: hub.link, asker, number: 2 });
    let ids: Vec<_> = taken.iter().map(|(id, _)| *id).collect();
    assert_eq!(one.over(0, ids.clone()).await.unwrap(), ids[..2], "a signal may be lost");
    // A cancel that is asked for right after the request is not lost.
    let (asked, cancelled) = (other.ask(&hub, 4, request(4, None)), other.withdraw(hub.link, 4));
    asked.await.unwrap();
    cancelled.await.unwrap();
    assert_eq!(take(&one, &hub).await, []);
}

#[tokio::test]
async fn requests_at_dead_replicas_and_of_them_end() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    claim(&one, &hub).await;
    ask(&one, &hub, 1).await;
    ask(&other, &hub, 1).await;
    ask(&other, &hub, 2).await;
    assert_eq!(take(&one, &hub).await.len(), 3);
    let awaited = vec![(hub.link, 1), (hub.link, 2), (hub.link, 3)];
    let known = other.look_after(awaited.clone()).await.unwrap();
    assert_eq!(known, [(3, Ending::Lost)], "it was never there");
    one.close().await.unwrap();
    claim_later(&other, &hub).await;
    let mut known = other.look_after(awaited).await.unwrap();
    known.sort_by_key(|(number, _)| *number);
    assert_eq!(known, [(1, Ending::Moved), (2, Ending::Moved), (3, Ending::Lost)]);
    assert_eq!(take(&other, &hub).await, [], "nothing is asked twice");
    other.over(0, Vec::new()).await.unwrap();
    assert_eq!(
        place.sql(&format!("SELECT count(*) FROM request WHERE asker = {}", other.replica())),
        "2"
    );
    assert_eq!(place.sql("SELECT count(*) FROM request"), "2");
}

#[tokio::test]
async fn many_requests_of_several_replicas_get_their_answers_and_none_twice() {
    const EACH: u64 = 500;
    let place = place!();
    let links: Vec<_> = (0..3).map(|number| mailbox(&format!("peer-{number}"))).collect();
    let owner = place.open().await;
    for link in &links {
        claim(&owner, link).await;
    }
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let (store, links) = (place.open().await, links.clone());
        tasks.push(tokio::spawn(async move {
            let asked = (0..EACH).map(|number| {
                store.ask(&links[number as usize % 3], number, request(number, None))
            });
            for asked in asked.collect::<Vec<_>>() {
                asked.await.unwrap();
            }
            let all: Vec<_> = links.iter().map(|mailbox| mailbox.link).collect();
            let mut answers = std::collections::BTreeMap::new();
            while (answers.len() as u64) < EACH {
                for (number, ending) in store.endings(all.clone()).await.unwrap() {
                    let Ending::Reply(reply) = &ending else { panic!("{ending:?}") };
                    assert_eq!(**reply, *number.to_string().as_bytes());
                    let link = links[number as usize % 3].link;
                    store.withdraw(link, number).await.unwrap();
                    assert!(answers.insert(number, ending).is_none());
                }
            }
        }));
    }
    let (mut taken, mut turns) = (0, std::collections::BTreeSet::new());
    while taken < 3 * EACH {
        let requests = owner.take(TakeOf::All(0)).await.unwrap();
        taken += requests.len() as u64;
        let ended = requests.into_iter().map(|(id, request)| {
            assert!(turns.insert((id.asker, id.number)), "it was taken twice");
            owner.end(id, Ending::Reply(request.payload))
        });
        for ended in ended.collect::<Vec<_>>() {
            ended.await.unwrap();
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(place.sql("SELECT count(*) FROM request"), "0");
}

#[tokio::test]
async fn a_crash_of_the_server_ends_all_requests_and_the_next_ones_are_answered() {
    let Some(server) = paddington_test_support::PostgresServer::start() else { return };
    let config = crate::support::config(&server.url(), "paddington");
    let (store, hub) = (PostgresStore::open(&config).await.unwrap(), mailbox("hub"));
    claim(&store, &hub).await;
    ask(&store, &hub, 1).await;
    let (id, _) = take(&store, &hub).await.remove(0);
    server.crash();
    store.ask(&hub, 2, request(2, None)).await.unwrap_err();
    server.resume();
    eventually(|| async { store.look_after(vec![(hub.link, 1)]).await.is_ok() }).await;
    let known = store.look_after(vec![(hub.link, 1)]).await.unwrap();
    assert_eq!(known, [(1, Ending::Lost)]);
    assert_eq!(store.over(0, vec![id]).await.unwrap(), [id]);
    ask(&store, &hub, 3).await;
    assert_eq!(take(&store, &hub).await.len(), 1);
}
