//! The ledger notices every breach that it is meant to notice.

use paddington_test_support::Lag;
use paddington_wire::Delivery;

use super::*;

/// A plan with one flow at least, without a disk, whose first message has no time to live.
fn ledger() -> Ledger {
    ledger_of(None)
}

fn ledger_of(disk: Option<Lag>) -> Ledger {
    let mut plan = Plan::new(1);
    plan.services.iter_mut().for_each(|role| role.disk = disk);
    plan.faults.clear();
    plan.crashes = 1;
    plan.flows[0].mortal = 5;
    plan.flows[0].messages = 100;
    let ledger = Ledger::new(&plan, false);
    for _ in 0..10 {
        let number = ledger.offer(0, 1).unwrap();
        ledger.accepted(0, number, id(number));
    }
    ledger
}

#[expect(clippy::unnecessary_wraps, reason = "ids are optional wherever this is used")]
fn id(number: u64) -> Option<MessageId> {
    Some(MessageId { stream: [1; 16].into(), number })
}

/// Begins to handle a message in an instance of the receiver.
fn begin(ledger: &Ledger, instance: u32, redelivered: bool, number: u64) -> Arrival {
    let name = "somebody".parse().unwrap();
    let delivery = Delivery { id: id(number), redelivered, attempt: 1, fence: None };
    let message = Message::received("s0".parse().unwrap(), &name, "x".into(), delivery);
    let arrival = Arrival { flow: 0, number, instance };
    ledger.begun(arrival, &message);
    arrival
}

/// Handles some messages in an instance of the receiver.
fn handle(
    ledger: &Ledger,
    instance: u32,
    redelivered: bool,
    numbers: impl IntoIterator<Item = u64>,
) {
    for number in numbers {
        ledger.ended(begin(ledger, instance, redelivered, number), Outcome::Handled);
    }
}

fn failures(ledger: &Ledger) -> Vec<String> {
    ledger.close(|_| true, |_| Some(vec![id(2).unwrap()]));
    ledger.summary().failures
}

fn dies(ledger: &Ledger, receiver: bool, unsent: Option<usize>) {
    dies_in(ledger, receiver, 1, unsent);
}

fn dies_in(ledger: &Ledger, receiver: bool, instance: u32, unsent: Option<usize>) {
    let flow = ledger.entries().flows[0].flow;
    let unsent = unsent.map(|unsent| vec![(format!("s{}", flow.to), unsent)]);
    let who = if receiver { flow.to } else { flow.from };
    ledger.died(who, instance, Duration::ZERO, unsent);
}

#[test]
fn messages_once_and_in_order_are_fine() {
    let ledger = ledger();
    handle(&ledger, 1, false, 1..=10);
    assert_eq!(failures(&ledger), [""; 0]);
}

#[test]
fn a_lost_doubled_or_late_message_is_noticed() {
    for numbers in [&[1, 2, 3][..], &[1, 2, 3, 3, 4], &[1, 3, 2, 4, 5, 6, 7, 8, 9, 10]] {
        let ledger = ledger();
        handle(&ledger, 1, false, numbers.iter().copied());
        assert!(!failures(&ledger).is_empty(), "{numbers:?}");
    }
}

#[test]
fn a_repeat_after_a_crash_has_to_be_flagged() {
    for (redelivered, expected) in [(true, 0), (false, 4)] {
        let ledger = ledger();
        handle(&ledger, 1, false, 1..=10);
        dies(&ledger, true, None);
        handle(&ledger, 2, redelivered, 7..=10);
        assert_eq!(failures(&ledger).len(), expected);
    }
}

#[test]
fn a_sender_without_a_disk_may_lose_messages_only_if_it_crashed_or_reported_them() {
    for (unsent, expected) in [(None, 0), (Some(3), 0), (Some(2), 1)] {
        let ledger = ledger();
        handle(&ledger, 1, false, 1..=6);
        dies(&ledger, false, unsent);
        // Of the four that are missing, one had a time to live.
        assert_eq!(failures(&ledger).len(), expected);
    }
}

#[test]
fn a_wrong_receipt_is_noticed() {
    let wrong = [Delivered::Handled, Delivered::Expired, Delivered::TooLong];
    for outcome in wrong {
        let ledger = ledger();
        ledger.settled(0, 1, outcome);
        handle(&ledger, 1, false, 1..=10);
        assert!(!failures(&ledger).is_empty(), "{outcome:?}");
    }
    let ledger = ledger();
    ledger.settled(0, 5, Delivered::Expired);
    handle(&ledger, 1, false, (1..=10).filter(|number| *number != 5));
    assert_eq!(failures(&ledger), [""; 0]);
}

/// A ledger of services with disks, whose receiver has died with nothing but message 1 behind it.
fn with_disks() -> Ledger {
    let ledger = ledger_of(Some(Lag { sync: MILLI, lazy: MILLI, clock: || Duration::ZERO }));
    handle(&ledger, 1, false, [1]);
    ledger
}

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn a_message_is_given_up_only_after_as_many_counted_crashes_as_are_allowed() {
    // The first delivery is not counted; the second one is, with the first crash that is allowed.
    for (redelivered, expected) in [(true, 0), (false, 1)] {
        let ledger = with_disks();
        begin(&ledger, 1, redelivered, 2);
        dies(&ledger, true, None);
        handle(&ledger, 2, true, 3..=10);
        assert_eq!(failures(&ledger).len(), expected, "{redelivered}");
    }
    for (unsent, expected) in [(None, 0), (Some(0), 1)] {
        let ledger = with_disks();
        begin(&ledger, 1, true, 2);
        dies(&ledger, true, unsent);
        ledger.settled(0, 2, Delivered::Rejected(RejectCode::POISON));
        handle(&ledger, 2, true, 3..=10);
        assert_eq!(failures(&ledger).len(), expected, "an orderly end does not count");
    }
}

#[test]
fn a_crash_before_a_call_counts_for_one_message() {
    let ledger = with_disks();
    dies(&ledger, true, None); // it had counted an attempt, and not begun it
    ledger.settled(0, 9, Delivered::LeftInStore);
    ledger.settled(0, 2, Delivered::Rejected(RejectCode::POISON));
    handle(&ledger, 2, true, 4..=10);
    let failures = failures(&ledger);
    assert!(failures.len() == 1 && failures[0].contains("#3"), "{failures:?}");
}

#[test]
fn a_message_that_is_given_up_is_a_dead_letter() {
    let ledger = with_disks();
    handle(&ledger, 1, false, [2]);
    begin(&ledger, 1, true, 3);
    dies(&ledger, true, None);
    handle(&ledger, 2, true, 4..=10);
    let failures = failures(&ledger);
    assert!(failures.len() == 1 && failures[0].contains("#3"), "{failures:?}");
}
