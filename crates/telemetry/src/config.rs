//! The `[telemetry]` section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Readable on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// Readable lines.
    Text,
}

/// Logs, traces and metrics. Traces are exported when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// How log lines look: `auto`, `json` or `text`.
    pub log_format: LogFormat,
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or `target=level` pairs joined by commas.
    /// `RUST_LOG` overrides it.
    pub log_level: String,
}

impl TelemetryConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let usable = tracing_subscriber::EnvFilter::try_new(&self.log_level);
        usable.map(|_| ()).map_err(|error| format!("log_level '{}' is not a log filter: {error}", self.log_level))
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log_format: LogFormat::Auto, log_level: "info,qdrant_edge=error,async_openai=off".to_owned() }
    }
}
