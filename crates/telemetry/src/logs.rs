//! Log lines on standard error, each with the trace it belongs to.

use std::fmt;
use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::{LogFormat, TelemetryConfig};

/// The filter of `RUST_LOG`, else of the configuration.
pub(crate) fn filter(config: &TelemetryConfig, env: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<EnvFilter> {
    match env("RUST_LOG").filter(|value| !value.is_empty()) {
        Some(value) => EnvFilter::try_new(&value).with_context(|| format!("RUST_LOG={value} is not a log filter")),
        None => EnvFilter::try_new(&config.log_level)
            .with_context(|| format!("telemetry.log_level = '{}' is not a log filter", config.log_level)),
    }
}

/// The layer that writes lines.
pub(crate) fn layer<S>(format: LogFormat, filter: EnvFilter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let text = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if text {
        lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
    } else {
        let json = tracing_subscriber::fmt::format().json().flatten_event(true).with_current_span(true);
        lines.event_format(WithTrace(json)).fmt_fields(JsonFields::new()).with_filter(filter).boxed()
    }
}

/// Puts `trace_id` first into each JSON line, so that a line leads to its trace.
struct WithTrace(Format<Json>);

impl<S, N> FormatEvent<S, N> for WithTrace
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    Format<Json>: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(trace_id) = crate::trace_id() else {
            return self.0.format_event(ctx, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{\"trace_id\":\"{trace_id}\",{rest}"),
            None => writer.write_str(&line),
        }
    }
}
