//! Sends listed files, a few at a time, and waits for their jobs.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use ragstone_core::{DocumentId, Metadata};
use tokio_util::sync::CancellationToken;

use super::report::{Failed, Report};
use crate::client::Client;
use crate::failure::Failure;
use crate::files::Source;
use crate::upload::{Content, Upload, UploadError};
use crate::wire::Accepted;
use crate::{follow, progress};

/// How many documents are sent at a time.
const PARALLEL: usize = 8;

/// Sends documents with the same metadata and groups.
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) metadata: Metadata,
    pub(super) groups: Vec<String>,
}

impl Sender {
    /// Sends one document.
    pub(super) async fn send(
        &self,
        id: Option<&DocumentId>,
        content: Content,
        media_type: &str,
    ) -> Result<Accepted, UploadError> {
        let upload = Upload { id, content, media_type, metadata: &self.metadata, groups: &self.groups };
        upload.send(&self.client).await
    }

    /// Sends a file.
    pub(super) async fn send_file(&self, source: &Source) -> Result<Accepted, UploadError> {
        self.send(Some(&source.id), Content::File(source.path.clone()), &source.media_type).await
    }

    /// Sends `sources` and enters every outcome into `report`.
    ///
    /// # Errors
    /// Ctrl-C, or what every further document would fail with: no server, no permission. What was sent is kept.
    pub(super) async fn send_all(
        &self,
        sources: Vec<Source>,
        report: &mut Report,
        interrupt: &CancellationToken,
    ) -> Result<(), Failure> {
        let total = sources.len() + report.finished();
        let bar = progress::bar(sources.len() as u64, "sending");
        let mut sends = stream::iter(sources)
            .map(|source| async move { (self.send_file(&source).await, source) })
            .buffer_unordered(PARALLEL);
        loop {
            let next = tokio::select! {
                biased;
                () = interrupt.cancelled() => {
                    bar.abandon();
                    return Err(super::interrupted(report, total));
                }
                next = sends.next() => next,
            };
            let Some((outcome, source)) = next else { break };
            match outcome {
                Ok(accepted) => report.accept(accepted),
                Err(error) if error.is_fatal() => {
                    bar.abandon();
                    return Err(error.into());
                }
                Err(error) => report.fail(source.id.as_str(), error.to_string()),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Waits for the jobs of all documents the server has; those that fail move to the report's failures.
    pub(super) async fn wait(&self, report: &mut Report, interrupt: &CancellationToken) -> Result<(), Failure> {
        let sent = report.accepted.iter().chain(&report.unchanged);
        let jobs: Vec<String> = sent.filter_map(|sent| sent.job_id.clone()).collect();
        let bar = progress::bar(jobs.len() as u64, "indexing");
        let ended = tokio::select! {
            ended = follow::follow_all(&self.client, jobs, &bar) => ended.map_err(Failure::from),
            () = interrupt.cancelled() => Err(Failure::interrupted().advise("What was sent is being indexed.")),
        };
        bar.finish_and_clear();
        let failures: BTreeMap<String, String> =
            ended?.iter().filter_map(|job| Some((job.job_id.clone(), follow::failure(job)?))).collect();
        for list in [&mut report.accepted, &mut report.unchanged] {
            for sent in std::mem::take(list) {
                match sent.job_id.as_ref().and_then(|id| failures.get(id)) {
                    Some(reason) => report.failed.push(Failed { document: sent.document_id, reason: reason.clone() }),
                    None => list.push(sent),
                }
            }
        }
        Ok(())
    }
}
