//! Settings that differ while a service runs are named, each of them: they take effect with the next start.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use paddington::{AtRest, Config, KeySource, Service, ServiceConfig, TlsFiles, Waiting};
use paddington_test_support::{Inbox, MemoryNetwork};
use toml::Value;

fn config() -> ServiceConfig {
    ServiceConfig::new("hub", "ws://hub.example:6501", "127.0.0.1", &6501).unwrap()
}

/// Returns the settings with one that differs, for each by its name.
fn changed_settings() -> BTreeMap<String, Config> {
    let mut all = BTreeMap::new();
    let whole = Value::try_from(Config::default()).unwrap();
    change_each("settings", &whole, &|part| part, &mut all);
    all
}

/// Changes each value in a part of the settings. `put` makes the whole from that part.
fn change_each(
    name: &str,
    part: &Value,
    put: &dyn Fn(Value) -> Value,
    all: &mut BTreeMap<String, Config>,
) {
    if let Some(table) = part.as_table() {
        for (key, value) in table {
            let put = |value| {
                let mut table = table.clone();
                table.insert(key.clone(), value);
                put(Value::Table(table))
            };
            change_each(&format!("{name}.{key}"), value, &put, all);
        }
        return;
    }
    let changed = match part {
        Value::Integer(number) => Value::Integer(number + 1),
        Value::Float(seconds) => Value::Float(seconds + 1.0),
        Value::Boolean(is_on) => Value::Boolean(!is_on),
        Value::Array(_) => Value::Array(vec!["10.0.0.0/8".into()]),
        Value::String(_) if name.ends_with("policy") => "stop".into(),
        Value::String(_) => "none".into(), // a proxy, a file, a name
        _ => unreachable!("{name}"),
    };
    all.insert(name.to_owned(), put(changed).try_into().unwrap());
}

#[tokio::test(start_paused = true)]
async fn every_setting_that_takes_effect_with_a_start_only_is_named() {
    let (_, handler) = Inbox::new();
    let hub = Service::start_on(MemoryNetwork::new().network(), &config(), handler).await.unwrap();
    let differing =
        async |config: &ServiceConfig| hub.apply(config, Waiting::Refuse).await.unwrap().restart;
    assert!(differing(&config()).await.is_empty());
    let settings = changed_settings();
    assert!(settings.len() > 50, "{settings:?}");
    for (name, settings) in settings {
        let mut other = config();
        *other.settings_mut() = settings;
        assert_eq!(differing(&other).await, [name]);
    }

    let folder = tempfile::tempdir().unwrap();
    let url = |url: &str, ip: &str, port| ServiceConfig::new("hub", url, ip, &port).unwrap();
    let own = "ws://hub.example:6501";
    assert_eq!(differing(&url("ws://x.example:6501", "127.0.0.1", 6501)).await, ["url"]);
    assert_eq!(differing(&url(own, "127.0.0.2", 6501)).await, ["ip"]);
    assert_eq!(differing(&url(own, "127.0.0.1", 6502)).await, ["port"]);
    let mut other = config();
    other.set_fallback_urls(&["ws://b.example:6501"]).unwrap();
    assert_eq!(differing(&other).await, ["fallback_urls"]);
    let mut other = config();
    other.set_at_rest(AtRest::new("x", KeySource::Variable("X".into())));
    assert_eq!(differing(&other).await, ["at_rest"]);
    let mut other = config();
    other.set_outbox("x");
    assert_eq!(differing(&other).await, ["outbox"]);
    let mut other = config();
    other.set_links(folder.path().join("links")).unwrap();
    assert_eq!(differing(&other).await, ["links"]);
    let mut other = config();
    other.set_tls(TlsFiles::in_directory("x"));
    assert_eq!(differing(&other).await, ["tls"]);
    hub.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_password_for_the_proxy_is_compared_and_not_told() {
    let (_, handler) = Inbox::new();
    let with = |password: &str| {
        let text = format!("transport.outbound.proxy = \"http://me:{password}@x.example:1\"");
        let mut config = config();
        *config.settings_mut() = toml::from_str(&text).unwrap();
        config
    };
    let network = MemoryNetwork::new().network();
    let hub = Service::start_on(network, &with("one"), handler).await.unwrap();
    let changes = hub.apply(&with("two"), Waiting::Refuse).await.unwrap();
    assert_eq!(changes.restart, ["settings.transport.outbound.proxy"]);
    assert!(!format!("{changes:?}").contains("two"));
    hub.shutdown().await;
}
