//! Logs, traces and metrics: set up once per process, flushed by one guard. Personal data and secrets are redacted from
//! every log line and exported span, here and nowhere else.

mod config;
mod context;
mod export;
mod logs;
mod prometheus;
mod redact;
mod traces;

pub use config::{LogFormat, TelemetryConfig};
pub use context::{
    continue_trace, current_traceparent, headers_from_current, link_to, metadata_from_current, parent_from_headers,
    trace_id,
};
pub use metrics_exporter_prometheus::PrometheusHandle;
pub use redact::redact;

use anyhow::Context as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Keeps the exporters alive; dropping it flushes what is still queued.
pub struct Telemetry {
    traces: opentelemetry_sdk::trace::SdkTracerProvider,
    metrics: PrometheusHandle,
}

impl Telemetry {
    /// Renders `/metrics`.
    #[must_use]
    pub fn metrics(&self) -> PrometheusHandle {
        self.metrics.clone()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.traces.shutdown_with_timeout(std::time::Duration::from_secs(3)) {
            tracing::warn!(%error, "some traces could not be exported");
        }
    }
}

/// Sets up logs (to standard error), traces and metrics for `service`. `env` gives the environment, for the standard
/// variables `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_SDK_DISABLED` and `RUST_LOG`;
/// must be called inside a tokio runtime.
///
/// # Errors
/// When a filter or endpoint is unusable, or telemetry was set up before.
pub fn init(
    service: &'static str,
    config: &TelemetryConfig,
    env: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Telemetry> {
    let filter = logs::filter(config, env)?;
    let traces = traces::provider(service, env)?;
    let metrics = prometheus::install().context("metrics were set up before")?;
    prometheus::keep_up(metrics.clone());
    tracing_subscriber::registry()
        .with(traces::layer(&traces))
        .with(logs::layer(config.log_format, filter))
        .try_init()
        .context("logging was set up before")?;
    Ok(Telemetry { traces, metrics })
}
