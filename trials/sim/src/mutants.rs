//! Breaks one rule of the exchange or of the store at a time. A rule whose breach neither a situation at a
//! bound nor a run of replicas notices would be a rule without a test.

use anyhow::{Error, ensure};

#[cfg(feature = "faults")]
use paddington_test_support::Broken;

#[cfg(feature = "faults")]
use crate::bounds::{ALL, Situation};
#[cfg(feature = "faults")]
use crate::replicas;

/// The most seeds with replicas that are tried.
#[cfg(feature = "faults")]
const SEEDS: u64 = 60;

/// Breaks every rule.
pub(crate) fn check() -> Result<(), Error> {
    let missed = missed();
    if !cfg!(feature = "faults") {
        println!("Rules are broken with the feature `faults`: see `make mutants`.");
    }
    ensure!(missed == 0, "{missed} broken rules are not noticed");
    Ok(())
}

/// Returns the number of broken rules that nothing notices.
#[cfg(not(feature = "faults"))]
fn missed() -> usize {
    0
}

#[cfg(feature = "faults")]
fn missed() -> usize {
    use paddington_exchange::Fault as Exchange;
    use paddington_store::Fault as Store;

    // A broken rule may end in a panic, which is reported as what it has broken.
    std::panic::set_hook(Box::new(|_| {}));
    let exchange = Exchange::ALL.iter().filter(|fault| {
        fault.inject();
        let is_noticed = is_noticed(&format!("{fault:?}"));
        Exchange::heal();
        !is_noticed
    });
    let store = Store::ALL.iter().filter(|fault| {
        fault.inject();
        let is_noticed = is_noticed(&format!("{fault:?}"));
        Store::heal();
        !is_noticed
    });
    // The only rule of a link that the models cannot break: it takes too many streams.
    paddington_wire::Fault::UnlistedOvertaken.inject();
    let link = usize::from(!is_noticed("UnlistedOvertaken"));
    paddington_wire::Fault::heal();
    let rules = [
        ("the fence of a write is not checked", Broken { fence: true, ..Broken::default() }),
        ("a claim begins no stream", Broken { stream: true, ..Broken::default() }),
        ("a loss begins no stream", Broken { epoch: true, ..Broken::default() }),
    ];
    let shared = rules.into_iter().filter(|(rule, broken)| !is_noticed_by_replicas(rule, *broken));
    exchange.count() + store.count() + link + shared.count()
}

/// Looks for a situation that notices the broken rule.
#[cfg(feature = "faults")]
fn is_noticed(rule: &str) -> bool {
    let broken = |situation: &'static Situation| {
        let checked = std::panic::catch_unwind(|| situation.check());
        let cause = checked.unwrap_or_else(|_| Err(anyhow::anyhow!("a panic"))).err()?;
        Some((situation.name, cause))
    };
    let noticed = ALL.iter().find_map(broken);
    match &noticed {
        Some((place, cause)) => println!("{rule:35} where {place}: {cause:#}"),
        None => return is_noticed_by_replicas(rule, Broken::default()),
    }
    true
}

/// Looks for a seed with replicas that notices the broken rule.
#[cfg(feature = "faults")]
fn is_noticed_by_replicas(rule: &str, broken: Broken) -> bool {
    let failure = |seed| match replicas::checked(seed, broken, false) {
        Ok(outcome) => Some((seed, outcome.ledger.failures.into_iter().next()?)),
        Err(cause) => Some((seed, format!("{cause:#}"))),
    };
    let noticed = (1..=SEEDS).find_map(failure);
    match &noticed {
        Some((seed, failure)) => println!("{rule:35} with replicas, seed {seed}: {failure}"),
        None => println!("{rule:35} NOT NOTICED"),
    }
    noticed.is_some()
}
