//! The bounds of settings, found by trying: a value is written, and what refuses it says why.

use paddington::{Config, Fallbacks, StartError};
use toml::Value;

use super::fields::Setting;

/// Longer and shorter than any time that makes sense.
const LONG: f64 = 366.0 * 86_400.0;
const SHORT: f64 = 0.000_001;

/// Returns the bounds of a setting, as words.
pub(super) fn of(setting: &Setting) -> String {
    match setting.kind.as_str() {
        "time" => of_time(setting, false),
        "time or 0" => of_time(setting, true),
        "u16" => of_number(setting, u64::from(u16::MAX)),
        "u32" => of_number(setting, u64::from(u32::MAX)),
        "usize" => of_number(setting, u64::MAX),
        "size of u32" => of_number(setting, u64::from(u32::MAX)),
        "size of u64" | "size of usize" => of_number(setting, u64::MAX),
        "Fallbacks" => format!("at most {}", Fallbacks::MOST),
        _ => String::new(),
    }
}

fn of_time(setting: &Setting, may_be_zero: bool) -> String {
    if setting.path == ["cluster", "lease"] {
        return "from 4 s to 1 h".to_owned();
    }
    if setting.path.first().is_some_and(|first| first != "settings") {
        return "at least 0".to_owned(); // of the command, which asks for no more
    }
    let zero = attempt(&[(&setting.path, 0.0.into())]);
    assert_eq!(zero.is_ok(), may_be_zero, "{setting:?}: {zero:?}");
    let mut words = vec![if may_be_zero { "at least 0" } else { "more than 0" }.to_owned()];
    if setting.path.iter().any(|key| key == "on_error") {
        return words.remove(0);
    }
    words.extend(relations(setting, SHORT));
    words.extend(relations(setting, LONG));
    if matches!(
        attempt(&[(&setting.path, (LONG + 1.0).into())]),
        Err(Refusal::Check(StartError::Time(_)))
    ) {
        words.push("at most 366 days".to_owned());
    }
    words.join("; ")
}

/// Returns the relations to other settings that an extreme value does not keep. Each is found by giving the
/// others room, one after another.
fn relations(setting: &Setting, extreme: f64) -> Vec<String> {
    let name = setting.path.last().unwrap();
    let (mut words, mut changes) = (Vec::new(), vec![(setting.path.clone(), Value::from(extreme))]);
    loop {
        let written: Vec<_> = changes.iter().map(|(path, value)| (path, value.clone())).collect();
        let (word, other, room) = match attempt(&written) {
            Ok(()) => return words,
            Err(Refusal::Check(StartError::NotShorter { setting, other, .. }))
                if setting == name =>
            {
                (format!("less than `{other}`"), other, 2.0 * LONG)
            }
            Err(Refusal::Check(StartError::NotShorter { setting, other, .. })) if other == name => {
                (format!("more than `{setting}`"), setting, SHORT / 2.0)
            }
            Err(Refusal::Check(StartError::RefusedTooSoon { .. })) => match name.as_str() {
                "refused" => ("at least `interval`".to_owned(), "interval", SHORT / 2.0),
                _ => ("at most `refused`".to_owned(), "refused", LONG),
            },
            Err(other) => unreachable!("{name}: {other:?}"),
        };
        words.push(word);
        // The longest time there is leaves no room for one that has to be longer.
        if room > LONG {
            changes[0].1 = (LONG / 2.0).into();
        }
        changes.push((path_of(other), room.min(LONG).into()));
    }
}

fn of_number(setting: &Setting, largest: u64) -> String {
    let whole = |number: u64| attempt(&[(&setting.path, i64::try_from(number).unwrap().into())]);
    if setting.path.len() == 1 {
        return format!("0 to {largest}");
    }
    let lower = match whole(0) {
        Ok(()) => "at least 0".to_owned(),
        Err(Refusal::Check(StartError::OutboxTooSmall { needed, .. })) => {
            let twice = needed > 2_000_000;
            format!(
                "at least {}`max_payload` + 24 bytes{}",
                if twice { "2 × (" } else { "" },
                if twice { ")" } else { "" }
            )
        }
        Err(_) => {
            let least = (1..2).find(|least| whole(*least).is_ok());
            format!("at least {}", least.unwrap_or_else(|| unreachable!("{setting:?}")))
        }
    };
    let upper = match setting.path.last().map(String::as_str) {
        // Outboxes need room for the longest message.
        Some("max_payload") => largest_payload(setting),
        _ => largest,
    };
    match upper {
        u64::MAX => lower,
        upper => format!("{lower}; at most {upper}"),
    }
}

/// Returns the largest value that `max_payload` may have, found by halving.
fn largest_payload(setting: &Setting) -> u64 {
    let room = |name: &str| (path_of(name), Value::from(i64::MAX));
    let outboxes =
        ["outbox_bytes", "outbox_bytes_total", "stored_bytes", "stored_bytes_total"].map(room);
    let is_good = |number: u64| {
        let mut changes: Vec<_> =
            outboxes.iter().map(|(path, value)| (path, value.clone())).collect();
        changes.push((&setting.path, i64::try_from(number).unwrap().into()));
        attempt(&changes).is_ok()
    };
    let (mut good, mut bad) = (1, u64::from(u32::MAX));
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        if is_good(middle) { good = middle } else { bad = middle }
    }
    good
}

/// The refusal of a value.
#[derive(Debug)]
enum Refusal {
    Read,
    Check(StartError),
}

/// Tries settings with changes.
fn attempt(changes: &[(&Vec<String>, Value)]) -> Result<(), Refusal> {
    let mut settings = Value::try_from(Config::default()).unwrap();
    for (path, value) in changes {
        let (key, table) = path.split_last().unwrap();
        if path.iter().any(|key| key == "on_error") {
            let retry = "policy = \"retry\"\nattempts = 3\nbackoff = 1";
            settings["on_error"] = toml::from_str(retry).unwrap();
        }
        let table = table.iter().skip(1).fold(&mut settings, |table, key| &mut table[key.as_str()]);
        table.as_table_mut().unwrap().insert(key.clone(), value.clone());
    }
    let config: Config = settings.try_into().map_err(|_| Refusal::Read)?;
    config.check().map_err(Refusal::Check)
}

/// Returns the path of the setting that is called `name`.
fn path_of(name: &str) -> Vec<String> {
    let paths = super::super::keys::known_paths();
    let is_it = |path: &Vec<String>| path.len() > 1 && path.last().is_some_and(|last| last == name);
    let mut found = paths.into_iter().filter(is_it);
    let path = found.next().unwrap_or_else(|| unreachable!("{name}"));
    assert!(found.next().is_none(), "{name} is the name of two settings");
    path
}
