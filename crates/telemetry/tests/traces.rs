//! What reaches a collector of traces: no personal data, whatever the span, event or status it stood in.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use fake_opentelemetry_collector::FakeCollectorServer;
use ragstone_telemetry::TelemetryConfig;

#[tokio::test(flavor = "multi_thread")]
async fn exported_spans_carry_no_personal_data() {
    let mut collector = FakeCollectorServer::start().await.unwrap();
    let endpoint = collector.endpoint().clone();
    let env = move |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone());
    let telemetry = ragstone_telemetry::init("test", &TelemetryConfig::default(), &env).unwrap();
    {
        let span = tracing::info_span!(
            target: "ragstone::test",
            "ask",
            query = "is anna@example.org at +441632960961",
            port = 8080,
            duration = "1234567 ms",
            trace = "4bf92f3577b34da6a3ce929d0e0e4736",
        );
        let _inside = span.enter();
        tracing::info!(target: "ragstone::test", account = "GB29NWBK60161331926819", "paid with 4111 1111 1111 1111");
        tracing::error!(target: "ragstone::test", error = "Bearer abc.def.ghijkl refused", "no");
    }
    tokio::task::spawn_blocking(move || drop(telemetry)).await.unwrap();
    let spans = collector.exported_spans(1, Duration::from_secs(10)).await;
    assert_eq!(spans.len(), 1);
    let told = format!("{spans:?}");
    for secret in ["anna", "44163", "GB29", "4111", "abc.def"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    for kept in
        ["[email]", "[phone]", "[iban]", "[card]", "[token]", "8080", "1234567 ms", "4bf92f3577b34da6a3ce929d0e0e4736"]
    {
        assert!(told.contains(kept), "{kept} not in {told}");
    }
}
