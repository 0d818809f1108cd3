//! One trace through all services, also across the job queue, as an OTLP collector receives it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fake_opentelemetry_collector::{ExportedSpan, FakeCollectorServer};
use ragstone_testkit::stack::{Form, Stack};
use serde_json::json;

/// Collects spans until those of `trace_id` have all of `names`.
async fn spans_of(collector: &mut FakeCollectorServer, trace_id: &str, names: &[&str]) -> Vec<ExportedSpan> {
    let until = Instant::now() + Duration::from_secs(30);
    let mut own: Vec<ExportedSpan> = Vec::new();
    loop {
        let got = collector.exported_spans(1, Duration::from_secs(1)).await;
        own.extend(got.into_iter().filter(|span| span.trace_id == trace_id));
        let seen: BTreeSet<&str> = own.iter().map(|span| span.name.as_str()).collect();
        if names.iter().all(|name| seen.contains(name)) {
            return own;
        }
        assert!(Instant::now() < until, "of {names:?} only {seen:?} arrived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_and_a_document_are_one_trace_each() {
    let mut collector = FakeCollectorServer::start().await.unwrap();
    let mut stack = Stack::prepare(Form::FiveProcesses).unwrap();
    stack.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    stack.env("OTEL_BSP_SCHEDULE_DELAY", "200");
    stack.run().await.unwrap();
    let client = stack.client();

    let ingest_trace = "0af7651916cd43dd8448eb211c80319c";
    let put = client.http().put(client.url("/v1/documents/traced")).header("content-type", "text/plain");
    let put = put.header("traceparent", format!("00-{ingest_trace}-b7ad6b7169203331-01"));
    let accepted = client.send(put.body("Copper conducts heat.")).await.unwrap().expect_status(202).unwrap();
    client.finished_job(accepted["job_id"].as_str().unwrap()).await.unwrap();
    let names = ["ragstone.v1.IngestionService/AcceptDocument", "embed", "stage_chunks", "publish_version"];
    spans_of(&mut collector, ingest_trace, &names).await;

    let answer =
        client.post("/v1/query", &json!({"query": "What conducts heat?"})).await.unwrap().expect_status(200).unwrap();
    let names = [
        "POST",
        "ragstone.v1.EmbeddingService/Embed",
        "ragstone.v1.RetrievalService/Retrieve",
        "ragstone.v1.GenerationService/Generate",
    ];
    let spans = spans_of(&mut collector, answer["trace_id"].as_str().unwrap(), &names).await;
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let orphans: Vec<_> =
        spans.iter().filter(|s| s.name != "POST" && !ids.contains(s.parent_span_id.as_str())).collect();
    assert!(orphans.is_empty(), "spans without their parent: {orphans:#?}");
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_collector_disturbs_nothing() {
    let mut stack = Stack::prepare(Form::AllInOne).unwrap();
    stack.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    stack.run().await.unwrap();
    stack.client().ingest("a", "text/plain", "Tin melts early.").await.unwrap();
    stack.stop().await.unwrap();
}
