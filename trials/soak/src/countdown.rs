//! The countdown through a proxy that cuts its connection (`docs/delivery.md` §1): every number is
//! heard once on each side, however often.

use std::time::Duration;

use anyhow::{Error, ensure};
use paddington_test_support::count_down;

use crate::in_real_time;
use paddington_test_support::Random;

const COUNT: u32 = 1_000;
const CUTS: usize = 100;
const SHORT_COUNT: u32 = 200;
const SHORT_CUTS: usize = 20;
/// A cut comes this long after its number, at most: in a handshake, or in the exchange.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn run(mut random: Random, short: bool) -> Result<(), Error> {
    let (count, cuts) = if short { (SHORT_COUNT, SHORT_CUTS) } else { (COUNT, CUTS) };
    let counted =
        in_real_time(async { Ok(count_down(count, cuts, || random.up_to(PAUSE)).await) })?;
    println!(
        "countdown-cuts: {} and {} of {} numbers heard at the server and the client, {} times \
         \"Blast off!\" (bar: 1), {} cuts (bar: {cuts}), {} connections, {:.1} s",
        counted.heard[0].len(),
        counted.heard[1].len(),
        count + 1,
        counted.blasts,
        counted.cut,
        counted.connections,
        counted.took.as_secs_f64()
    );
    let expected: Vec<_> = (0..=count).rev().collect();
    for (heard, place) in counted.heard.iter().zip(["server", "client"]) {
        ensure!(*heard == expected, "not every number was heard once and in order at the {place}");
    }
    ensure!(counted.blasts == 1, "\"Blast off!\" was said {} times", counted.blasts);
    ensure!(counted.cut >= cuts, "only {} connections were cut", counted.cut);
    ensure!(counted.conserved, "a message is not accounted for");
    Ok(())
}
