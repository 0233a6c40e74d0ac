//! Numbers for Prometheus. The recorder belongs to one running client API, so that several can live in
//! one process, and every handle is made once: recording costs an atomic addition.

use crate::app::App;
use axum::http::{Method, StatusCode};
use bank_proto::tls::{Door, Identity};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

const REQUESTS: &str = "florin_http_requests_total";
const DURATION: &str = "florin_http_request_duration_seconds";
const IN_FLIGHT: &str = "florin_http_requests_in_flight";
const SHED: &str = "florin_http_requests_shed_total";
const WAITING: &str = "florin_branch_server_operations_waiting";
const UNANSWERED: &str = "florin_branch_server_operations_unanswered";
const CONNECTED: &str = "florin_branch_server_connected";
const EXPIRY: &str = "florin_certificate_expiry_timestamp_seconds";
const BUILD: &str = "florin_build_info";

/// Upper bounds of the duration histogram, in seconds: from a lone deposit on a fast disk to a deadline.
const DURATION_BUCKETS: [f64; 13] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Every status that is answered here; see [`bank_proto::ErrorCode`].
const STATUSES: [u16; 19] =
    [200, 201, 202, 303, 304, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 431, 500, 503, 504];

const METADATA: Metadata<'static> = Metadata::new("client_api", Level::INFO, Some("client_api"));

/// All that one client API counts.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    routes: HashMap<String, Route>,
    /// For requests that met no route.
    unmatched: RouteMetrics,
    pub(crate) shed: Counter,
    in_flight: Gauge,
    servers: Vec<ServerMetrics>,
}

/// The methods of one path.
struct Route {
    methods: Vec<(Method, RouteMetrics)>,
    /// For a method that the path does not have.
    other: RouteMetrics,
}

/// One path and method.
pub(crate) struct RouteMetrics {
    labels: [Label; 2],
    duration: Histogram,
    /// In the order of [`STATUSES`], the last for any other. Made when first met, so that /metrics shows
    /// what happened and not what could.
    requests: [OnceLock<Counter>; STATUSES.len() + 1],
}

struct ServerMetrics {
    waiting: Gauge,
    unanswered: Gauge,
    connected: Gauge,
}

impl Metrics {
    /// For these paths and methods, and so many branch servers.
    ///
    /// # Errors
    /// The bucket bounds are wrong, which only a change to this file can make.
    pub(crate) fn new(routes: &[(String, Method)], servers: usize) -> Result<Metrics, BuildError> {
        let recorder = PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS)?.build_recorder();
        describe(&recorder);
        let mut by_path: HashMap<String, Route> = HashMap::new();
        for (path, method) in routes {
            let route = by_path
                .entry(path.clone())
                .or_insert_with(|| Route { methods: Vec::new(), other: RouteMetrics::new(&recorder, path, "other") });
            route.methods.push((method.clone(), RouteMetrics::new(&recorder, path, method.as_str())));
        }
        let server = |ordinal: usize| {
            let gauge = |name: &'static str| {
                let labels = vec![Label::new("server", ordinal.to_string())];
                recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
            };
            ServerMetrics { waiting: gauge(WAITING), unanswered: gauge(UNANSWERED), connected: gauge(CONNECTED) }
        };
        let build = vec![Label::new("version", env!("CARGO_PKG_VERSION")), Label::new("program", "client-api")];
        recorder.register_gauge(&Key::from_parts(BUILD, build), &METADATA).set(1.0);
        Ok(Metrics {
            handle: recorder.handle(),
            routes: by_path,
            unmatched: RouteMetrics::new(&recorder, "unmatched", "other"),
            shed: recorder.register_counter(&Key::from_name(SHED), &METADATA),
            in_flight: recorder.register_gauge(&Key::from_name(IN_FLIGHT), &METADATA),
            servers: (0..servers).map(server).collect(),
            recorder,
        })
    }

    /// Where to record a request to this path, as the route table writes it, by this method.
    pub(crate) fn route(&self, path: Option<&str>, method: &Method) -> &RouteMetrics {
        match path.and_then(|path| self.routes.get(path)) {
            Some(route) => {
                route.methods.iter().find(|(known, _)| known == method).map_or(&route.other, |(_, metrics)| metrics)
            }
            None => &self.unmatched,
        }
    }

    /// Records a finished request.
    pub(crate) fn record(&self, route: &RouteMetrics, status: StatusCode, elapsed: Duration) {
        let place = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len());
        route.requests[place].get_or_init(|| route.counter(&self.recorder, place)).increment(1);
        route.duration.record(elapsed);
    }

    /// The text that Prometheus reads.
    pub(crate) fn render(&self, app: &App) -> String {
        self.in_flight.set(f64::from(app.in_flight.count()));
        for (server, line) in self.servers.iter().zip(app.bank.lines()) {
            server.waiting.set(count(line.waiting));
            server.unanswered.set(count(line.unanswered));
            server.connected.set(f64::from(u8::from(line.connected)));
        }
        let ends = [
            ("tls", app.identity.as_ref().and_then(Identity::expires_at)),
            ("https", app.door.as_ref().and_then(Door::expires_at)),
        ];
        for (certificate, expires_at) in ends.into_iter().filter_map(|(end, expires_at)| Some((end, expires_at?))) {
            let labels = vec![Label::new("certificate", certificate)];
            self.recorder.register_gauge(&Key::from_parts(EXPIRY, labels), &METADATA).set(expires_at as f64);
        }
        self.handle.render()
    }

    /// Folds what was recorded into the histograms; without it they grow.
    pub(crate) fn fold(&self) {
        self.handle.run_upkeep();
    }
}

fn count(operations: usize) -> f64 {
    f64::from(u32::try_from(operations).unwrap_or(u32::MAX))
}

fn describe(recorder: &PrometheusRecorder) {
    let counter = |name: &'static str, text: &'static str| {
        recorder.describe_counter(KeyName::from_const_str(name), None, SharedString::const_str(text));
    };
    counter(REQUESTS, "Requests answered, by route template, method and status.");
    counter(SHED, "Requests refused at once because too many were in work.");
    let gauge = |name: &'static str, text: &'static str| {
        recorder.describe_gauge(KeyName::from_const_str(name), None, SharedString::const_str(text));
    };
    gauge(IN_FLIGHT, "Requests in work.");
    gauge(WAITING, "Operations that wait to be sent to a branch server.");
    gauge(UNANSWERED, "Operations sent to a branch server and not yet answered.");
    gauge(CONNECTED, "1 while the conversation with a branch server is open.");
    gauge(EXPIRY, "When the certificate in use expires: tls towards branch servers, https for callers.");
    gauge(BUILD, "1, with the version as a label.");
    recorder.describe_histogram(
        KeyName::from_const_str(DURATION),
        Some(Unit::Seconds),
        SharedString::const_str("Time from a request's head to its answer, by route template and method."),
    );
}

impl RouteMetrics {
    fn new(recorder: &PrometheusRecorder, path: &str, method: &str) -> RouteMetrics {
        let labels = [Label::new("route", path.to_owned()), Label::new("method", method.to_owned())];
        let duration = recorder.register_histogram(&Key::from_parts(DURATION, labels.to_vec()), &METADATA);
        RouteMetrics { labels, duration, requests: std::array::from_fn(|_| OnceLock::new()) }
    }

    fn counter(&self, recorder: &PrometheusRecorder, place: usize) -> Counter {
        let status = STATUSES.get(place).map_or_else(|| "other".to_owned(), u16::to_string);
        let labels = [self.labels.as_slice(), &[Label::new("status", status)]].concat();
        recorder.register_counter(&Key::from_parts(REQUESTS, labels), &METADATA)
    }
}
