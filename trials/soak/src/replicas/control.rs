//! The control: where a rule of replicas is left out, the trial has to see it.

use std::sync::Arc;

use anyhow::{Error, ensure};
use paddington_test_support::Random;

use super::rule::Rule;
use super::trial::{Trial, start_database};
use crate::in_real_time;

/// The most faults until something is seen: not each of them meets a message under way.
const MOST: usize = 12;

/// Fails if a rule is not missed.
pub(crate) fn run(mut random: Random) -> Result<(), Error> {
    in_real_time(async {
        let Some(database) = start_database().await? else { return Ok(()) };
        for rule in Rule::EACH {
            let trial = Trial::start(random.fork(), Arc::clone(&database), Some(rule)).await?;
            is_missed(rule, trial).await?;
        }
        Ok(())
    })
}

async fn is_missed(rule: Rule, mut trial: Trial) -> Result<(), Error> {
    trial.heals().await?;
    let mut faults = 0;
    while faults < MOST && trial.verdict(false)?.is_clean() {
        trial.inflict(rule.fault()).await?;
        faults += 1;
        if trial.heals().await.is_err() {
            break; // this can be what it leads to
        }
    }
    let settled = trial.settle().await;
    let verdict = trial.verdict(true)?;
    println!(
        "replicas-control: without {rule:?}, after {faults} faults: {verdict} (bar: some {})",
        rule.breach()
    );
    if let Err(error) = settled {
        println!("replicas-control: without {rule:?}, it could not be ended in order: {error:#}");
    }
    ensure!(verdict.has(rule.breach()), "without {rule:?}, nothing is {}", rule.breach());
    Ok(())
}
