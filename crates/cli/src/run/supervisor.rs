//! Words for the supervisor of a service (`sd_notify(3)`): that it is ready, and that it is alive. Without a supervisor nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// Tells the supervisor.
pub(super) fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!("the supervisor could not be told: {error}");
    }
}

/// Tells the supervisor that this process is alive, each half of the interval that it expects, if it
/// expects that.
pub(super) async fn keep_alive() {
    let Some(expected) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = interval((expected / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(NotifyState::Watchdog);
    }
}
