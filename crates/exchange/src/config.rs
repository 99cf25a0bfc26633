//! The limits, deadlines and policies of an exchange.

use std::path::Path;
use std::time::Duration;

use paddington_transport::{ProxyChoice, seconds, size};
use paddington_wire::link::LinkConfig;
use paddington_wire::{Data, MAX_PAYLOAD, Software};
use serde::{Deserialize, Serialize};

use crate::peer::HELD_OVERHEAD;
use crate::{OnError, StartError};

/// Limits, deadlines and policies of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Limits, deadlines and delays of the connections.
    pub transport: paddington_transport::Config,
    /// The name and version of this software, which peers are told.
    pub software: Software,
    /// Maximum number of peers.
    pub peers: usize,
    /// Time that a start waits for its port while another process still listens on it.
    #[serde(with = "seconds::or_zero")]
    pub listen_wait: Duration,
    /// Age at which the keys of a `sealed` link are renewed, if both sides can store new ones; zero
    /// for never. The keys of an invitation are replaced at first contact in any case.
    #[serde(with = "seconds::or_zero")]
    pub renew_keys: Duration,
    /// Time after which an invitation that was not used is void, if the service can store new keys;
    /// zero for never.
    #[serde(with = "seconds::or_zero")]
    pub invitation_lifetime: Duration,
    /// Maximum number of bytes that a peer may have sent and this service has not handled.
    #[serde(deserialize_with = "size::deserialize")]
    pub window: u32,
    /// Maximum number of bytes that all peers together may have sent and this service has not
    /// handled. Each peer has its part of half of it, and at least room for a longest message.
    #[serde(deserialize_with = "size::deserialize")]
    pub inbox_bytes_total: u64,
    /// Maximum number of messages that wait for one peer.
    pub outbox_messages: usize,
    /// Maximum number of bytes, Σ(24 + length), that wait for one peer.
    #[serde(deserialize_with = "size::deserialize")]
    pub outbox_bytes: u64,
    /// Maximum number of bytes that wait for all peers together.
    #[serde(deserialize_with = "size::deserialize")]
    pub outbox_bytes_total: u64,
    /// Maximum number of messages that wait for one peer in a store.
    pub stored_messages: usize,
    /// Maximum number of bytes, Σ(24 + length), that wait for one peer in a store.
    #[serde(deserialize_with = "size::deserialize")]
    pub stored_bytes: u64,
    /// Maximum number of bytes that wait for all peers together in a store.
    #[serde(deserialize_with = "size::deserialize")]
    pub stored_bytes_total: u64,
    /// Maximum number of messages of one `hex` peer that wait for the handler. A `sealed` peer is
    /// bounded by `window`.
    pub inbox_messages: usize,
    /// Maximum number of handler calls that run at the same time.
    pub handlers: usize,
    /// Number of messages of one peer that are handled at the same time. With more than one, their
    /// order is not kept.
    pub concurrency: usize,
    /// Maximum number of requests of one peer that are not answered, for each depth; 0 to answer
    /// none.
    pub requests: u16,
    /// Maximum number of bytes, Σ(24 + length), of requests of one peer that are not answered, for
    /// each depth. At least one of `max_payload` always fits.
    #[serde(deserialize_with = "size::deserialize")]
    pub request_window: u32,
    /// Maximum number of requests of one peer that are handled at the same time, for each depth.
    pub request_handlers: usize,
    /// Maximum number of bytes, Σ(160 + length), of requests of all peers that are not answered.
    #[serde(deserialize_with = "size::deserialize")]
    pub request_bytes_total: u64,
    /// Maximum number of bytes, Σ(24 + length), of replies that one peer has not acknowledged, and
    /// of requests that wait to be transmitted to it. At least one of `max_payload` always fits.
    #[serde(deserialize_with = "size::deserialize")]
    pub reply_bytes: u64,
    /// Time that a handler may take for one message; after that it is cancelled. Zero for no limit.
    #[serde(with = "seconds::or_zero")]
    pub handler_timeout: Duration,
    /// Policy for a message that its handler has failed on.
    pub on_error: OnError,
    /// Whether the sender of a message or request is told the text of the error that its handler
    /// returned: the first 255 bytes of it, or 1 KiB for a requester. Errors may tell of paths,
    /// addresses or data that are not the sender's business.
    pub reveal_errors: bool,
    /// Number of times that a message of a peer may be handled when this process ends without order,
    /// after its first delivery; with a store, it then becomes a dead letter. A kill for another
    /// reason cannot be told from a crash of the handler, so a service whose handlers take long and
    /// that is killed often needs more. An orderly shutdown does not count.
    pub crashes: u32,
    /// Time that an acknowledgement may wait, so that a message can carry it or others can join it.
    #[serde(with = "seconds")]
    pub ack_delay: Duration,
    /// Time that an older connection has to answer a probe when a newer one arrives.
    #[serde(with = "seconds")]
    pub probe: Duration,
    /// Time after which the handler is told `Disconnected` of a peer that has no connection and has
    /// not said that it shuts down.
    #[serde(with = "seconds")]
    pub absence: Duration,
    /// Maximum number of authenticated handshakes of a peer within 10 s ([`HANDSHAKE_PERIOD`]).
    pub handshakes: usize,
    /// Time that a shutdown waits for handlers that run, and then again for messages that are not
    /// acknowledged.
    #[serde(with = "seconds")]
    pub drain: Duration,
    /// Time that `send_when_ready` waits for room inside a handler, where waiting for ever could
    /// deadlock two services that wait for each other.
    #[serde(with = "seconds")]
    pub patience: Duration,
}

/// The name and version of this software.
const SOFTWARE: &str = concat!("paddington/", env!("CARGO_PKG_VERSION"));

/// Upper bound of every delay and deadline.
const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Period over which authenticated handshakes are counted.
pub const HANDSHAKE_PERIOD: Duration = Duration::from_secs(10);

/// The number of instances whose handshakes a link has room for in that period.
pub(crate) const HANDSHAKE_INSTANCES: usize = 8;

/// The shortest lease with which a replica claims a link, or speaks to a server of it: whoever hears it takes it
/// for the owner (`docs/cluster.md`, S12).
pub(crate) const GOOD_LEASE: Duration = Duration::from_secs(2);

impl Default for Config {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        let link = LinkConfig::default();
        Self {
            transport: paddington_transport::Config::default(),
            software: SOFTWARE.parse().unwrap_or_default(),
            listen_wait: Duration::ZERO,
            renew_keys: 30 * DAY,
            invitation_lifetime: 7 * DAY,
            peers: 100_000,
            window: link.window,
            inbox_bytes_total: 256 * MIB,
            outbox_messages: link.outbox_messages,
            outbox_bytes: link.outbox_bytes,
            outbox_bytes_total: 256 * MIB,
            stored_messages: 100_000,
            stored_bytes: 256 * MIB,
            stored_bytes_total: 4_096 * MIB,
            inbox_messages: 1_024,
            handlers: 256,
            concurrency: 1,
            requests: link.requests,
            request_window: link.request_window,
            request_handlers: 16,
            request_bytes_total: 256 * MIB,
            reply_bytes: link.reply_bytes,
            handler_timeout: Duration::from_secs(300),
            on_error: OnError::Next,
            reveal_errors: false,
            crashes: 5,
            ack_delay: Duration::from_millis(20),
            probe: Duration::from_secs(3),
            absence: Duration::from_secs(60),
            handshakes: 5,
            drain: Duration::from_secs(30),
            patience: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Checks that every limit is usable: none of them can be switched off, and they make sense
    /// together.
    ///
    /// # Errors
    ///
    /// [`StartError`] if one of them cannot be used.
    pub fn check(&self) -> Result<(), StartError> {
        let limits = &self.transport.limits;
        if !(1..=MAX_PAYLOAD).contains(&limits.max_payload) {
            return Err(StartError::MaxPayload(limits.max_payload));
        }
        let counts = [
            ("request_head", limits.request_head),
            ("request_lines", limits.request_lines),
            ("pending", limits.pending),
            ("pending_per_address", limits.pending_per_address),
            ("attempts", limits.attempts as usize),
            ("addresses", limits.addresses),
            ("peers", self.peers),
            ("outbox_messages", self.outbox_messages),
            ("stored_messages", self.stored_messages),
            ("inbox_messages", self.inbox_messages),
            ("handlers", self.handlers),
            ("concurrency", self.concurrency),
            ("request_handlers", self.request_handlers),
            ("handshakes", self.handshakes),
            ("crashes", self.crashes as usize),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(StartError::Zero(name));
        }
        let reasonable = |time: Duration| !time.is_zero() && time <= YEAR;
        match self.times().into_iter().find(|(_, time)| !reasonable(*time)) {
            Some((name, _)) => Err(StartError::Time(name)),
            None if self.listen_wait > YEAR => Err(StartError::Time("listen_wait")),
            None if self.renew_keys > YEAR => Err(StartError::Time("renew_keys")),
            None if self.invitation_lifetime > YEAR => Err(StartError::Time("invitation_lifetime")),
            None if self.handler_timeout > YEAR => Err(StartError::Time("handler_timeout")),
            None => self.check_relations(),
        }
    }

    /// Checks the settings that make no sense together. `docs/delivery.md` §7 lists them.
    fn check_relations(&self) -> Result<(), StartError> {
        let (timeouts, retry) = (&self.transport.timeouts, &self.transport.retry);
        let (dead, establish) = (("dead", timeouts.dead), ("establish", timeouts.establish));
        let shorter = [
            (("ping_interval", timeouts.ping_interval), dead, "no ping would be sent in time"),
            (("request", timeouts.request), establish, "no time would be left for the other steps"),
            (
                ("handshake_step", timeouts.handshake_step),
                establish,
                "the handshake would end before this step",
            ),
            (("probe", self.probe), establish, "a client would time out before it ends"),
            (
                ("probe", self.probe),
                ("reply", timeouts.reply),
                "a client would time out before it ends",
            ),
            (
                ("interval", retry.interval),
                ("absence", self.absence),
                "a peer would be absent after every lost connection",
            ),
            (
                ("next_address", timeouts.next_address),
                ("connect", timeouts.connect),
                "no second address would be tried",
            ),
            (
                ("good_session", retry.good_session),
                ("session_age", timeouts.session_age),
                "every renewal of a session would count as a failure",
            ),
        ];
        for ((setting, time), (other, limit), reason) in shorter {
            if time >= limit {
                return Err(StartError::NotShorter { setting, time, other, limit, reason });
            }
        }
        self.check_proxies()?;
        if retry.interval > retry.refused {
            let (interval, refused) = (retry.interval, retry.refused);
            return Err(StartError::RefusedTooSoon { interval, refused });
        }
        let needed = Data::cost(self.transport.limits.max_payload as usize);
        // Half of a total may be divided among the peers; the other half has to be enough.
        let outboxes = [
            ("outbox_bytes", self.outbox_bytes, needed),
            ("outbox_bytes_total", self.outbox_bytes_total, 2 * needed),
            ("stored_bytes", self.stored_bytes, needed),
            ("stored_bytes_total", self.stored_bytes_total, 2 * needed),
        ];
        match outboxes.into_iter().find(|(_, bytes, needed)| bytes < needed) {
            Some((setting, bytes, needed)) => {
                Err(StartError::OutboxTooSmall { setting, bytes, needed })
            }
            None => Ok(()),
        }
    }

    /// Checks what the settings of proxies, on the way out and before this service, need of each other.
    fn check_proxies(&self) -> Result<(), StartError> {
        let (outbound, trusted) = (&self.transport.outbound, &self.transport.proxies);
        let has_user = matches!(&outbound.proxy, ProxyChoice::Url(url) if url.has_user() && !url.has_password());
        if !outbound.proxy_password_file.as_os_str().is_empty() && !has_user {
            return Err(StartError::ProxyPassword);
        }
        if trusted.proxy_protocol && trusted.ranges.is_empty() {
            return Err(StartError::NoTrustedProxies);
        }
        let is_named = |path: &Path| !path.as_os_str().is_empty();
        if is_named(&outbound.client_certificate) != is_named(&outbound.client_key) {
            return Err(StartError::HalfCertificate);
        }
        Ok(())
    }

    fn times(&self) -> [(&'static str, Duration); 18] {
        let (timeouts, retry) = (&self.transport.timeouts, &self.transport.retry);
        [
            ("request", timeouts.request),
            ("handshake_step", timeouts.handshake_step),
            ("establish", timeouts.establish),
            ("connect", timeouts.connect),
            ("answer", timeouts.answer),
            ("reply", timeouts.reply),
            ("next_address", timeouts.next_address),
            ("ping_interval", timeouts.ping_interval),
            ("dead", timeouts.dead),
            ("write", timeouts.write),
            ("close", timeouts.close),
            ("session_age", timeouts.session_age),
            ("interval", retry.interval),
            ("refused", retry.refused),
            ("probe", self.probe),
            ("absence", self.absence),
            ("drain", self.drain),
            ("patience", self.patience),
        ]
    }

    /// Returns the time that a handler may take for one message, if there is a limit.
    pub(crate) fn handler_limit(&self) -> Option<Duration> {
        Some(self.handler_timeout).filter(|limit| !limit.is_zero())
    }

    /// Returns the limits of one link, whose messages are `stored` or not.
    pub(crate) fn link(&self, stored: bool) -> LinkConfig {
        let (outbox_messages, outbox_bytes) = if stored {
            (self.stored_messages, self.stored_bytes)
        } else {
            (self.outbox_messages, self.outbox_bytes)
        };
        LinkConfig {
            window: self.window,
            held_overhead: HELD_OVERHEAD,
            max_payload: self.transport.limits.max_payload,
            outbox_messages,
            outbox_bytes,
            requests: self.requests,
            request_window: self.request_window,
            reply_bytes: self.reply_bytes,
            waiting_request_bytes: self.reply_bytes,
            ack_delay: u64::try_from(self.ack_delay.as_millis()).unwrap_or(u64::MAX),
            ..LinkConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error for the default settings with a change.
    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        config.check().unwrap();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn settings_that_make_no_sense_together_are_refused_by_name() {
        let minute = Duration::from_secs(60);
        let flaps = refusal(|config| config.transport.timeouts.ping_interval = minute);
        assert_eq!(
            flaps,
            "the setting ping_interval (60 s) must be shorter than dead (30 s): no ping would be \
             sent in time"
        );
        type Change = fn(&mut Config, Duration);
        let cases: [(&str, &str, Change); 8] = [
            ("request", "establish", |config, time| config.transport.timeouts.request = time),
            ("handshake_step", "establish", |config, time| {
                config.transport.timeouts.handshake_step = time;
            }),
            ("probe", "establish", |config, time| config.probe = time),
            ("next_address", "connect", |config, time| {
                config.transport.timeouts.next_address = time;
            }),
            ("good_session", "session_age", |config, time| {
                config.transport.timeouts.session_age = time;
                config.transport.retry.good_session = time;
            }),
            ("interval", "refused", |config, time| {
                config.transport.retry.interval = 2 * time;
                config.absence = 3 * time;
            }),
            ("interval", "absence", |config, _| config.absence = config.transport.retry.interval),
            ("probe", "reply", |config, _| config.transport.timeouts.reply = config.probe),
        ];
        for (setting, other, change) in cases {
            let refused = refusal(|config| change(config, minute));
            assert!(refused.contains(setting) && refused.contains(other), "{refused}");
        }
    }

    #[test]
    fn a_password_for_the_proxy_needs_a_user_and_no_other_password() {
        let with = |proxy: ProxyChoice| {
            let mut config = Config::default();
            config.transport.outbound.proxy_password_file = "password".into();
            config.transport.outbound.proxy = proxy;
            config.check()
        };
        let url = |url: &str| ProxyChoice::Url(url.parse().unwrap());
        with(url("http://user@proxy.example:3128")).unwrap();
        for proxy in [
            ProxyChoice::Environment,
            ProxyChoice::None,
            url("http://proxy.example:3128"),
            url("http://user:sesame@proxy.example:3128"),
        ] {
            let refused = with(proxy).unwrap_err();
            assert!(matches!(refused, StartError::ProxyPassword), "{refused}");
        }
    }

    #[test]
    fn somebody_has_to_speak_the_proxy_protocol() {
        let mut config = Config::default();
        config.transport.proxies.proxy_protocol = true;
        let refused = config.check().unwrap_err();
        assert!(matches!(refused, StartError::NoTrustedProxies), "{refused}");
        config.transport.proxies.ranges = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(config.check().is_ok());
    }

    #[test]
    fn every_outbox_has_room_for_the_longest_message() {
        type Change = fn(&mut Config);
        let cases: [(&str, &str, Change); 4] = [
            ("outbox_bytes ", "1048600", |config| config.outbox_bytes = 1_048_599),
            ("outbox_bytes_total ", "2097200", |config| config.outbox_bytes_total = 2_097_199),
            ("stored_bytes ", "1048600", |config| config.stored_bytes = 1),
            ("stored_bytes_total ", "2097200", |config| config.stored_bytes_total = 0),
        ];
        for (setting, needed, change) in cases {
            let refused = refusal(change);
            assert!(refused.contains(setting) && refused.contains(needed), "{refused}");
        }
        let mut config = Config { outbox_bytes: 1_024, window: 1, ..Config::default() };
        config.transport.limits.max_payload = 1_000;
        config.check().unwrap();
    }
}
