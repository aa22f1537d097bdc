//! Metrics that every HTTP service has: requests, their duration, errors, connections.
//!
//! Labels have few, fixed values: a route's name, never a path, an id or an address.

use std::time::Duration;

use axum::response::Response;
use els_protocol::Code;
use http::Method;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::logs::lines_lost;

/// The metrics of requests and connections.
pub struct RequestMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabel, Histogram>,
    problems: Family<CodeLabel, Counter>,
    /// Open connections.
    pub connections: Gauge,
}

impl RequestMetrics {
    /// Metrics that start at zero, in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = RequestMetrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            problems: Family::default(),
            connections: Gauge::default(),
        };
        // Present from the start: the first error then shows as an increase.
        for code in Code::ALL {
            drop(metrics.problems.get_or_create(&CodeLabel { code: code.as_str() }));
        }
        registry.register(
            "requests",
            "Requests answered, except those that the service counts separately",
            metrics.requests.clone(),
        );
        registry.register_with_unit("request", "Time from request to response", Unit::Seconds, metrics.seconds.clone());
        registry.register(
            "problems",
            "Errors answered, except those that the service counts separately",
            metrics.problems.clone(),
        );
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("log_lines_lost", "Log lines lost because the reader of the log is too slow", lines_lost());
        metrics
    }

    /// Counts one response.
    pub fn answered(&self, route: &'static str, method: &Method, response: &Response, duration: Duration) {
        // Clients can send any method; the label must have few values.
        let known = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];
        let method = known.into_iter().find(|known| method.as_str() == *known).unwrap_or("other");
        let status = response.status().as_u16();
        self.requests.get_or_create(&RequestLabels { route, method, status }).inc();
        self.seconds.get_or_create(&RouteLabel { route }).observe(duration.as_secs_f64());
        if let Some(code) = response.extensions().get::<Code>() {
            self.problems.get_or_create(&CodeLabel { code: code.as_str() }).inc();
        }
    }
}

/// All metrics of a registry in the OpenMetrics text format.
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("writing to a String cannot fail");
    text
}

/// The media type of [`text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

const BUCKETS: [f64; 9] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;
    use crate::problem::ProblemResponse;

    #[test]
    fn requests_and_errors_are_counted_with_fixed_labels() {
        let mut registry = Registry::with_prefix("x");
        let metrics = RequestMetrics::register(&mut registry);
        let time = Duration::from_millis(2);
        metrics.answered("/a", &Method::GET, &Response::default(), time);
        let refused = ProblemResponse::new(Code::Unavailable).into_response();
        metrics.answered("/a", &Method::from_bytes(b"EVIL").unwrap(), &refused, time);
        let text = text(&registry);
        for line in [
            r#"x_problems_total{code="unavailable"} 1"#,
            r#"x_problems_total{code="rate-limited"} 0"#,
            r#"x_requests_total{route="/a",method="GET",status="200"} 1"#,
            r#"x_requests_total{route="/a",method="other",status="503"} 1"#,
            r#"x_request_seconds_count{route="/a"} 2"#,
            "x_connections 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
