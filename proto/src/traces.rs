//! Traces: what one sampled request did, step by step, told to an OpenTelemetry collector over OTLP.
//!
//! A bank that moves thousands of orders in one group commit cannot have a step of each noted, so there is nothing
//! ambient here: what is not sampled has no [`Trace`], and costs a look at an [`Option`]. A step is a [`Span`], which
//! ends when it is dropped.

use crate::{Timestamp, wire};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use std::time::{Duration, SystemTime};

/// The header and the metadata in which W3C Trace Context names a trace and the step that caused a request.
pub const TRACEPARENT: &str = "traceparent";

/// What other systems want to be passed on with it.
pub const TRACESTATE: &str = "tracestate";

/// Bytes of it that are passed on (W3C Trace Context, 3.3.1.5).
const TRACESTATE_BYTES: usize = 512;

/// The name under which all steps are told.
const SCOPE: &str = "florin";

/// What an end waits for the collector to take the last steps.
const LAST_EXPORT: Duration = Duration::from_secs(3);

/// Where traces go to, and how many.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The collector's URL for OTLP over gRPC, such as `http://collector:4317`.
    pub collector: String,
    /// Of the requests that come without a trace, the part that begins one: 0 none, 1 all.
    pub ratio: f64,
    /// The service that tells, as `service.name`.
    pub service: &'static str,
    /// Which of its instances, as `service.instance.id`.
    pub instance: Option<String>,
}

/// The collector cannot be told anything, because its address is not one. Correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is not the URL of an OTLP collector such as http://127.0.0.1:4317")]
pub struct InvalidCollector {
    /// What was given.
    pub url: String,
}

/// Begins traces and takes those of others up. Cheap to clone; switched off, it does nothing.
#[derive(Clone, Default)]
pub struct Traces(Option<Exporting>);

#[derive(Clone)]
struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A place in a sampled trace, from which further steps begin.
#[derive(Clone)]
pub struct Trace {
    tracer: SdkTracer,
    cause: SpanContext,
}

/// One step of a sampled request. It ends when it is dropped.
pub struct Span {
    tracer: SdkTracer,
    span: opentelemetry_sdk::trace::Span,
}

impl Traces {
    /// Nothing is traced.
    #[must_use]
    pub fn off() -> Traces {
        Traces(None)
    }

    /// Tells a collector. Must be called inside the runtime, whose task keeps the connection. A collector that
    /// cannot be reached is tried again with each batch of steps; those it does not take are lost, and the bank
    /// does not wait for them.
    ///
    /// # Errors
    /// The address is not one.
    pub fn to(settings: TraceSettings) -> Result<Traces, InvalidCollector> {
        let TraceSettings { collector, ratio, service, instance } = settings;
        check(&collector)?;
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(collector.as_str()).build();
        let exporter = exporter.map_err(|_| InvalidCollector { url: collector })?;
        let instance = instance.map(|instance| KeyValue::new("service.instance.id", instance));
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attributes(instance)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer(SCOPE);
        Ok(Traces(Some(Exporting { provider, tracer })))
    }

    /// The first step here of a request that came from outside with these two headers, or without. Whether it is
    /// sampled says the trace that it belongs to, and without one the ratio.
    #[must_use]
    pub fn enter(&self, name: &'static str, traceparent: Option<&str>, tracestate: Option<&str>) -> Option<Span> {
        let Exporting { tracer, .. } = self.0.as_ref()?;
        let cause = match traceparent {
            Some(traceparent) => read(traceparent, tracestate.unwrap_or_default()),
            None => Context::new(),
        };
        let builder = tracer.span_builder(name).with_kind(SpanKind::Server);
        let span = builder.start_with_context(tracer, &cause);
        let is_sampled = span.span_context().is_sampled();
        is_sampled.then(|| Span { tracer: tracer.clone(), span })
    }

    /// The place in a trace that another part of the bank names; None when it is not sampled or not readable.
    #[must_use]
    pub fn join(&self, traceparent: &str, tracestate: &str) -> Option<Trace> {
        let Exporting { tracer, .. } = self.0.as_ref()?;
        let cause = read(traceparent, tracestate).span().span_context().clone();
        cause.is_sampled().then(|| Trace { tracer: tracer.clone(), cause })
    }

    /// Tells the collector what it does not know yet, and ends.
    pub async fn end(self) {
        let Some(Exporting { provider, .. }) = self.0 else { return };
        // It waits for the thread that exports, which in turn needs this runtime.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_EXPORT)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the collector did not take the last traces");
        }
    }
}

/// Checks a collector's URL without connecting.
///
/// # Errors
/// It is not one, or asks for TLS, which traces do not speak.
pub fn check(collector: &str) -> Result<(), InvalidCollector> {
    let uri: Option<tonic::transport::Uri> = collector.parse().ok();
    match uri {
        Some(uri) if uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()) => Ok(()),
        _ => Err(InvalidCollector { url: collector.to_owned() }),
    }
}

/// Checks the part of requests that begins a trace.
///
/// # Errors
/// It is not a number from 0 to 1.
pub fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| "must be a number from 0 to 1".to_owned())?;
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err("must be a number from 0 to 1".to_owned()) }
}

impl Trace {
    /// Begins a step that this one caused.
    #[must_use]
    pub fn begin(&self, name: &'static str, kind: Kind) -> Span {
        let builder = self.tracer.span_builder(name).with_kind(kind.into());
        let span = builder.start_with_context(&self.tracer, &self.context());
        Span { tracer: self.tracer.clone(), span }
    }

    /// Notes a step that is over.
    pub fn note(&self, name: &'static str, began: Timestamp, ended: Timestamp, attributes: &[(&'static str, i64)]) {
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, *value));
        let builder = self.tracer.span_builder(name).with_kind(SpanKind::Internal);
        let builder = builder.with_start_time(system_time(began)).with_attributes(attributes.collect::<Vec<_>>());
        let mut span = builder.start_with_context(&self.tracer, &self.context());
        span.end_with_timestamp(system_time(ended));
    }

    /// This place, as W3C Trace Context writes it.
    #[must_use]
    fn traceparent(&self) -> String {
        let (trace, span) = (self.cause.trace_id(), self.cause.span_id());
        format!("00-{trace}-{span}-{:02x}", self.cause.trace_flags().to_u8())
    }

    /// What other systems want to be passed on; often empty.
    #[must_use]
    fn tracestate(&self) -> String {
        self.cause.trace_state().header()
    }

    /// The headers, or metadata, that name this place to whoever is asked next.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        [(TRACEPARENT, self.traceparent()), (TRACESTATE, self.tracestate())]
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
    }

    /// The same for one of the operations of a message, by its place there.
    #[must_use]
    pub fn to_wire(&self, operation: usize) -> wire::TraceContext {
        wire::TraceContext {
            operation: u32::try_from(operation).unwrap_or(u32::MAX),
            traceparent: self.traceparent(),
            tracestate: self.tracestate(),
        }
    }

    fn context(&self) -> Context {
        Context::new().with_remote_span_context(self.cause.clone())
    }
}

impl Span {
    /// From where further steps begin.
    #[must_use]
    pub fn trace(&self) -> Trace {
        Trace { tracer: self.tracer.clone(), cause: self.span.span_context().clone() }
    }

    /// Says something about it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    /// Says what it is, when that is known only now.
    pub fn rename(&mut self, name: String) {
        self.span.update_name(name);
    }

    /// Says that the bank failed at it. A refusal is an answer, not a failure.
    pub fn fail(&mut self, reason: &'static str) {
        self.span.set_status(Status::error(reason));
    }
}

/// What a step is to those before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Asks another process.
    Client,
    /// Is asked by another process.
    Server,
}

impl From<Kind> for SpanKind {
    fn from(kind: Kind) -> SpanKind {
        match kind {
            Kind::Client => SpanKind::Client,
            Kind::Server => SpanKind::Server,
        }
    }
}

fn read(traceparent: &str, tracestate: &str) -> Context {
    // As much as W3C has everybody pass on; more would let callers fill messages that others share.
    let tracestate = if tracestate.len() > TRACESTATE_BYTES { "" } else { tracestate };
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers { traceparent, tracestate })
}

struct Headers<'a> {
    traceparent: &'a str,
    tracestate: &'a str,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.traceparent),
            TRACESTATE => Some(self.tracestate).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

fn system_time(timestamp: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(timestamp.0).unwrap_or(0))
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.traceparent())
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.trace().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn traces(ratio: f64) -> Traces {
        let collector = "http://127.0.0.1:9".to_owned();
        Traces::to(TraceSettings { collector, ratio, service: "test", instance: None }).expect("an address")
    }

    #[tokio::test]
    async fn a_request_of_a_sampled_trace_is_sampled_whatever_the_ratio_and_belongs_to_it() {
        let span = traces(0.0).enter("step", Some(SAMPLED), Some("other=1")).expect("sampled");
        let trace = span.trace();
        assert!(trace.traceparent().starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{trace:?}");
        assert!(trace.traceparent().ends_with("-01"), "{trace:?}");
        assert_ne!(trace.traceparent(), SAMPLED);
        assert_eq!(trace.tracestate(), "other=1");
    }

    #[tokio::test]
    async fn what_others_want_passed_on_is_passed_on_up_to_a_limit() {
        let traces = traces(1.0);
        // Each member is one that W3C allows.
        for (members, kept) in [(2, 2 * 202 + 1), (3, 0)] {
            let tracestate: Vec<String> = (0..members).map(|n| format!("{n}={}", "b".repeat(200))).collect();
            let trace = traces.join(SAMPLED, &tracestate.join(",")).expect("sampled");
            assert_eq!(trace.tracestate().len(), kept, "{members} members");
        }
    }

    #[tokio::test]
    async fn a_request_of_a_trace_that_is_not_sampled_is_not() {
        let unsampled = SAMPLED.replace("-01", "-00");
        assert!(traces(1.0).enter("step", Some(&unsampled), None).is_none());
        assert!(traces(1.0).join(&unsampled, "").is_none());
    }

    #[tokio::test]
    async fn without_a_trace_or_with_one_that_cannot_be_read_the_ratio_decides() {
        for traceparent in [None, Some("nonsense"), Some("00-0-0-01"), Some("")] {
            assert!(traces(1.0).enter("step", traceparent, None).is_some(), "{traceparent:?}");
            assert!(traces(0.0).enter("step", traceparent, None).is_none(), "{traceparent:?}");
        }
        assert!(traces(1.0).join("nonsense", "").is_none());
    }

    #[test]
    fn switched_off_nothing_is_traced() {
        assert!(Traces::off().enter("step", Some(SAMPLED), None).is_none());
        assert!(Traces::off().join(SAMPLED, "").is_none());
    }

    #[test]
    fn a_collector_is_told_by_a_url_without_tls() {
        for url in ["", "collector:4317", "https://collector:4317", "http://", "ftp://collector"] {
            assert_eq!(check(url), Err(InvalidCollector { url: url.to_owned() }), "{url}");
        }
        assert_eq!(check("http://collector.monitoring:4317"), Ok(()));
    }

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        for text in ["", "x", "-0.1", "1.1", "NaN", "inf"] {
            assert!(ratio(text).is_err(), "{text}");
        }
        assert_eq!(ratio("0.25"), Ok(0.25));
    }
}
