//! The two formats in which Prometheus reads numbers: OpenMetrics 1.0 for whoever asks for it, and the
//! older text format 0.0.4, which every tool reads.

use std::collections::HashSet;

use http::HeaderMap;
use http::header::ACCEPT;

/// A format of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    OpenMetrics,
    Text,
}

impl Exposition {
    /// Returns the format that a request with these header fields gets.
    pub(crate) fn asked_by(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        match accepted.any(|value| value.contains("application/openmetrics-text")) {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// Returns the media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes numbers, which are in the OpenMetrics format, in this one.
    pub(crate) fn write(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => text(&open_metrics),
        }
    }
}

/// Here a counter has its `_total` in its description, too, and there are no units and no end.
fn text(open_metrics: &str) -> String {
    let described = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> =
        described.filter_map(|line| line.strip_suffix(" counter")).collect();
    let mut written = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), ..) => continue,
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest))
                if counters.contains(name) =>
            {
                written.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => written.push_str(line),
        }
        written.push('\n');
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_whoever_asks_for_it() {
        let asked = |accept: &'static str| {
            let accept = (ACCEPT, http::HeaderValue::from_static(accept));
            Exposition::asked_by(&HeaderMap::from_iter([accept]))
        };
        assert_eq!(asked("*/*"), Exposition::Text);
        assert_eq!(asked("text/plain;version=0.0.4"), Exposition::Text);
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=0.1";
        assert_eq!(asked(prometheus), Exposition::OpenMetrics);
        assert_eq!(Exposition::asked_by(&HeaderMap::new()), Exposition::Text);
    }

    #[test]
    fn a_counter_is_described_by_its_whole_name() {
        let open_metrics = "# HELP up Whether\n# TYPE up gauge\nup{peer=\"a\"} 1\n\
            # HELP wait How long\n# TYPE wait_seconds gauge\n# UNIT wait_seconds seconds\n\
            # HELP sent How many were sent\n# TYPE sent counter\nsent_total{peer=\"a\"} 3\n# EOF\n";
        let expected = "# HELP up Whether\n# TYPE up gauge\nup{peer=\"a\"} 1\n\
            # HELP wait How long\n# TYPE wait_seconds gauge\n\
            # HELP sent_total How many were sent\n# TYPE sent_total counter\nsent_total{peer=\"a\"} 3\n";
        assert_eq!(Exposition::Text.write(open_metrics.to_owned()), expected);
        assert_eq!(Exposition::OpenMetrics.write(open_metrics.to_owned()), open_metrics);
    }
}
