//! What replicas tell each other, and what is known about messages.

use paddington_exchange::store::{
    Backlog, Cursors, Fate, LinkStore, ReplicaId, Settled, SharedStore, Signal,
};
use paddington_wire::link::Outcome;
use paddington_wire::{RejectCode, RejectText};

use crate::support::{accept, at, claim, fill, heard, id, instance, mailbox, place};

#[tokio::test]
async fn an_owner_is_told_what_others_accept() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let mut signals = one.signals();
    let stream = claim(&one, &hub).await.stream;
    let appended = |number| Signal::Appended { link: hub.link, stream, number };
    accept(&other, &hub, "x").await;
    assert_eq!(heard(&mut signals, |_| true).await, appended(1));
    accept(&one, &hub, "y").await;
    assert_eq!(heard(&mut signals, |_| true).await, appended(2));
    fill(&other, &hub, 3..=2_000).await;
    heard(&mut signals, |signal| *signal == appended(2_000)).await;
}

#[tokio::test]
async fn every_signal_arrives_and_a_full_line_of_them() {
    let place = place!();
    let (one, other) = (place.open().await, place.open().await);
    let mut signals = one.signals();
    let (link, life, from) = (mailbox("hub").link, instance(9), other.replica());
    let all = [
        Signal::Settled { link },
        Signal::Yield { link, life: Some(life), from },
        Signal::Yield { link, life: None, from },
        Signal::Yielded { link, free: true },
        Signal::LaneFree { link },
        Signal::Asked { link },
        Signal::Answered { link },
        Signal::GivenUp { link, asker: from, number: 7 },
        Signal::Lost,
    ];
    for signal in all {
        other.tell(one.replica(), signal);
    }
    for signal in all {
        assert_eq!(signals.recv().await, Some(signal));
    }
    one.tell(one.replica(), all[1]);
    assert_eq!(signals.recv().await, Some(all[1]));
    other.tell(ReplicaId(1_000_000), all[1]);
    for at in 0..500 {
        other.tell(one.replica(), Signal::LaneFree { link: mailbox(&format!("peer-{at}")).link });
    }
    let last = Signal::LaneFree { link: mailbox("peer-499").link };
    heard(&mut signals, |signal| *signal == last).await;
}

#[tokio::test]
async fn whoever_accepted_is_told_when_messages_are_settled() {
    let place = place!();
    let (one, other, third) = (place.open().await, place.open().await, place.open().await);
    let hub = mailbox("hub");
    let (mut of_other, mut of_third) = (other.signals(), third.signals());
    let claimed = claim(&one, &hub).await;
    let (stream, fence) = (claimed.stream, claimed.fence);
    fill(&other, &hub, 1..=5).await;
    fill(&third, &hub, 6..=6).await;
    let fate = |number, outcome, text: &str| Fate {
        id: at(stream, number),
        outcome,
        text: RejectText::cut(text),
    };
    let fates = vec![
        fate(1, Outcome::Rejected(RejectCode(77)), "no such order"),
        fate(2, Outcome::Expired, ""),
        fate(3, Outcome::TooLong, ""),
    ];
    drop(one.settle(&hub, fates, fence));
    one.trim(&hub, at(stream, 4), fence).await.unwrap();
    heard(&mut of_other, |signal| *signal == Signal::Settled { link: hub.link }).await;
    let ids = (1..=6).map(|number| at(stream, number)).chain([id(9, 1)]).collect();
    let rejected =
        Settled::Unhandled(Outcome::Rejected(RejectCode(77)), RejectText::cut("no such order"));
    let unhandled = |outcome| Settled::Unhandled(outcome, RejectText::NONE);
    assert_eq!(
        other.fates(&hub, ids).await.unwrap(),
        [
            rejected,
            unhandled(Outcome::Expired),
            unhandled(Outcome::TooLong),
            Settled::Handled,
            Settled::Waiting,
            Settled::Waiting,
            Settled::Handled,
        ]
    );
    let counts = "SELECT accepted, acknowledged, rejected, expired, abandoned, waiting FROM link";
    assert_eq!(place.sql(counts), "6|1|1|1|1|2");
    assert!(of_third.try_recv().is_err(), "nothing of its own is removed");
    one.trim(&hub, at(stream, 6), fence).await.unwrap();
    heard(&mut of_third, |signal| *signal == Signal::Settled { link: hub.link }).await;
}

#[tokio::test]
async fn the_last_fates_of_a_mailbox_are_kept() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let fence = claim(&store, &hub).await.fence;
    for hundred in 0..45 {
        let fate =
            |number| Fate { id: id(1, number), outcome: Outcome::Expired, text: RejectText::NONE };
        let fates = (1..=100).map(|number| fate(hundred * 100 + number)).collect();
        drop(store.settle(&hub, fates, fence));
        store.sync(&hub).await.unwrap();
    }
    assert_eq!(place.sql("SELECT count(*), min(seq) FROM fate"), "4096|405");
    let fates = store.fates(&hub, vec![id(1, 404), id(1, 405)]).await.unwrap();
    assert_eq!(fates, [Settled::Handled, Settled::Unhandled(Outcome::Expired, RejectText::NONE)]);
    store.close().await.unwrap();
}
