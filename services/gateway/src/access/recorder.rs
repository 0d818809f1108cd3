//! Notes for the audit log which documents each answer has read, without holding the answer up.

use std::time::Duration;

use ragstone_core::Result;
use ragstone_proto::v1;
use ragstone_proto::v1::access_service_client::AccessServiceClient;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::INGESTION;
use crate::backends::failed;
use crate::query::Answer;

/// Answers that may wait while the ingestion service is away; further ones are lost to the log, and counted.
const WAITING: usize = 100_000;
/// Answers noted at a time.
const BATCH: usize = 500;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(100);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries.
const RETRY: Duration = Duration::from_secs(1);
/// How long a gateway that stops goes on trying.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where answers are handed in.
pub(crate) struct Recorder {
    queue: std::sync::Mutex<Option<mpsc::Sender<v1::AnswerRecord>>>,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Recorder {
    /// Starts the task that writes.
    pub(crate) fn start(client: AccessServiceClient<Channel>) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let task = tokio::spawn(write(client, waiting));
        Self { queue: Some(queue).into(), task: Some(task).into() }
    }

    /// Hands an answer in; never waits.
    pub(crate) fn record(&self, caller: v1::Caller, answer: &Answer) {
        let mut documents: Vec<_> = answer
            .contexts
            .iter()
            .map(|hit| v1::DocumentRead { document_id: hit.document_id.to_string(), version: hit.version })
            .collect();
        documents.sort_unstable_by(|a, b| (&a.document_id, a.version).cmp(&(&b.document_id, b.version)));
        documents.dedup();
        let record = v1::AnswerRecord {
            caller: Some(caller),
            query_id: answer.query_id.to_string(),
            documents,
            degraded: answer.trail.degraded.clone(),
            at: Some(std::time::SystemTime::now().into()),
        };
        let queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if queue.as_ref().is_none_or(|queue| queue.try_send(record).is_err()) {
            metrics::counter!("rag_audit_dropped_total").increment(1);
            tracing::error!(query_id = %answer.query_id, "an answer could not be noted in the audit log");
        }
    }

    /// Writes what is still waiting, as far as that is possible in a short time.
    pub(crate) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(FAREWELL, &mut task).await.is_err()
        {
            task.abort();
            tracing::error!("the last answers could not be noted in the audit log");
        }
    }
}

async fn write(client: AccessServiceClient<Channel>, mut waiting: mpsc::Receiver<v1::AnswerRecord>) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = waiting.recv().await {
        batch.push(first);
        let end = Instant::now() + GATHER;
        while batch.len() < BATCH {
            match tokio::time::timeout_at(end, waiting.recv()).await {
                Ok(Some(record)) => batch.push(record),
                _ => break,
            }
        }
        // Until it is there: each answer is noted once, however often it is sent.
        while let Err(error) = send(&client, batch.clone()).await {
            tracing::warn!(
                error = error.chain(),
                answers = batch.len(),
                "answers cannot be noted in the audit log yet"
            );
            tokio::time::sleep(RETRY).await;
        }
        batch.clear();
    }
}

async fn send(client: &AccessServiceClient<Channel>, answers: Vec<v1::AnswerRecord>) -> Result<()> {
    let message = v1::RecordAnswersRequest { answers };
    let answer = client.clone().record_answers(request(message, Deadline::after(CALL_TIMEOUT))).await;
    answer.map_err(failed(INGESTION)).map(drop)
}
