//! The findings: checks of the service and of each link, and the diagnosis that follows from them.

use serde::Serialize;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Passed,
    /// It works, and somebody should know.
    Warning,
    Failed,
    /// It cannot be known from here.
    Unknown,
}

/// A cause that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its code, which is stable: programs rely on it.
    pub(super) code: String,
    /// The cause in words.
    pub(super) text: String,
    /// The remedy.
    pub(super) remedy: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    check: &'static str,
    outcome: Outcome,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// The checks of the link with one peer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PeerReport {
    pub(super) peer: String,
    pub(super) role: &'static str,
    pub(super) checks: Vec<Check>,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    healthy: bool,
    running: bool,
    /// Checks of the service itself.
    checks: Vec<Check>,
    peers: Vec<PeerReport>,
    diagnoses: Vec<Diagnosis>,
    /// What works, and is worth knowing.
    warnings: Vec<Diagnosis>,
}

/// A fault, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Diagnosis {
    /// `None` if it is about the service as a whole.
    peer: Option<String>,
    code: String,
    text: String,
    remedy: String,
}

impl Finding {
    pub(super) fn new(
        code: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { code: code.into(), text: text.into(), remedy: remedy.into() }
    }
}

impl Check {
    pub(super) fn passed(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Passed, text: text.into(), code: None, remedy: None }
    }

    pub(super) fn unknown(check: &'static str, text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Unknown, ..Self::passed(check, text) }
    }

    pub(super) fn failed(check: &'static str, finding: Finding) -> Self {
        let Finding { code, text, remedy } = finding;
        Self { check, outcome: Outcome::Failed, text, code: Some(code), remedy: Some(remedy) }
    }

    pub(super) fn warning(check: &'static str, finding: Finding) -> Self {
        Self { outcome: Outcome::Warning, ..Self::failed(check, finding) }
    }

    fn diagnosis(&self, peer: Option<&str>) -> Option<Diagnosis> {
        let (code, remedy) = (self.code.clone()?, self.remedy.clone()?);
        Some(Diagnosis { peer: peer.map(str::to_owned), code, text: self.text.clone(), remedy })
    }

    fn line(&self) -> String {
        let mark = match self.outcome {
            Outcome::Passed => "\u{1b}[32mok\u{1b}[0m     ",
            Outcome::Warning => "\u{1b}[33mwarn\u{1b}[0m   ",
            Outcome::Failed => "\u{1b}[31mFAILED\u{1b}[0m ",
            Outcome::Unknown => "?      ",
        };
        format!("  {mark}{}: {}", self.check, self.text)
    }
}

impl Report {
    pub(super) fn new(running: bool, checks: Vec<Check>, peers: Vec<PeerReport>) -> Self {
        let of_own = checks.iter().map(|check| (None, check));
        let of_peers = peers.iter().flat_map(|report| {
            report.checks.iter().map(|check| (Some(report.peer.as_str()), check))
        });
        let all: Vec<_> = of_own.chain(of_peers).collect();
        let with = |outcome| {
            let those = all.iter().filter(move |(_, check)| check.outcome == outcome);
            those.filter_map(|(peer, check)| check.diagnosis(*peer)).collect::<Vec<_>>()
        };
        let (mut diagnoses, warnings) = (with(Outcome::Failed), with(Outcome::Warning));
        diagnoses.sort_by_key(|diagnosis| GENERAL.iter().position(|code| *code == diagnosis.code));
        let healthy = diagnoses.is_empty();
        Self { healthy, running, checks, peers, diagnoses, warnings }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy
    }

    pub(super) fn text(&self) -> String {
        let mut lines = vec!["This service".to_owned()];
        lines.extend(self.checks.iter().map(Check::line));
        for peer in &self.peers {
            lines.push(format!("\nThe link with {} ({})", peer.peer, peer.role));
            lines.extend(peer.checks.iter().map(Check::line));
        }
        if self.diagnoses.is_empty() {
            lines.push("\nNothing is wrong.".to_owned());
        }
        for Diagnosis { peer, code, text, remedy } in self.diagnoses.iter().chain(&self.warnings) {
            let about = peer.as_deref().map(|peer| format!("{peer}: ")).unwrap_or_default();
            lines.push(format!("\n{about}{text} [{code}]\n  {remedy}"));
        }
        lines.join("\n")
    }
}

/// Codes that explain less than anything else that is wrong: in a configuration that can be used, a
/// problem is seldom the cause; a service is not ready because of something else; and that nobody runs
/// it is the cause of nothing else.
const GENERAL: [&str; 3] = [CONFIGURATION, NOT_READY, NOT_RUNNING];
/// The code for a problem that `paddington check` finds.
pub(super) const CONFIGURATION: &str = "configuration";
/// The code for a service that runs and cannot do its work.
pub(super) const NOT_READY: &str = "not_ready";
/// The code for a service that nobody runs.
pub(super) const NOT_RUNNING: &str = "not_running";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diagnosis_begins_with_what_explains_the_most() {
        let own = vec![
            Check::passed("configuration", "it is good"),
            Check::failed("service", Finding::new(NOT_RUNNING, "nobody runs it", "Start it.")),
        ];
        let refused = Finding::new("connection_refused", "nobody listens", "Start the server.");
        let checks =
            vec![Check::failed("connection", refused), Check::unknown("handshake", "later")];
        let hub = PeerReport { peer: "hub".to_owned(), role: "server", checks };
        let report = Report::new(false, own, vec![hub]);
        assert!(!report.is_healthy());
        let codes: Vec<_> = report.diagnoses.iter().map(|it| &*it.code).collect();
        assert_eq!(codes, ["connection_refused", NOT_RUNNING]);
        let text = report.text();
        assert!(text.contains("hub: nobody listens [connection_refused]\n  Start the server."));
        assert!(Report::new(true, Vec::new(), Vec::new()).text().ends_with("Nothing is wrong."));
    }

    #[test]
    fn a_warning_is_told_and_is_nothing_wrong() {
        let clock = Finding::new("clock_differs", "the clock is late", "Set it.");
        let report = Report::new(true, vec![Check::warning("clock", clock)], Vec::new());
        assert!(report.is_healthy());
        let text = report.text();
        assert!(text.contains("clock: the clock is late\n\nNothing is wrong."), "{text}");
        assert!(text.ends_with("the clock is late [clock_differs]\n  Set it."), "{text}");
    }
}
