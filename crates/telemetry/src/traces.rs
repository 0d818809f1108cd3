//! The tracer: always makes trace ids, exports spans when an OTLP endpoint is named.

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{FilterFn, Filtered};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer as _, filter};

use crate::export::Redacting;

/// The provider for `service`. Sampling follows `OTEL_TRACES_SAMPLER`, attributes `OTEL_RESOURCE_ATTRIBUTES`.
pub(crate) fn provider(
    service: &'static str,
    env: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<SdkTracerProvider> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let set = |name| env(name).filter(|value| !value.is_empty());
    let mut resource = Resource::builder();
    if set("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(format!("ragstone-{service}"));
    }
    let mut builder = SdkTracerProvider::builder().with_resource(resource.build());
    let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if let Some(endpoint) = endpoint.filter(|_| !disabled) {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&endpoint)
            .build()
            .with_context(|| format!("OTLP endpoint '{endpoint}' is unusable"))?;
        builder = builder.with_batch_exporter(Redacting(exporter));
    }
    Ok(builder.build())
}

/// The layer that turns our own spans, and what we tell within them from `info` up, into OpenTelemetry spans and their
/// events; libraries' spans would only be noise.
pub(crate) fn layer<S>(provider: &SdkTracerProvider) -> Filtered<OpenTelemetryLayer<S, Tracer>, FilterFn, S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let own: FilterFn = filter::filter_fn(|metadata| {
        metadata.target().starts_with("ragstone") && (metadata.is_span() || *metadata.level() <= tracing::Level::INFO)
    });
    tracing_opentelemetry::layer().with_tracer(provider.tracer("ragstone")).with_filter(own)
}
