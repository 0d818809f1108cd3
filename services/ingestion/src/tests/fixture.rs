//! A worker on a catalog and bodies in a temporary directory, with a clock to move by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::stream;
use ragstone_catalog::{LocalBlobs, SqliteCatalog};
use ragstone_core::ports::{Accepted, Catalog, Write};
use ragstone_core::{Caller, Document, DocumentId, Job, Result, TenantId};
use ragstone_text::{ExtractLimits, Extractor};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::fakes::{FakeEmbedding, FakeIndex};
use crate::Config;
use crate::accept::{Acceptor, Offer};
use crate::bodies::Bodies;
use crate::follow::Changes;
use crate::indexes::Indexes;
use crate::pipeline::Pipeline;
use crate::targets::Targets;
use crate::text::TextMaker;
use crate::worker::{Step, Worker};

/// Everything a test needs.
pub(super) struct Fixture {
    pub(super) catalog: Arc<SqliteCatalog>,
    pub(super) acceptor: Acceptor,
    pub(super) worker: Worker,
    pub(super) indexes: Indexes,
    pub(super) stored: Arc<Bodies>,
    pub(super) embedding: Arc<FakeEmbedding>,
    pub(super) index: Arc<FakeIndex>,
    pub(super) changes: Changes,
    pub(super) shutdown: CancellationToken,
    pub(super) dir: TempDir,
    time: Arc<AtomicU64>,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        Self::with(Config { max_document_bytes: 4096, ..Config::default() }).await
    }

    pub(super) async fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicU64::new(1_800_000_000_000));
        let clock = time.clone();
        let clock = Arc::new(move || UNIX_EPOCH + Duration::from_millis(clock.load(Ordering::SeqCst)));
        let catalog = SqliteCatalog::open_with_clock(&dir.path().join("catalog.db"), clock).await.unwrap();
        let catalog = Arc::new(catalog);
        let bodies = Arc::new(Bodies::new(Arc::new(LocalBlobs::open(&dir.path().join("blobs")).await.unwrap()), true));
        let (embedding, index, changes) =
            (Arc::<FakeEmbedding>::default(), Arc::<FakeIndex>::default(), Changes::default());
        let targets = Targets { catalog: catalog.clone(), embedding: embedding.clone(), index: index.clone() };
        let indexes = Indexes { targets: targets.clone(), changes: changes.clone() };
        // Plain text and Markdown need no child process.
        let text = TextMaker::new(Extractor::new(PathBuf::from("/nonexistent"), ExtractLimits::default()));
        let pipeline = Pipeline { catalog: catalog.clone(), bodies: bodies.clone(), text, targets };
        Self {
            acceptor: Acceptor::new(catalog.clone(), bodies.clone(), changes.clone(), &config),
            indexes,
            stored: bodies,
            worker: Worker::new(pipeline, changes.clone(), &config),
            shutdown: CancellationToken::new(),
            catalog,
            embedding,
            index,
            changes,
            dir,
            time,
        }
    }

    /// The same with other settings for what is accepted.
    pub(super) fn with_settings(self, config: Config) -> Self {
        let acceptor = Acceptor::new(self.catalog.clone(), self.stored.clone(), self.changes.clone(), &config);
        Self { acceptor, ..self }
    }

    pub(super) fn pass(&self, time: Duration) {
        self.time.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Time enough for every lease to end and every retry to be due.
    pub(super) fn pass_long(&self) {
        self.pass(Duration::from_secs(600));
    }

    pub(super) async fn offer(&self, offer: Offer, body: &[u8]) -> Result<Accepted> {
        let body = stream::iter([Ok(Bytes::copy_from_slice(body))]);
        self.acceptor.accept(asker(), offer, body, None).await
    }

    pub(super) async fn put(&self, document: &str, body: &str) -> Job {
        self.offer(offer(document, "text/plain"), body.as_bytes()).await.unwrap().job
    }

    pub(super) async fn delete(&self, document: &str) -> Job {
        let id = DocumentId::new(document).unwrap();
        self.catalog.delete(&Write::by(asker()), &id, None, None).await.unwrap().unwrap()
    }

    pub(super) async fn step(&self) -> Step {
        self.worker.step("worker", &self.shutdown).await.unwrap()
    }

    /// Works until nothing is due.
    pub(super) async fn work(&self) {
        while self.step().await != Step::Idle {}
    }

    pub(super) async fn document(&self, id: &str) -> Document {
        self.catalog.document(&asker(), &DocumentId::new(id).unwrap()).await.unwrap().unwrap()
    }

    pub(super) async fn job(&self, job: &Job) -> Job {
        self.catalog.job(&asker(), job.id).await.unwrap().unwrap()
    }

    /// How many bodies are stored.
    pub(super) fn bodies(&self) -> usize {
        let files = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        files(&self.dir.path().join("blobs")).iter().map(|dir| files(dir).len()).sum()
    }
}

/// Somebody who may do everything.
pub(super) fn asker() -> Caller {
    Caller::internal(tenant())
}

pub(super) fn tenant() -> TenantId {
    TenantId::new("t").unwrap()
}

pub(super) fn offer(document: &str, media_type: &str) -> Offer {
    Offer { document_id: document.to_owned(), media_type: media_type.to_owned(), ..Offer::default() }
}
