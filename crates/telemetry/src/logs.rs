//! Log lines on standard error, each with the trace it belongs to.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use anyhow::Context as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::{LogFormat, TelemetryConfig, redact};

/// The filter of `RUST_LOG`, else of the configuration.
pub(crate) fn filter(config: &TelemetryConfig, env: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<EnvFilter> {
    match env("RUST_LOG").filter(|value| !value.is_empty()) {
        Some(value) => EnvFilter::try_new(&value).with_context(|| format!("RUST_LOG={value} is not a log filter")),
        None => EnvFilter::try_new(&config.log_level)
            .with_context(|| format!("telemetry.log_level = '{}' is not a log filter", config.log_level)),
    }
}

/// The layer that writes redacted lines to standard error.
pub(crate) fn layer<S>(format: LogFormat, filter: EnvFilter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    layer_to(io::stderr, format, filter)
}

fn layer_to<S, W>(writer: W, format: LogFormat, filter: EnvFilter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let text = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(Redacting(writer));
    if text {
        lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
    } else {
        let json = tracing_subscriber::fmt::format().json().flatten_event(true).with_current_span(true);
        lines.event_format(WithTrace(json)).fmt_fields(JsonFields::new()).with_filter(filter).boxed()
    }
}

/// Redacts what is written; a line comes in one piece.
struct Redacting<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Redacting<W> {
    type Writer = Redacting<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Redacting(self.0.make_writer())
    }
}

impl<W: Write> Write for Redacting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(redact(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::{Arc, Mutex};

    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat) -> String {
        let lines = Lines::default();
        let sink = lines.clone();
        let layer = layer_to(move || sink.clone(), format, EnvFilter::new("info"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("upload", user = "anna@example.org");
            let _inside = span.enter();
            let text = "first\n4111111111111111";
            tracing::info!(text, debugged = ?["+441632960961"], port = 8080, "paid by DE89370400440532013000");
            tracing::error!(error = %"no such key rsk_abc_Zm9vYmFy", "refused");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_carry_no_personal_data_and_stay_readable() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let written = written(format);
            for secret in ["anna", "41111", "44163", "DE893", "rsk_", "Zm9v"] {
                assert!(!written.contains(secret), "{secret} in {written}");
            }
            for kept in ["[email]", "[card]", "[phone]", "[iban]", "[key]", "8080", "paid by", "refused"] {
                assert!(written.contains(kept), "{kept} not in {written}");
            }
            if format == LogFormat::Json {
                assert!(
                    written.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
                    "{written}"
                );
            }
        }
    }
}
