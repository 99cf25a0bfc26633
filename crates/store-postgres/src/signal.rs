//! Signals as the text of a notification.

use paddington_exchange::store::{ReplicaId, Signal};
use paddington_wire::{Instance, LinkId};

/// The most bytes of one notification, of which the server allows 7 999.
pub(crate) const MAX_PAYLOAD: usize = 7_900;

/// The begin of a notification that tells the greatest version of the directory, and nothing else.
pub(crate) const DIRECTORY: &str = "V";

/// Length of an identity in hexadecimal digits.
const ID: usize = 2 * LinkId::LEN;

/// Writes a signal: a letter for its kind, identities as 32 digits each, then the rest.
pub(crate) fn write(signal: &Signal) -> String {
    match signal {
        Signal::Appended { link, stream, number } => format!("A{link}{stream}{number}"),
        Signal::Settled { link } => format!("S{link}"),
        Signal::Yield { link, life: Some(life), from } => format!("Y{link}{life}{from}"),
        Signal::Yield { link, life: None, from } => format!("D{link}{from}"),
        Signal::Yielded { link, free: true } => format!("G{link}"),
        Signal::Yielded { link, free: false } => format!("K{link}"),
        Signal::LaneFree { link } => format!("F{link}"),
        Signal::Asked { link } => format!("Q{link}"),
        Signal::Answered { link } => format!("R{link}"),
        Signal::GivenUp { link, asker, number } => format!("C{link}{asker}-{number}"),
        Signal::Lost => "L".to_owned(),
    }
}

/// Packs signals into as few notifications as possible.
pub(crate) fn pack(signals: &[Signal]) -> Vec<String> {
    let mut packed: Vec<String> = Vec::new();
    for signal in signals {
        let text = write(signal);
        match packed.last_mut() {
            Some(last) if last.len() + 1 + text.len() <= MAX_PAYLOAD => {
                last.push(',');
                last.push_str(&text);
            }
            _ => packed.push(text),
        }
    }
    packed
}

/// Reads the greatest version of the directory, if a notification tells that.
pub(crate) fn version(payload: &str) -> Option<u64> {
    payload.strip_prefix(DIRECTORY)?.parse().ok()
}

/// Reads the signals of a notification. What this version does not know is left out.
pub(crate) fn read(payload: &str) -> impl Iterator<Item = Signal> {
    payload.split(',').filter_map(read_one)
}

fn read_one(text: &str) -> Option<Signal> {
    let mut text = Text(text);
    let kind = text.take(1)?;
    if kind == "L" {
        return Some(Signal::Lost);
    }
    let link = text.id()?;
    Some(match kind {
        "A" => Signal::Appended { link, stream: text.instance()?, number: text.0.parse().ok()? },
        "S" => Signal::Settled { link },
        "Y" => Signal::Yield { link, life: Some(text.instance()?), from: text.replica()? },
        "D" => Signal::Yield { link, life: None, from: text.replica()? },
        "G" => Signal::Yielded { link, free: true },
        "K" => Signal::Yielded { link, free: false },
        "F" => Signal::LaneFree { link },
        "Q" => Signal::Asked { link },
        "R" => Signal::Answered { link },
        "C" => {
            let (asker, number) = text.0.split_once('-')?;
            let asker = ReplicaId(asker.parse().ok()?);
            Signal::GivenUp { link, asker, number: number.parse().ok()? }
        }
        _ => return None,
    })
}

/// What is left to read.
struct Text<'t>(&'t str);

impl<'t> Text<'t> {
    fn take(&mut self, len: usize) -> Option<&'t str> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn id(&mut self) -> Option<LinkId> {
        self.take(ID)?.parse().ok()
    }

    fn instance(&mut self) -> Option<Instance> {
        Some((*self.id()?.as_bytes()).into())
    }

    fn replica(&mut self) -> Option<ReplicaId> {
        Some(ReplicaId(self.0.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Signal> {
        let (link, life, from) = (LinkId::from([7; 16]), Instance::from([9; 16]), ReplicaId(12));
        vec![
            Signal::Appended { link, stream: life, number: u64::MAX },
            Signal::Settled { link },
            Signal::Yield { link, life: Some(life), from },
            Signal::Yield { link, life: None, from },
            Signal::Yielded { link, free: true },
            Signal::Yielded { link, free: false },
            Signal::LaneFree { link },
            Signal::Asked { link },
            Signal::Answered { link },
            Signal::GivenUp { link, asker: from, number: u64::MAX },
            Signal::Lost,
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let packed = pack(&all());
        assert_eq!(packed.len(), 1);
        assert_eq!(read(&packed[0]).collect::<Vec<_>>(), all());
    }

    #[test]
    fn notifications_are_as_long_as_the_server_allows_and_no_longer() {
        let many: Vec<_> = all().into_iter().cycle().take(1_000).collect();
        let packed = pack(&many);
        assert!(packed.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
        assert!(packed.len() < 10, "{}", packed.len());
        let found: Vec<_> = packed.iter().flat_map(|payload| read(payload)).collect();
        assert_eq!(found, many);
    }

    #[test]
    fn a_version_of_the_directory_is_told_alone() {
        assert_eq!(version("V1099511627777"), Some(1_099_511_627_777));
        for text in ["V", "V-1", "1", "V1,F"] {
            assert_eq!(version(text), None, "{text}");
        }
        assert_eq!(read("V7").count(), 0);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let link = "07".repeat(16);
        for text in [
            "",
            ",",
            "Q",
            "S07",
            "é",
            &format!("Z{link}"),
            &format!("A{link}"),
            &format!("Y{link}{link}x"),
            &format!("C{link}7"),
        ] {
            assert_eq!(read(text).count(), 0, "{text}");
        }
        assert_eq!(read(&format!("new,S{link}")).count(), 1);
    }
}
