//! The metrics of the backend, in the OpenMetrics text format on the admin listener.
//!
//! Owns the names of the backend's own metrics; those of every HTTP service are in `els_server::metrics`. Labels have few,
//! fixed values: never a key, an id, a path or an address.

use els_server::metrics::{self, RequestMetrics};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    pub requests: RequestMetrics,
    pub gate: GateAnswers,
    pub gate_lookups: Counter,
    pub gate_remembered: Gauge,
    pub gate_sync_age: Gauge,
    pub limited: Counter,
    upkeep_runs: Family<RunLabels, Counter>,
    upkeep_success: Family<JobLabel, Gauge>,
}

/// The gate's answers. Each counter is a field: the hot path looks nothing up.
pub struct GateAnswers {
    pub open: Counter,
    pub unauthenticated: Counter,
    pub forbidden: Counter,
    pub unknown: Counter,
}

/// The metrics of one upkeep job.
pub struct JobMetrics {
    /// Runs that succeeded.
    pub done: Counter,
    /// Runs that failed.
    pub failed: Counter,
    /// Times at which another node had the job.
    pub elsewhere: Counter,
    /// Unix time of the last success on this node; 0 for none.
    pub last_success: Gauge,
}

impl Metrics {
    /// Metrics that start at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("els");
        let requests = RequestMetrics::register(&mut registry);
        let version = Family::<VersionLabel, Gauge>::default();
        version.get_or_create(&VersionLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version of this els-backend", version);
        let answers: Family<AnswerLabel, Counter> = Family::default();
        let answer = |answer| answers.get_or_create_owned(&AnswerLabel { answer });
        let gate = GateAnswers {
            open: answer("open"),
            unauthenticated: answer("unauthenticated"),
            forbidden: answer("forbidden"),
            unknown: answer("unknown"),
        };
        registry.register("gate_answers", "Answers of the gate", answers);
        let metrics = Metrics {
            registry: Registry::default(),
            requests,
            gate,
            gate_lookups: Counter::default(),
            gate_remembered: Gauge::default(),
            gate_sync_age: Gauge::default(),
            limited: Counter::default(),
            upkeep_runs: Family::default(),
            upkeep_success: Family::default(),
        };
        registry.register("gate_lookups", "Look-ups of the gate in the database", metrics.gate_lookups.clone());
        registry.register("gate_remembered", "Credentials in the gate's memory", metrics.gate_remembered.clone());
        registry.register_with_unit(
            "gate_sync_age",
            "Time since this node last applied all changes",
            Unit::Seconds,
            metrics.gate_sync_age.clone(),
        );
        registry.register("limited", "Requests refused for the failures of their network", metrics.limited.clone());
        registry.register("upkeep_runs", "Runs of upkeep jobs on this node", metrics.upkeep_runs.clone());
        registry.register_with_unit(
            "upkeep_last_success_timestamp",
            "Unix time of the last successful run on this node, 0 for none",
            Unit::Seconds,
            metrics.upkeep_success.clone(),
        );
        Metrics { registry, ..metrics }
    }

    /// The metrics of an upkeep job, present from now on.
    pub fn job(&self, job: &'static str) -> JobMetrics {
        let runs = |result| self.upkeep_runs.get_or_create_owned(&RunLabels { name: job, result });
        let last_success = self.upkeep_success.get_or_create_owned(&JobLabel { name: job });
        JobMetrics { done: runs("done"), failed: runs("failed"), elsewhere: runs("elsewhere"), last_success }
    }

    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        metrics::text(&self.registry)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabel {
    answer: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    // Not `job`: Prometheus gives every series a label of that name.
    name: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabel {
    name: &'static str,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::response::Response;
    use http::Method;

    use super::*;

    /// Promise: no-secret-logged
    #[test]
    fn metrics_are_openmetrics_text_with_fixed_labels() {
        let metrics = Metrics::new();
        metrics.gate.open.inc();
        let job = metrics.job("erase-ids");
        job.done.inc();
        job.last_success.set(7);
        let text = metrics.text();
        for line in [
            concat!("els_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            r#"els_problems_total{code="unavailable"} 0"#,
            r#"els_gate_answers_total{answer="open"} 1"#,
            r#"els_upkeep_runs_total{name="erase-ids",result="done"} 1"#,
            r#"els_upkeep_runs_total{name="erase-ids",result="failed"} 0"#,
            r#"els_upkeep_runs_total{name="erase-ids",result="elsewhere"} 0"#,
            r#"els_upkeep_last_success_timestamp_seconds{name="erase-ids"} 7"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_shipped_alerts_use_metrics_that_exist() {
        let metrics = Metrics::new();
        metrics.job("erase-ids");
        let response = Response::default();
        metrics.requests.answered("/v1/registrations/{id}", &Method::PUT, &response, Duration::from_millis(2));
        let text = metrics.text();
        let rules = include_str!("../../dist/prometheus/els-backend.rules.yml");
        let mut used = 0;
        for line in rules.lines().filter(|line| line.trim_start().starts_with("expr:")) {
            for word in line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
                if word.starts_with("els_") {
                    let known =
                        |found: &str| found.starts_with(&format!("{word}{{")) || found.starts_with(&format!("{word} "));
                    assert!(text.lines().any(known), "{word} is in no line of\n{text}");
                    used += 1;
                }
            }
        }
        assert!(used > 5, "{used}");
    }
}
