//! Several ingestion processes on one queue.

use crate::servers::{Production, find, ids, send};

const DOCUMENTS: usize = 1000;

/// The value of a counter on an admin port.
async fn counter(production: &Production, service: &str, name: &str) -> u64 {
    let url = format!("{}/metrics", production.stack.admin_url(service));
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    value.unwrap_or(0.0) as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_thousand_documents() {
    let mut production = Production::start().await;
    production.stack.replica("ingestion", "ingestion-2").await.unwrap();
    let client = production.client();
    let jobs = send(&client, DOCUMENTS).await;
    for job in &jobs {
        assert_eq!(client.finished_job(job).await.unwrap()["status"], "done");
    }
    let done = "rag_ingest_documents_total{outcome=\"done\"}";
    let embedded = "rag_ingest_stage_seconds_count{stage=\"embed\"}";
    let (mut shares, mut stages) = (Vec::new(), 0);
    for service in ["ingestion", "ingestion-2"] {
        shares.push(counter(&production, service, done).await);
        stages += counter(&production, service, embedded).await;
    }
    assert_eq!(shares.iter().sum::<u64>(), DOCUMENTS as u64, "{shares:?}");
    assert!(shares.iter().all(|share| *share >= DOCUMENTS as u64 / 10), "both worked: {shares:?}");
    assert_eq!(stages, DOCUMENTS as u64, "nothing was done twice");
    for n in (0..DOCUMENTS).step_by(97) {
        assert_eq!(ids(&find(&client, n, "keyword").await)[0], format!("d{n}"));
    }
    production.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_loses_nothing() {
    let mut production = Production::start().await;
    production.stack.replica("ingestion", "ingestion-2").await.unwrap();
    let client = production.client();
    let jobs = send(&client, 200).await;
    client.finished_job(&jobs[20]).await.unwrap();
    production.stack.process("ingestion-2").unwrap().kill().await.unwrap();
    for job in &jobs {
        assert_eq!(client.finished_job(job).await.unwrap()["status"], "done");
    }
    for n in 0..200 {
        assert_eq!(ids(&find(&client, n, "keyword").await)[0], format!("d{n}"));
    }
    production.stack.stop().await.unwrap();
}
