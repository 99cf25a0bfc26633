//! The generations of a link's keys and their renewal, sentence by sentence (`docs/protocol.md` §3.6
//! and §5.5).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use paddington_wire::keys::{
    Expiry, KeyRing, KeyRingError, LAST_GENERATION, Origin, Renewal, Role, Storing, Why,
};
use paddington_wire::sealed::Credentials;
use paddington_wire::{Features, Frame};

mod key_sides;

use key_sides::{
    DAY, NOW, Side, begin, burned, exporters, first_session, interrupted, keys, names, numbers,
    renewed, session,
};

#[test]
fn an_invitation_burns_at_first_use() {
    let ([mut client, mut server], invitation) = first_session();
    assert_eq!(server.go(NOW), Some(Frame::Renew(1)));
    assert_eq!(numbers(&server.ring), [0, 1], "both are valid until the client has stored them");
    client.take(Some(Frame::Renew(1)));
    assert_eq!(client.go(NOW), Some(Frame::Renewed(1)));
    assert_eq!(numbers(&client.ring), [1]);
    server.take(Some(Frame::Renewed(1)));
    assert_eq!(server.go(NOW + 10), None);
    assert_eq!(numbers(&server.ring), [1]);
    assert_eq!(burned(&server.ring), [(0, Why::Burned)]);
    let hints = Credentials::new(&names()[0], &names()[1], &invitation).hint_key();
    assert_eq!(*server.ring.burned()[0].hints(), hints);
    let [ours, theirs] = [&client, &server].map(|it| it.ring.generation(1).unwrap());
    assert_eq!(ours.keys(), theirs.keys());
    assert_ne!(**ours.keys(), *invitation);
    assert_eq!((theirs.origin(), theirs.expiry()), (Origin::Agreed, Expiry::Never));
}

#[test]
fn nothing_is_renewed_in_a_session_whose_keys_are_gone() {
    let ([mut client, mut server], _) = first_session();
    client.take(server.go(NOW));
    server.take(client.go(NOW));
    server.go(NOW + 10);
    for now in [NOW + 20, NOW + 100 * DAY] {
        server.renewal.ask();
        assert!(server.poll(now).is_none());
        client.renewal.ask();
        server.take(client.go(now));
        assert!(server.poll(now).is_none(), "a client that asks is answered by nothing");
    }
}

#[test]
fn keys_are_renewed_when_they_are_old_or_somebody_asks() {
    let [client, server] = renewed();
    let [mut client, mut server] = session(&client, &server, 1, NOW + 20);
    let old = server.ring.generation(1).unwrap().since() + 30 * DAY;
    assert!(server.poll(old - 1).is_none());
    assert_eq!(server.renewal.wake_at(&server.ring, NOW + 20), Some(old));
    assert_eq!(server.go(old), Some(Frame::Renew(2)));
    assert_eq!(numbers(&server.ring), [1, 2]);
    client.take(Some(Frame::Renew(2)));
    server.take(client.go(old));
    assert_eq!(numbers(&client.ring), [1, 2], "a client keeps keys that were agreed on until then");
    assert_eq!(server.go(old + 10), None);
    assert_eq!(numbers(&server.ring), [1, 2], "and so does the server");
    for now in [old + 20, old + 40 * DAY] {
        server.renewal.ask();
        assert!(server.poll(now).is_none(), "none while those wait to be used");
    }
    assert!(server.renewal.wake_at(&server.ring, old).is_none());
    assert_eq!(
        client.ring.generation(2).unwrap().keys(),
        server.ring.generation(2).unwrap().keys()
    );
}

#[test]
fn keys_that_the_client_may_have_are_replaced_only_if_it_says_that_it_has_none() {
    let [client, server] = interrupted(false);
    let [mut client, mut server] = session(&client, &server, 1, NOW + 40);
    server.renewal.ask();
    let question = server.go(NOW + 50);
    assert_eq!(question, Some(Frame::Renew(1)), "with the number of the session's keys");
    client.take(question);
    let answer = client.go(NOW + 50);
    assert_eq!(answer, Some(Frame::Renewed(1)), "it has nothing newer");
    server.take(answer);
    assert_eq!(server.go(NOW + 50), Some(Frame::Renew(3)));
    assert_eq!(numbers(&server.ring), [1, 3]);
    client.take(Some(Frame::Renew(3)));
    server.take(client.go(NOW + 50));
    assert!(server.poll(NOW + 70).is_none());
    let [ours, theirs] = [&client, &server].map(|it| it.ring.generation(3).unwrap());
    assert_eq!(ours.keys(), theirs.keys(), "a question is no renewal");

    // In this session, a client with newer keys has fallen back from them.
    let [client, server] = interrupted(true);
    let [mut client, mut server] = session(&client, &server, 1, NOW + 40);
    server.renewal.ask();
    client.take(server.go(NOW + 50));
    let draft = client.draft(NOW + 50);
    assert!(!draft.is_agreed());
    assert_eq!(numbers(&client.ring), [1, 2]);
    let settled = client.renewal.settle(draft, Storing::Failed, NOW + 50);
    assert!(settled.ring.is_none() && settled.frame.is_none(), "as long as it may use them");
    assert!(client.poll(NOW + 59).is_none());
    let answer = client.go(NOW + 60);
    assert_eq!((answer, numbers(&client.ring)), (Some(Frame::Renewed(1)), vec![1]));
    server.take(Some(Frame::Renewed(1)));
    assert_eq!(server.go(NOW + 60), Some(Frame::Renew(3)));
}

#[test]
fn a_server_that_was_put_back_does_not_take_other_keys_with_a_number_for_its_own() {
    let [client, copy] = renewed();
    let [mut client, mut server] = session(&client, &copy, 1, NOW + 20);
    server.renewal.ask();
    client.take(server.go(NOW + 30));
    assert_eq!(client.go(NOW + 30), Some(Frame::Renewed(2)));
    let [_, mut server] = session(&client.ring, &copy, 1, NOW + 50);
    server.renewal.ask();
    assert_eq!(server.go(NOW + 60), Some(Frame::Renew(2)), "which is lost");
    let key = |side: &Side, number| Arc::clone(side.ring.generation(number).unwrap().keys());
    assert_ne!(key(&client, 2), key(&server, 2));

    [client, server] = session(&client.ring, &server.ring, 1, NOW + 80);
    server.renewal.ask();
    for expected in [1, 3] {
        let renew = server.go(NOW + 90 + expected);
        assert_eq!(renew, Some(Frame::Renew(expected)));
        client.take(renew);
        let renewed = client.go(NOW + 90 + expected);
        assert_eq!(renewed, Some(Frame::Renewed(expected)));
        server.take(renewed);
    }
    assert_eq!(key(&client, 3), key(&server, 3));
    assert_eq!(numbers(&client.ring), [1, 3]);
}

#[test]
fn a_thief_who_takes_the_place_of_a_client_at_first_contact_causes_an_alarm() {
    let ([mut client, mut server], invitation) = first_session();
    client.take(server.go(NOW));
    client.go(NOW); // its RENEWED is lost
    let [mut thief, mut server] = session(&begin(&invitation, None), &server.ring, 0, NOW + 20);
    thief.take(server.go(NOW + 30));
    server.take(thief.go(NOW + 30));
    thief.take(server.go(NOW + 30));
    server.take(thief.go(NOW + 30));
    server.go(NOW + 40);
    assert_eq!(numbers(&server.ring), [2]);
    let hints = client.ring.generation(1).unwrap().credentials().hint_key();
    assert!(server.ring.burned().iter().any(|it| *it.hints() == hints), "the client is recognised");
}

#[test]
fn what_has_been_used_makes_older_keys_worthless() {
    let [client, server] = renewed();
    let [mut client, mut server] = session(&client, &server, 1, NOW + 20);
    server.renewal.ask();
    client.take(server.go(NOW + 30));
    client.go(NOW + 30);
    for ring in [&client.ring, &server.ring] {
        let used = ring.used(2, NOW + 40).unwrap();
        assert_eq!(numbers(&used), [2]);
        assert_eq!(burned(&used).last(), Some(&(1, Why::Burned)));
        assert_eq!(used.burned().last().unwrap().since(), NOW + 40);
        assert!(used.used(2, NOW + 50).is_none() && used.used(1, NOW + 50).is_none());
    }
    let copy = client.ring.clone(); // of generations 1 and 2
    let server = server.ring.used(2, NOW + 40).unwrap();
    assert!(server.generation(2).is_some(), "a copy that is one list older works");
    let [_, mut later] = session(&copy, &server, 2, NOW + 50);
    later.renewal.ask();
    later.go(NOW + 60);
    let third = later.ring.used(3, NOW + 70).unwrap();
    for old in copy.generations() {
        assert!(third.generation(old.number()).is_none(), "one that is two older is refused");
        assert!(third.burned().iter().any(|it| *it.hints() == old.credentials().hint_key()));
    }
}

#[test]
fn a_new_invitation_has_an_overlap() {
    let [client, server] = renewed();
    let (new, later) = (keys(), NOW + 100);
    let server = server.invite(Arc::clone(&new), Some(later + 7 * DAY), later).unwrap();
    assert_eq!(numbers(&server), [1, 2]);
    let expiry = |ring: &KeyRing, number| ring.generation(number).unwrap().expiry();
    assert_eq!(expiry(&server, 1), Expiry::At(later + DAY));
    assert_eq!(expiry(&server, 2), Expiry::UnlessUsed(later + 7 * DAY));
    assert_eq!(
        expiry(&server.used(1, later).unwrap_or(server.clone()), 1),
        Expiry::At(later + DAY)
    );
    assert!(!server.may_renew(1, later), "nothing is renewed while an invitation waits");

    let client = client.accept(Arc::clone(&new), 2, later).unwrap();
    assert_eq!(numbers(&client), [1, 2]);
    assert!(client.accept(new, 2, later).is_none(), "it is the same");
    let used = server.used(2, later + 1).unwrap();
    assert_eq!((numbers(&used), expiry(&used, 2)), (vec![2], Expiry::Never));
    let unused = server.expire(later + DAY).unwrap();
    assert_eq!((numbers(&unused), burned(&unused).last()), (vec![2], Some(&(1, Why::Expired))));
    let none = unused.expire(later + 7 * DAY).unwrap();
    assert_eq!(none.generations().len(), 0);
    assert_eq!(none.next_number(), 3);
    assert!(none.used(2, later + 8 * DAY).is_none());
}

#[test]
fn an_invitation_expires_unless_it_is_used() {
    let server = begin(&keys(), Some(NOW + 7 * DAY));
    assert!(server.expire(NOW + 7 * DAY - 1).is_none());
    assert_eq!(burned(&server.expire(NOW + 7 * DAY).unwrap()), [(0, Why::Expired)]);
    assert!(server.used(0, NOW).unwrap().expire(NOW + 70 * DAY).is_none());
    assert!(begin(&keys(), None).expire(u64::MAX).is_none());
}

#[test]
fn an_unused_invitation_is_replaced_by_a_newer_one_only() {
    let mut server = begin(&keys(), None);
    for number in 1..=4 {
        server = server.invite(keys(), None, NOW).unwrap();
        assert!(server.generation(number).is_some() && server.generations().len() <= 3);
    }
    assert_eq!(numbers(&server), [2, 3, 4]);

    // The server writes an invitation while its RENEW is on the way, which arrives after it.
    let [client, server] = renewed();
    let [mut client, mut server] = session(&client, &server, 1, NOW + 20);
    server.renewal.ask();
    let renew = server.go(NOW + 30);
    let invitation = keys();
    server.ring = server.ring.invite(Arc::clone(&invitation), None, NOW + 31).unwrap();
    client.ring = client.ring.accept(invitation, 3, NOW + 32).unwrap();
    client.take(renew);
    server.take(client.go(NOW + 33));
    assert_eq!(numbers(&client.ring), [1, 2, 3]);
    assert_eq!(numbers(&server.ring), [1, 2, 3]);
}

#[test]
fn an_invitation_of_a_server_that_was_set_back_is_taken() {
    let [client, _] = renewed();
    let (way_out, late) = (keys(), NOW + 100);
    let taken = client.accept(Arc::clone(&way_out), 1, late).unwrap();
    assert_eq!(taken.generations().len(), 1, "it names other keys by this number");
    assert_eq!(*taken.generations()[0].keys(), way_out);
    let lower = client.accept(keys(), 0, late).unwrap();
    assert_eq!(numbers(&lower), [1, 0], "the newest is the last one");
}

#[test]
fn an_old_invitation_is_not_taken_again() {
    let ([mut client, mut server], invitation) = first_session();
    client.take(server.go(NOW));
    client.go(NOW);
    let mut ring = client.ring.used(1, NOW).unwrap();
    for number in 2..6 {
        assert!(ring.accept(Arc::clone(&invitation), 0, NOW).is_none());
        let [mut client, mut server] = session(&ring, &ring, number - 1, NOW);
        server.renewal.ask();
        client.take(server.go(NOW));
        client.go(NOW);
        ring = client.ring.used(number, NOW).unwrap();
    }
}

#[test]
fn nothing_is_said_that_is_not_stored() {
    let ([mut client, mut server], _) = first_session();
    let before = server.ring.to_stored();
    for now in [NOW, NOW + 10] {
        let draft = server.draft(now);
        assert!(server.renewal.is_storing() && server.poll(now).is_none(), "one at a time");
        let settled = server.renewal.settle(draft, Storing::Failed, now);
        assert!(settled.ring.is_none() && settled.frame.is_none());
        assert_eq!(server.renewal.wake_at(&server.ring, now), Some(now + 10));
        assert!(server.poll(now + 9).is_none(), "it is tried again after a while");
    }
    assert_eq!(server.ring.to_stored(), before);
    assert_eq!(server.go(NOW + 20), Some(Frame::Renew(1)));
    client.take(Some(Frame::Renew(1)));
    let draft = client.draft(NOW);
    let settled = client.renewal.settle(draft, Storing::Failed, NOW);
    assert!(settled.ring.is_none() && settled.frame.is_none());
    assert_eq!(client.go(NOW + 10), Some(Frame::Renewed(1)));
    server.take(Some(Frame::Renewed(1)));
    let draft = server.draft(NOW + 30);
    let _ = server.renewal.settle(draft, Storing::Failed, NOW + 30);
    assert_eq!(numbers(&server.ring), [0, 1], "the invitation is valid until that is durable");
    server.go(NOW + 40);
    assert_eq!(numbers(&server.ring), [1]);
    let [ours, theirs] = [&client, &server].map(|it| it.ring.generation(1).unwrap());
    assert_eq!(ours.keys(), theirs.keys(), "a failure does not change the keys");
}

#[test]
fn a_client_stores_new_keys_once_a_second_and_asks_every_ten() {
    let [client, server] = renewed();
    let [mut client, mut server] = session(&client, &server, 1, NOW + 20);
    client.renewal.ask();
    assert_eq!(client.go(NOW + 30), Some(Frame::Renew(0)));
    client.renewal.ask();
    assert!(client.poll(NOW + 39).is_none());
    assert_eq!(client.go(NOW + 5), Some(Frame::Renew(0)), "its clock was set back");
    server.take(Some(Frame::Renew(0)));
    client.take(server.go(NOW + 30));
    assert_eq!(client.go(NOW + 30), Some(Frame::Renewed(2)));
    // A server that renews again at once is not ours.
    client.take(Some(Frame::Renew(3)));
    assert!(client.poll(NOW + 30).is_none(), "in the second in which it has stored some");
    assert_eq!(client.go(NOW + 31), Some(Frame::Renewed(3)));
    assert_eq!(numbers(&client.ring), [1, 3]);
}

#[test]
fn a_server_does_not_store_more_often_than_every_ten_seconds_because_a_client_asks() {
    let [client, server] = renewed();
    let [_, mut server] = session(&client, &server, 1, NOW + 20);
    server.take(Some(Frame::Renew(0)));
    let draft = server.draft(NOW + 30);
    let _ = server.renewal.settle(draft, Storing::Failed, NOW + 30);
    server.take(Some(Frame::Renew(0)));
    assert!(server.poll(NOW + 39).is_none());
    let _ = server.draft(NOW + 40);
}

#[test]
fn a_client_that_comes_again_and_again_causes_no_more_renewals_than_one_that_stays() {
    let [client, server] = renewed();
    let [mut client, mut server] = session(&client, &server, 1, NOW + 20);
    client.renewal.ask();
    server.take(client.go(NOW + 30));
    let _ = server.poll(NOW + 30).unwrap(); // its session ends while this is being stored
    let pace = server.renewal.pace();
    for now in NOW + 31..NOW + 40 {
        [client, server] = session(&client.ring, &server.ring, 1, now);
        server.renewal.keep_pace(&server.ring, pace);
        client.renewal.ask();
        server.take(client.go(now));
        assert!(server.poll(now).is_none());
        assert_eq!(server.renewal.wake_at(&server.ring, now), Some(NOW + 40));
    }
    let renew = server.go(NOW + 40);
    assert_eq!(renew, Some(Frame::Renew(2)));

    // The client says that it has not got these, and causes no others before it is time.
    let pace = server.renewal.pace();
    let [mut client, mut server] = session(&client.ring, &server.ring, 1, NOW + 45);
    server.renewal.keep_pace(&server.ring, pace);
    server.renewal.ask();
    assert!(server.poll(NOW + 45).is_none());
    client.take(server.go(NOW + 50));
    server.take(client.go(NOW + 50));
    assert_eq!(server.go(NOW + 50), Some(Frame::Renew(3)));
    let pace = server.renewal.pace();
    let [_, mut server] = session(&client.ring, &server.ring, 1, NOW + 55);
    server.renewal.keep_pace(&server.ring, pace);
    server.renewal.ask();
    assert_eq!(server.renewal.wake_at(&server.ring, NOW + 55), Some(NOW + 60));
}

#[test]
fn the_first_renewal_of_an_invitation_waits_for_nothing_and_the_next_one_does() {
    let [client, server] = renewed();
    let [_, mut server] = session(&client, &server, 1, NOW + 20);
    server.renewal.ask();
    assert_eq!(server.go(NOW + 30), Some(Frame::Renew(2)));
    let (pace, invitation) = (server.renewal.pace(), keys());
    let ring = server.ring.invite(Arc::clone(&invitation), None, NOW + 31).unwrap();
    let client = client.accept(invitation, 3, NOW + 31).unwrap();
    let [_, mut server] = session(&client, &ring, 3, NOW + 32);
    server.renewal.keep_pace(&server.ring, pace);
    assert_eq!(server.go(NOW + 32), Some(Frame::Renew(4)));
    let pace = server.renewal.pace();
    let [mut thief, mut server] = session(&client, &server.ring, 3, NOW + 33);
    server.renewal.keep_pace(&server.ring, pace);
    assert!(server.poll(NOW + 41).is_none());
    thief.take(server.go(NOW + 42));
    server.take(thief.go(NOW + 42));
    assert_eq!(server.go(NOW + 42), Some(Frame::Renew(5)));
}

#[test]
fn a_client_keeps_its_pace_across_sessions_whatever_the_server_does() {
    let [client, server] = renewed();
    let [mut client, _] = session(&client, &server, 1, NOW + 20);
    client.take(Some(Frame::Renew(2)));
    assert_eq!(client.go(NOW + 30), Some(Frame::Renewed(2)));
    let pace = client.renewal.pace();
    let [mut client, _] = session(&client.ring, &server, 1, NOW + 30);
    client.renewal.keep_pace(&client.ring, pace);
    client.take(Some(Frame::Renew(3)));
    assert!(client.poll(NOW + 30).is_none(), "in the second in which it has stored some");
    assert_eq!(client.go(NOW + 31), Some(Frame::Renewed(3)));
}

#[test]
fn a_side_that_ends_begins_nothing() {
    let ([mut client, mut server], _) = first_session();
    server.renewal.drain();
    client.renewal.drain();
    server.renewal.ask();
    client.renewal.ask();
    assert!(server.poll(NOW).is_none() && client.poll(NOW).is_none());
    server.take(Some(Frame::Renew(0)));
    assert!(server.poll(NOW).is_none());
}

#[test]
fn without_the_bit_of_both_there_are_no_renewals() {
    for features in [[Features::RENEW, Features::NONE], [Features::BATCH, Features::RENEW]] {
        for role in [Role::Client, Role::Server] {
            let ring = begin(&keys(), None).used(0, NOW).unwrap();
            let [exporter, _] = exporters(ring.generations()[0].credentials());
            let renewal = Renewal::new(role, 0, exporter, features, 0);
            let mut side = Side { ring, renewal };
            side.renewal.ask();
            assert!(side.poll(NOW).is_none() && !side.renewal.is_offered());
            assert!(side.renewal.wake_at(&side.ring, NOW).is_none());
            for frame in [Frame::Renew(0), Frame::Renew(1), Frame::Renewed(1)] {
                side.bad(&frame);
            }
            side.take(Some(Frame::Drain));
        }
    }
}

#[test]
fn everything_that_a_peer_can_send_wrong_is_a_violation() {
    let [client, server] = renewed();
    let [mut client, mut server] = session(&client, &server, 1, NOW + 20);
    for frame in [Frame::Renew(0), Frame::Renewed(0), Frame::Renewed(1)] {
        client.bad(&frame);
    }
    for frame in [Frame::Renew(1), Frame::Renew(u64::MAX), Frame::Renewed(0), Frame::Renewed(2)] {
        server.bad(&frame);
    }
    server.renewal.ask();
    let draft = server.draft(NOW + 30);
    server.bad(&Frame::Renewed(2)); // which is not said yet
    let settled = server.renewal.settle(draft, Storing::Done, NOW + 30);
    server.ring = settled.ring.unwrap();
    server.bad(&Frame::Renewed(3));
    client.take(settled.frame);
    client.bad(&Frame::Renew(2));
    client.bad(&Frame::Renew(3));
    server.take(client.go(NOW + 30));
    server.bad(&Frame::Renewed(2)); // a second time
    client.take(Some(Frame::Renew(1)));
    client.bad(&Frame::Renew(1)); // before it has answered

    let [client, server] = interrupted(true);
    let [_, mut server] = session(&client, &server, 1, NOW + 40);
    server.renewal.ask();
    assert_eq!(server.go(NOW + 50), Some(Frame::Renew(1)));
    server.bad(&Frame::Renewed(0)); // older than the session
    server.bad(&Frame::Renewed(2)); // the keys that wait: whoever has them does not answer here
}

#[test]
fn no_generation_has_a_number_that_a_file_cannot_hold() {
    let [client, server] = renewed();
    let [mut client, _] = session(&client, &server, 1, NOW + 20);
    for number in [LAST_GENERATION + 1, u64::MAX] {
        client.bad(&Frame::Renew(number));
        assert!(client.poll(NOW + 30).is_none());
        assert!(client.ring.accept(keys(), number, NOW).is_none());
        let refused = client.ring.invite_as(number, keys(), None, NOW).unwrap_err();
        assert_eq!(refused, KeyRingError::HighNumber);
    }
    client.take(Some(Frame::Renew(LAST_GENERATION)));
    assert_eq!(client.go(NOW + 30), Some(Frame::Renewed(LAST_GENERATION)));
    let [hub, sensor] = names();
    let mut stored = client.ring.to_stored();
    let mut last = KeyRing::from_stored(&hub, &sensor, stored.clone()).unwrap();
    stored.generations[1].number += 1;
    let refused = KeyRing::from_stored(&hub, &sensor, stored).unwrap_err();
    assert_eq!(refused, KeyRingError::HighNumber);

    // A client that says it has none, with a number that is none.
    let [_, waiting] = interrupted(false);
    let [_, mut asking] = session(&waiting, &waiting, 1, NOW + 40);
    asking.renewal.ask();
    assert_eq!(asking.go(NOW + 50), Some(Frame::Renew(1)));
    asking.bad(&Frame::Renewed(LAST_GENERATION + 1));
    asking.bad(&Frame::Renewed(LAST_GENERATION)); // which is not what it was asked for

    // After the last one, nothing follows.
    last = last.used(LAST_GENERATION, NOW).unwrap();
    assert_eq!(last.invite(keys(), None, NOW).unwrap_err(), KeyRingError::HighNumber);
    let [_, mut server] = session(&last, &last, LAST_GENERATION, NOW);
    server.renewal.ask();
    assert!(server.poll(NOW + 60).is_none() && server.poll(NOW + 99 * DAY).is_none());
}

#[test]
fn a_client_that_has_no_place_for_new_keys_says_nothing() {
    let [client, server] = renewed();
    let [mut client, _] = session(&client, &server, 1, NOW + 20);
    client.ring = client.ring.accept(keys(), 2, NOW).unwrap();
    let before = client.ring.to_stored();
    client.take(Some(Frame::Renew(2))); // of a server that was set back, and knows no such invitation
    assert!(client.poll(NOW + 30).is_none() && client.poll(NOW + 300).is_none());
    assert_eq!(client.ring.to_stored(), before);
    client.bad(&Frame::Renew(3));
}

#[test]
fn keys_are_not_renewed_before_it_is_stored_that_those_of_the_session_are_used() {
    let keys = keys();
    let [mut client, mut server] = session(&begin(&keys, None), &begin(&keys, None), 0, NOW);
    server.ring = begin(&keys, None);
    assert!(server.poll(NOW).is_none());
    server.ring = server.ring.used(0, NOW).unwrap();
    client.ring = begin(&keys, None);
    client.take(server.go(NOW));
    assert!(client.poll(NOW).is_none());
    client.ring = client.ring.used(0, NOW).unwrap();
    assert_eq!(client.go(NOW), Some(Frame::Renewed(1)));
}
