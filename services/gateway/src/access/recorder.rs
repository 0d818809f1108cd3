//! Notes for the audit log which documents each answer has read, without holding the answer up.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prost::Message as _;
use ragstone_core::{ErrorCode, Hit, Result};
use ragstone_proto::v1;
use ragstone_proto::v1::access_service_client::AccessServiceClient;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Channel;
use uuid::Uuid;

use super::INGESTION;
use crate::backends::failed;

/// Answers that may wait while the ingestion service is away; further ones are lost to the log, and counted.
const WAITING: usize = 100_000;
/// Answers noted at a time, and how long they may be: a message of four times the length is refused.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 1024 * 1024;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(100);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries.
const RETRY: Duration = Duration::from_secs(1);
/// How long a gateway that stops goes on trying.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where answers are handed in.
pub(crate) struct Recorder {
    queue: Mutex<Option<mpsc::Sender<v1::AnswerRecord>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Recorder {
    /// Starts the task that writes.
    pub(crate) fn start(client: AccessServiceClient<Channel>) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let task = tokio::spawn(write(client, waiting));
        Self { queue: Some(queue).into(), task: Some(task).into() }
    }

    /// A note of an answer whose passages are about to be shown.
    pub(crate) fn note(&self, caller: v1::Caller, query_id: Uuid, contexts: &[Hit]) -> Note<'_> {
        let read = |hit: &Hit| v1::DocumentRead { document_id: hit.document_id.to_string(), version: hit.version };
        let mut documents: Vec<_> = contexts.iter().map(read).collect();
        documents.sort_unstable_by(|a, b| (&a.document_id, a.version).cmp(&(&b.document_id, b.version)));
        documents.dedup();
        Note { recorder: self, caller, query_id, documents, degraded: Vec::new() }
    }

    /// Hands a note in; never waits.
    fn record(&self, record: v1::AnswerRecord) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().map(|queue| queue.try_reserve()) {
            Some(Ok(place)) => place.send(record),
            _ => give_up(&record, "the audit log is too far behind"),
        }
    }

    /// Writes what is still waiting, as far as that is possible in a short time.
    pub(crate) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(FAREWELL, &mut task).await.is_err()
        {
            task.abort();
            tracing::error!("the last answers could not be noted in the audit log");
        }
    }
}

/// One answer's; handed in when it is dropped, however the answer ended.
pub(crate) struct Note<'a> {
    recorder: &'a Recorder,
    caller: v1::Caller,
    query_id: Uuid,
    documents: Vec<v1::DocumentRead>,
    /// In what ways the answer is less than whole; of one that broke off this is not known.
    pub(crate) degraded: Vec<String>,
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        self.recorder.record(v1::AnswerRecord {
            caller: Some(std::mem::take(&mut self.caller)),
            query_id: self.query_id.to_string(),
            documents: std::mem::take(&mut self.documents),
            degraded: std::mem::take(&mut self.degraded),
            at: Some(SystemTime::now().into()),
        });
    }
}

/// An answer that the audit log will not have.
fn give_up(record: &v1::AnswerRecord, reason: &str) {
    metrics::counter!("rag_audit_dropped_total").increment(1);
    tracing::error!(query_id = record.query_id, reason, "an answer could not be noted in the audit log");
}

async fn write(client: AccessServiceClient<Channel>, mut waiting: mpsc::Receiver<v1::AnswerRecord>) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = waiting.recv().await {
        let mut bytes = first.encoded_len();
        batch.push(first);
        let end = Instant::now() + GATHER;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            match tokio::time::timeout_at(end, waiting.recv()).await {
                Ok(Some(record)) => {
                    bytes += record.encoded_len();
                    batch.push(record);
                }
                _ => break,
            }
        }
        note_all(&client, &mut batch).await;
    }
}

/// Sends answers until they are there: each is noted once, however often it is sent. One that is refused must not hold up
/// the others.
async fn note_all(client: &AccessServiceClient<Channel>, batch: &mut Vec<v1::AnswerRecord>) {
    if send_whole(client, batch).await.is_err() {
        for record in batch.iter() {
            if let Err(error) = send_whole(client, std::slice::from_ref(record)).await {
                give_up(record, &error.message);
            }
        }
    }
    batch.clear();
}

/// Sends until it is taken.
///
/// # Errors
/// When it never will be.
async fn send_whole(client: &AccessServiceClient<Channel>, answers: &[v1::AnswerRecord]) -> Result<()> {
    while let Err(error) = send(client, answers.to_vec()).await {
        tracing::warn!(error = error.chain(), answers = answers.len(), "answers cannot be noted in the audit log yet");
        if !(error.code.is_retryable() || matches!(error.code, ErrorCode::DeadlineExceeded | ErrorCode::Cancelled)) {
            return Err(error);
        }
        tokio::time::sleep(RETRY).await;
    }
    Ok(())
}

async fn send(client: &AccessServiceClient<Channel>, answers: Vec<v1::AnswerRecord>) -> Result<()> {
    let message = v1::RecordAnswersRequest { answers };
    let answer = client.clone().record_answers(request(message, Deadline::after(CALL_TIMEOUT))).await;
    answer.map_err(failed(INGESTION)).map(drop)
}
