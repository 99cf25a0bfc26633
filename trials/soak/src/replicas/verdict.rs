//! The verdict on what replicas and their peers have written down, in one file and so in one order.
//!
//! | Line | Written by | When |
//! |---|---|---|
//! | `sent PEER N` | a peer | its message N is accepted |
//! | `acked PEER N` | | its messages up to N are acknowledged to it |
//! | `handles I PEER N AGAIN` | instance I of a replica | its handler is called |
//! | `done I PEER N` | | and has ended |
//! | `begun I PEER N` | | it is about to send message N of its own |
//! | `accepted`, `refused`, `unsure I PEER N` | | what has become of that |
//! | `got PEER I N` | a peer | it handles that |
//! | `lost I` | the trial | the instance was killed |
//! | `paused I` | | it was stopped, for longer than its lease |

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use anyhow::{Error, bail, ensure};

/// The most messages of a peer that may be handled again after one loss of a replica: the one that was being handled,
/// since `concurrency` is 1, and those whose acknowledgement had not reached the peer. One is sent at the latest when
/// 64 messages are handled that are not acknowledged, ahead of everything else (`wire`, `link/acks.rs`).
///
/// This bounds their number; which ones may come again is told by [`Breach::Acknowledged`] and [`Breach::Needless`].
pub(super) const MOST_REPEATS: usize = 1 + 64;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Breach {
    Lost,
    /// A peer was given a message of a replica twice.
    Doubled,
    Disorder,
    /// A peer was given a message that was refused, or that nobody has sent.
    Unsent,
    /// A message was handled again, and more than one of its calls was not told that it may be a repeat.
    Unmarked,
    /// A message was handled again although the replica that had handled it was not lost since.
    Needless,
    /// A message was handled again after it was acknowledged to its peer.
    Acknowledged,
    /// More messages than [`MOST_REPEATS`] were handled again after one loss.
    TooMany,
    /// Two replicas that live handled messages of one peer at the same time.
    Overlap,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled at peers",
            Self::Disorder => "out of order",
            Self::Unsent => "delivered though refused or never sent",
            Self::Unmarked => "handled again and not marked",
            Self::Needless => "handled again though their replica was not lost",
            Self::Acknowledged => "handled again though acknowledged",
            Self::TooMany => "handled again beyond the bound",
            Self::Overlap => "handled at two replicas at a time",
        })
    }
}

/// What has happened.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Messages of peers, and of replicas, that were accepted.
    pub(super) of_peers: usize,
    pub(super) of_replicas: usize,
    pub(super) losses: usize,
    /// Messages that were handled again, and the most of one peer after one loss.
    pub(super) repeats: usize,
    pub(super) most_repeats: usize,
    /// What was broken: how often, and the first time.
    breaches: BTreeMap<Breach, (usize, String)>,
}

impl Verdict {
    /// Judges what is written so far. If that is the end, everything has to have arrived.
    pub(super) fn judge(log: &str, is_end: bool) -> Result<Self, Error> {
        // Somebody may be writing the last line.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let mut judge = Judge::default();
        for (at, line) in whole.lines().enumerate() {
            judge.read(at, line)?;
        }
        Ok(judge.finish(is_end))
    }

    pub(super) fn has(&self, breach: Breach) -> bool {
        self.breaches.contains_key(&breach)
    }

    pub(super) fn is_clean(&self) -> bool {
        self.breaches.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        ensure!(self.is_clean(), "{self}");
        ensure!(self.of_peers > 0 && self.of_replicas > 0, "nothing was accepted");
        Ok(())
    }

    fn note(&mut self, breach: Breach, what: String) {
        let (count, _) = self.breaches.entry(breach).or_insert((0, what));
        *count += 1;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("0 lost, doubled, out of order or handled again for no reason");
        }
        let mut before = "";
        for (breach, (count, first)) in &self.breaches {
            write!(f, "{before}{count} {breach}, first {first}")?;
            before = "; ";
        }
        Ok(())
    }
}

/// A message: the instance of a replica, and its number.
type Own = (u64, u64);

#[derive(Default)]
struct Judge<'t> {
    verdict: Verdict,
    /// How often each instance was lost.
    losses: HashMap<u64, usize>,
    /// Of each instance that was paused, the peers of which it has written down a call since. The first one may have
    /// begun before the pause.
    woken: HashMap<u64, HashSet<&'t str>>,
    up: HashMap<&'t str, Up>,
    down: HashMap<&'t str, Down>,
}

/// Who has handled a message, or does: an instance, and how often it had been lost by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Life {
    instance: u64,
    losses: usize,
}

/// What a peer has sent.
#[derive(Default)]
struct Up {
    sent: u64,
    acknowledged: u64,
    /// The last number that was handled for the first time.
    newest: u64,
    /// The last call for each number, and how many calls were not told that they may be repeats.
    handled: HashMap<u64, (Life, usize)>,
    /// The last number of each life.
    last: HashMap<Life, u64>,
    /// Calls that go on.
    open: Vec<(Life, u64)>,
    /// Messages that were handled again after the loss of each life.
    repeats: HashMap<Life, usize>,
}

/// What replicas have sent to a peer.
#[derive(Default)]
struct Down {
    messages: HashMap<Own, Sending>,
    /// The latest line at which the sending of something began that has arrived.
    latest: usize,
}

#[derive(Default)]
struct Sending {
    /// The lines at which it was begun and accepted.
    begun: usize,
    accepted: Option<usize>,
    is_refused: bool,
    has_arrived: bool,
}

impl<'t> Judge<'t> {
    fn read(&mut self, at: usize, line: &'t str) -> Result<(), Error> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["sent", peer, number] => self.up.entry(peer).or_default().sent = number.parse()?,
            ["acked", peer, number] => {
                self.up.entry(peer).or_default().acknowledged = number.parse()?;
            }
            ["handles", instance, peer, number, again] => {
                self.handles(instance.parse()?, peer, number.parse()?, again.parse()?);
            }
            ["done", instance, peer, number] => {
                let call: Own = (instance.parse()?, number.parse()?);
                let open = &mut self.up.entry(peer).or_default().open;
                open.retain(|(life, number)| (life.instance, *number) != call);
            }
            ["got", peer, instance, number] => {
                self.got(peer, (instance.parse()?, number.parse()?));
            }
            ["lost", instance] => self.lose(instance.parse()?),
            ["paused", instance] => {
                let instance = instance.parse()?;
                self.lose(instance);
                self.woken.insert(instance, HashSet::new());
            }
            [word, instance, peer, number] => {
                let message = (instance.parse()?, number.parse()?);
                let messages = &mut self.down.entry(peer).or_default().messages;
                let sending = messages.entry(message).or_default();
                match word {
                    "begun" => sending.begun = at,
                    "accepted" => sending.accepted = Some(at),
                    "refused" => sending.is_refused = true,
                    "unsure" => {}
                    _ => bail!("not a line: {line}"),
                }
            }
            _ => bail!("not a line: {line}"),
        }
        Ok(())
    }

    fn lose(&mut self, instance: u64) {
        *self.losses.entry(instance).or_default() += 1;
        self.verdict.losses += 1;
    }

    /// The handler is called for a message of a peer.
    fn handles(&mut self, instance: u64, peer: &'t str, number: u64, again: bool) {
        let is_late = self.woken.get_mut(&instance).is_some_and(|peers| peers.insert(peer));
        let losses = self.losses.get(&instance).copied().unwrap_or_default();
        let life = Life { instance, losses: losses - usize::from(is_late) };
        let is_lost = |life: Life| self.losses.get(&life.instance).copied() > Some(life.losses);
        let verdict = &mut self.verdict;
        let what = || format!("{number} of {peer} at {instance}");
        let up = self.up.entry(peer).or_default();
        up.open.retain(|(life, _)| !is_lost(*life));
        if !is_late && up.open.iter().any(|(other, _)| other.instance != instance) {
            verdict.note(Breach::Overlap, what());
        }
        up.open.push((life, number));
        if !is_late && up.last.insert(life, number).is_some_and(|last| number <= last) {
            verdict.note(Breach::Disorder, what());
        }
        let Some((before, unmarked)) = up.handled.get_mut(&number) else {
            if number != up.newest + 1 {
                verdict.note(Breach::Disorder, format!("{} after {}", what(), up.newest));
            }
            up.newest = up.newest.max(number);
            up.handled.insert(number, (life, usize::from(!again)));
            return;
        };
        verdict.repeats += 1;
        *unmarked += usize::from(!again);
        if *unmarked > 1 {
            verdict.note(Breach::Unmarked, what());
        }
        if is_late {
            return; // it had begun before whatever the replica was replaced for
        }
        if number <= up.acknowledged {
            verdict.note(Breach::Acknowledged, what());
        }
        if is_lost(*before) {
            let repeats = up.repeats.entry(*before).or_default();
            *repeats += 1;
            verdict.most_repeats = verdict.most_repeats.max(*repeats);
            if *repeats > MOST_REPEATS {
                verdict.note(Breach::TooMany, what());
            }
        } else {
            verdict.note(Breach::Needless, format!("{}, before at {}", what(), before.instance));
        }
        *before = life;
    }

    /// A peer handles a message of a replica.
    fn got(&mut self, peer: &'t str, message: Own) {
        let what = || format!("{} of {} to {peer}", message.1, message.0);
        let down = self.down.entry(peer).or_default();
        let Some(sending) = down.messages.get_mut(&message) else {
            self.verdict.note(Breach::Unsent, what());
            return;
        };
        if std::mem::replace(&mut sending.has_arrived, true) {
            self.verdict.note(Breach::Doubled, what());
            return;
        }
        // What was accepted before another `send` began is delivered before that.
        if sending.accepted.is_some_and(|accepted| accepted < down.latest) {
            self.verdict.note(Breach::Disorder, what());
        }
        down.latest = down.latest.max(sending.begun);
    }

    fn finish(self, is_end: bool) -> Verdict {
        let Self { mut verdict, up, down, .. } = self;
        for (peer, up) in up {
            verdict.of_peers += usize::try_from(up.sent).unwrap_or(usize::MAX);
            let expected = if is_end { up.sent } else { 0 };
            for number in (1..=expected).filter(|number| !up.handled.contains_key(number)) {
                verdict.note(Breach::Lost, format!("{number} of {peer}"));
            }
        }
        for (peer, down) in down {
            for ((instance, number), sending) in down.messages {
                let what = || format!("{number} of {instance} to {peer}");
                verdict.of_replicas += usize::from(sending.accepted.is_some());
                if is_end && sending.accepted.is_some() && !sending.has_arrived {
                    verdict.note(Breach::Lost, what());
                }
                if sending.is_refused && sending.has_arrived {
                    verdict.note(Breach::Unsent, what());
                }
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two messages of a peer `p` that were handled at instance 1, and one that instance 1 has sent to it.
    const BEGUN: &str = "sent p 1\nsent p 2\nbegun 1 p 1\naccepted 1 p 1\ngot p 1 1\n\
                         handles 1 p 1 false\ndone 1 p 1\nhandles 1 p 2 false\ndone 1 p 2\n";

    const NONE: [Breach; 0] = [];

    /// The verdict at the end of that and more.
    fn judge(more: &str) -> Verdict {
        Verdict::judge(&format!("{BEGUN}{more}"), true).unwrap()
    }

    fn breaches(more: &str) -> Vec<Breach> {
        judge(more).breaches.into_keys().collect()
    }

    #[test]
    fn once_and_in_order_is_fine() {
        let verdict = judge("acked p 2\n");
        verdict.check().unwrap();
        assert_eq!((verdict.of_peers, verdict.of_replicas, verdict.repeats), (2, 1, 0));
        assert!(Verdict::judge("", true).unwrap().check().is_err(), "nothing was accepted");
    }

    #[test]
    fn what_was_not_acknowledged_may_be_handled_again_after_a_loss_and_is_marked() {
        let verdict = judge("acked p 1\nlost 1\nhandles 2 p 2 true\n");
        verdict.check().unwrap();
        assert_eq!((verdict.losses, verdict.repeats, verdict.most_repeats), (1, 1, 1));
        assert_eq!(breaches("lost 1\nhandles 2 p 2 false\n"), [Breach::Unmarked]);
        assert_eq!(breaches("acked p 2\nlost 1\nhandles 2 p 2 true\n"), [Breach::Acknowledged]);
    }

    #[test]
    fn a_repeat_needs_a_loss_of_the_replica_that_has_handled_it() {
        assert_eq!(breaches("handles 2 p 2 true\n"), [Breach::Needless]);
        assert_eq!(breaches("lost 2\nhandles 3 p 2 true\n"), [Breach::Needless]);
        let twice = "lost 1\nhandles 2 p 2 true\ndone 2 p 2\nhandles 3 p 2 true\n";
        assert_eq!(breaches(twice), [Breach::Needless]);
        let both_lost = "lost 1\nhandles 2 p 2 true\ndone 2 p 2\nlost 2\nhandles 3 p 2 true\n";
        assert_eq!(breaches(both_lost), NONE);
    }

    #[test]
    fn one_call_may_be_written_down_after_a_pause_that_it_began_before() {
        let late = "sent p 3\npaused 1\nhandles 2 p 3 true\ndone 2 p 3\nacked p 3\n\
                    handles 1 p 3 false\n";
        assert_eq!(breaches(late), NONE);
        let second = format!("{late}done 1 p 3\nhandles 1 p 2 true\n");
        assert!(breaches(&second).contains(&Breach::Acknowledged));
        // The other way round, it was handled before the pause.
        let early = "sent p 3\npaused 1\nhandles 1 p 3 false\nhandles 2 p 3 true\n";
        assert_eq!(breaches(early), NONE);
    }

    #[test]
    fn no_more_come_again_than_can_be_without_an_acknowledgement() {
        let many = |count: u64| {
            let numbers = || 3..3 + count;
            let first = |it| format!("sent p {it}\nhandles 1 p {it} false\ndone 1 p {it}\n");
            let again = numbers().map(|it| format!("handles 2 p {it} true\ndone 2 p {it}\n"));
            let lost = ["lost 1\n".to_owned()];
            numbers().map(first).chain(lost).chain(again).collect::<String>()
        };
        let most = MOST_REPEATS as u64;
        assert_eq!(judge(&many(most)).most_repeats, MOST_REPEATS);
        assert_eq!(breaches(&many(most)), NONE);
        assert_eq!(breaches(&many(most + 1)), [Breach::TooMany]);
    }

    #[test]
    fn a_lost_or_late_message_of_a_peer_is_noticed() {
        assert_eq!(breaches("sent p 3\n"), [Breach::Lost]);
        assert!(Verdict::judge(&format!("{BEGUN}sent p 3\n"), false).unwrap().is_clean());
        let hole = "sent p 3\nsent p 4\nhandles 1 p 4 false\n";
        assert_eq!(breaches(hole), [Breach::Lost, Breach::Disorder]);
        let back = "lost 1\nhandles 2 p 2 true\nhandles 2 p 1 true\n";
        assert_eq!(breaches(back), [Breach::Disorder]);
    }

    #[test]
    fn calls_at_two_replicas_at_a_time_are_noticed() {
        let both = "sent p 3\nsent p 4\nhandles 1 p 3 false\nhandles 2 p 4 false\n";
        assert_eq!(breaches(both), [Breach::Overlap]);
        let after = "sent p 3\nsent p 4\nhandles 1 p 3 false\nlost 1\nhandles 2 p 4 false\n";
        assert_eq!(breaches(after), NONE);
    }

    #[test]
    fn messages_to_peers_come_once_in_order_and_only_if_they_were_sent() {
        assert_eq!(breaches("got p 1 1\n"), [Breach::Doubled]);
        assert_eq!(breaches("got p 1 2\n"), [Breach::Unsent]);
        assert_eq!(breaches("begun 2 p 1\ngot p 2 1\nrefused 2 p 1\n"), [Breach::Unsent]);
        assert_eq!(breaches("begun 2 p 1\naccepted 2 p 1\n"), [Breach::Lost]);
        assert_eq!(breaches("begun 2 p 1\nunsure 2 p 1\n"), NONE);
        let crossed = "begun 2 p 1\naccepted 2 p 1\nbegun 1 p 2\naccepted 1 p 2\n\
                       got p 1 2\ngot p 2 1\n";
        assert_eq!(breaches(crossed), [Breach::Disorder]);
        let at_a_time = "begun 2 p 1\nbegun 1 p 2\naccepted 2 p 1\naccepted 1 p 2\n\
                         got p 1 2\ngot p 2 1\n";
        assert_eq!(breaches(at_a_time), NONE);
    }
}
