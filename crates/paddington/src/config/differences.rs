//! What differs between two configurations of a service, without its links.

use std::path::Path;

use paddington_exchange::Config;
use paddington_transport::ProxyChoice;
use toml::Value;

use super::{ConfigError, ServiceConfig};

impl ServiceConfig {
    /// Returns the settings that differ in `other`, by their names in a file. They take effect at a start
    /// only.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is the configuration of another service.
    pub(crate) fn differences(&self, other: &Self) -> Result<Vec<String>, ConfigError> {
        if self.name != other.name {
            let (own, other) = (self.name.clone(), other.name.clone());
            return Err(ConfigError::OtherService { own, other });
        }
        let folder = |config: &Self| config.links().map(Path::to_owned);
        let fields = [
            ("url", self.url != other.url),
            ("fallback_urls", self.fallbacks != other.fallbacks),
            ("ip", self.ip != other.ip),
            ("port", self.port != other.port),
            ("outbox", self.outbox != other.outbox),
            ("links", folder(self) != folder(other)),
            ("at_rest", self.at_rest() != other.at_rest()),
            ("cluster", self.cluster != other.cluster),
            ("tls", self.tls != other.tls),
        ];
        let fields = fields.into_iter().filter(|(_, differs)| *differs);
        let fields = fields.map(|(name, _)| name.to_owned());
        Ok(fields.chain(of_settings(&self.settings, &other.settings)).collect())
    }
}

fn of_settings(one: &Config, other: &Config) -> Vec<String> {
    let (proxy, other_proxy) = (&one.transport.outbound.proxy, &other.transport.outbound.proxy);
    let mut names = Vec::new();
    if proxy != other_proxy {
        names.push("settings.transport.outbound.proxy".to_owned());
    }
    add("settings", as_value(one).as_ref(), as_value(other).as_ref(), &mut names);
    names
}

/// Returns the settings as they are written, without the password that the proxy's URL may hold.
fn as_value(settings: &Config) -> Option<Value> {
    let mut settings = settings.clone();
    settings.transport.outbound.proxy = ProxyChoice::default();
    Value::try_from(settings).ok()
}

/// Adds the names of values that differ.
fn add(name: &str, one: Option<&Value>, other: Option<&Value>, names: &mut Vec<String>) {
    match (one, other) {
        (Some(Value::Table(one)), Some(Value::Table(other))) => {
            let only_other = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(only_other) {
                add(&format!("{name}.{key}"), one.get(key), other.get(key), names);
            }
        }
        _ if one != other => names.push(name.to_owned()),
        _ => {}
    }
}
