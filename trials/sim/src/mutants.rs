//! Breaks one rule of the exchange or of the store at a time. A rule whose breach no situation at a
//! bound notices would be a rule without a test.

use anyhow::{Error, ensure};

#[cfg(feature = "faults")]
use crate::bounds::{ALL, Situation};

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
    exchange.count() + store.count() + link
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
        None => println!("{rule:35} NOT NOTICED"),
    }
    noticed.is_some()
}
