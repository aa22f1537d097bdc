//! What can be watched: counters for Prometheus, served on the admin listener.
//!
//! Owns the names of the metrics. Labels are few and fixed: never a key, an id, a path or an address, of which there is
//! no end.

use els_protocol::Code;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    problems: Family<Problem, Counter>,
    /// Answers of the gate to `/v1/repo-auth` and `/repo/`.
    pub gate: GateAnswers,
    /// Questions that the gate put to the database.
    pub gate_lookups: Counter,
    /// Credentials that the gate remembers.
    pub gate_remembered: Gauge,
    /// Seconds since this node last knew of every change.
    pub gate_sync_age: Gauge,
    /// Requests answered with 429 because their address had failed too often.
    pub limited: Counter,
    /// Connections that are open.
    pub connections: Gauge,
}

/// The gate's answers, each counter at hand: the hot path looks nothing up.
#[derive(Default)]
pub struct GateAnswers {
    /// The path may be fetched.
    pub open: Counter,
    /// No credential, or not a good one.
    pub unauthenticated: Counter,
    /// A good credential whose key or product does not open the path, or a path that is not judged.
    pub forbidden: Counter,
    /// It could not be known.
    pub unknown: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Problem {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    answer: &'static str,
}

impl Metrics {
    /// Metrics that all stand at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("els");
        let metrics = Metrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            problems: Family::default(),
            gate: GateAnswers::default(),
            gate_lookups: Counter::default(),
            gate_remembered: Gauge::default(),
            gate_sync_age: Gauge::default(),
            limited: Counter::default(),
            connections: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests answered, without those to the gate", metrics.requests.clone());
        registry.register_with_unit("request", "Time to an answer", Unit::Seconds, metrics.seconds.clone());
        // At zero from the start: a first one shows as a rise.
        for code in Code::ALL {
            drop(metrics.problems.get_or_create(&Problem { code: code.as_str() }));
        }
        registry.register("problems", "Errors answered, without those of the gate", metrics.problems.clone());
        let version = Family::<Version, Gauge>::default();
        version.get_or_create(&Version { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version of this els-backend", version);
        let answers: Family<Answer, Counter> = Family::new_with_constructor(Counter::default);
        let answer = |answer| answers.get_or_create_owned(&Answer { answer });
        let gate = GateAnswers {
            open: answer("open"),
            unauthenticated: answer("unauthenticated"),
            forbidden: answer("forbidden"),
            unknown: answer("unknown"),
        };
        registry.register("gate_answers", "Answers of the gate", answers);
        registry.register("gate_lookups", "Questions of the gate to the database", metrics.gate_lookups.clone());
        registry.register("gate_remembered", "Credentials that the gate remembers", metrics.gate_remembered.clone());
        registry.register_with_unit(
            "gate_sync_age",
            "Time since this node last knew of every change",
            Unit::Seconds,
            metrics.gate_sync_age.clone(),
        );
        registry.register("limited", "Requests refused for the failures of their address", metrics.limited.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        Metrics { registry, gate, ..metrics }
    }

    /// Counts one answer.
    pub fn answered(&self, route: &'static str, method: &http::Method, status: u16, seconds: f64) {
        // A method is what the client makes it; the label is not.
        let known = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];
        let method = known.into_iter().find(|known| method.as_str() == *known).unwrap_or("other");
        self.requests.get_or_create(&Answered { route, method, status }).inc();
        self.seconds.get_or_create(&Route { route }).observe(seconds);
    }

    /// Counts one answer that is an error of the contract.
    pub fn problem(&self, code: Code) {
        self.problems.get_or_create(&Problem { code: code.as_str() }).inc();
    }

    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes all that is written to it");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const BUCKETS: [f64; 9] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: no-secret-logged
    #[test]
    fn metrics_are_openmetrics_text_with_fixed_labels() {
        let metrics = Metrics::new();
        metrics.gate.open.inc();
        metrics.answered("/v1/seats", &http::Method::GET, 200, 0.002);
        metrics.answered("/v1/seats", &http::Method::from_bytes(b"EVIL").unwrap(), 400, 0.002);
        metrics.problem(Code::Unavailable);
        let text = metrics.text();
        for line in [
            r#"els_problems_total{code="unavailable"} 1"#,
            r#"els_problems_total{code="rate-limited"} 0"#,
            concat!("els_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            r#"els_gate_answers_total{answer="open"} 1"#,
            r#"els_requests_total{route="/v1/seats",method="GET",status="200"} 1"#,
            r#"els_requests_total{route="/v1/seats",method="other",status="400"} 1"#,
            r#"els_request_seconds_count{route="/v1/seats"} 2"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_shipped_alerts_ask_for_metrics_that_there_are() {
        let metrics = Metrics::new();
        metrics.answered("/v1/registrations/{id}", &http::Method::PUT, 201, 0.002);
        let text = metrics.text();
        let rules = include_str!("../../dist/prometheus/els-backend.rules.yml");
        let mut asked = 0;
        for line in rules.lines().filter(|line| line.trim_start().starts_with("expr:")) {
            for word in line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
                if word.starts_with("els_") {
                    let known =
                        |found: &str| found.starts_with(&format!("{word}{{")) || found.starts_with(&format!("{word} "));
                    assert!(text.lines().any(known), "{word} is in no line of\n{text}");
                    asked += 1;
                }
            }
        }
        assert!(asked > 5, "{asked}");
    }
}
