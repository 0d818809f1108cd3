//! A catalog with a clock that stands still until moved, on SQLite or PostgreSQL.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ragstone_catalog::{Clock, PostgresCatalog, PostgresConfig, SqliteCatalog};
use ragstone_core::ports::{Accepted, Catalog, LeasedJob, NewVersion, VersionText, Write};
use ragstone_core::{Access, Caller, Chunk, Document, DocumentId, GroupAccess, Metadata, Priority, Stage, TenantId};
use tempfile::TempDir;

use crate::server;

/// The lease of the tests.
pub(crate) const TTL: Duration = Duration::from_secs(30);

/// A clock to move by hand.
#[derive(Clone, Default)]
pub(crate) struct Time(Arc<AtomicU64>);

impl Time {
    pub(crate) fn pass(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Runs every test of a file against every implementation.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Fixture::sqlite().await).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Fixture::postgres().await).await;
            })+
        }
    };
}
pub(crate) use contract;

/// What a catalog stands on.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(PostgresConfig),
}

/// A catalog and what it stands on.
pub(crate) struct Fixture {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) time: Time,
    pub(crate) place: Place,
}

impl Fixture {
    /// A new SQLite file.
    pub(crate) async fn sqlite() -> Self {
        Self::open(Place::Sqlite(tempfile::tempdir().unwrap()), Time::default()).await
    }

    /// A new database on the PostgreSQL server of this test binary.
    pub(crate) async fn postgres() -> Self {
        Self::open(Place::Postgres(server::new_catalog().await), Time::default()).await
    }

    /// A new catalog of the same kind.
    pub(crate) async fn another(&self) -> Self {
        match self.place {
            Place::Sqlite(_) => Self::sqlite().await,
            Place::Postgres(_) => Self::postgres().await,
        }
    }

    async fn open(place: Place, time: Time) -> Self {
        let now = time.clone();
        let clock: Clock = Arc::new(move || now.now());
        let catalog: Arc<dyn Catalog> = match &place {
            Place::Sqlite(dir) => Arc::new(SqliteCatalog::open_with_clock(&file(dir), clock).await.unwrap()),
            Place::Postgres(config) => Arc::new(PostgresCatalog::open_with_clock(config, clock).await.unwrap()),
        };
        Self { catalog, time, place }
    }

    /// Ends the process, as far as the catalog can tell, and starts another.
    pub(crate) async fn reopen(self) -> Self {
        let Self { catalog, time, place } = self;
        drop(catalog);
        Self::open(place, time).await
    }

    /// Whoever held a lease is gone, and it shows.
    pub(crate) async fn leases_end(&self) {
        match self.place {
            Place::Sqlite(_) => _ = self.catalog.release_all_leases().await.unwrap(),
            Place::Postgres(_) => self.time.pass(TTL),
        }
    }

    pub(crate) async fn put(&self, document: &str, content: &str) -> Accepted {
        self.catalog.accept(&by("t"), version("t", document, content)).await.unwrap()
    }

    pub(crate) async fn lease(&self) -> Option<LeasedJob> {
        self.catalog.lease("worker", TTL).await.unwrap()
    }

    /// Leases the next job and does all its work.
    pub(crate) async fn work(&self) -> Option<(LeasedJob, Vec<String>)> {
        let leased = self.lease().await?;
        let unused = self.finish(&leased).await;
        Some((leased, unused))
    }

    /// All the work that is left for a leased job; no index is written.
    pub(crate) async fn finish(&self, leased: &LeasedJob) -> Vec<String> {
        self.prepare(leased).await;
        self.catalog.complete(&leased.lease, &[]).await.unwrap()
    }

    /// All but the last step of it.
    pub(crate) async fn prepare(&self, leased: &LeasedJob) {
        if leased.job.stage < Stage::Embed {
            self.catalog.store_text(&leased.lease, text(&["one", "two"])).await.unwrap();
        }
        for stage in [Stage::Publish, Stage::Clean] {
            if leased.job.stage < stage {
                self.catalog.advance(&leased.lease, stage).await.unwrap();
            }
        }
    }

    /// The leased job as the catalog has it now.
    pub(crate) async fn renew(&self, leased: LeasedJob) -> LeasedJob {
        let job = self.catalog.job(&asker(leased.job.tenant.as_str()), leased.job.id).await.unwrap().unwrap();
        LeasedJob { job, ..leased }
    }

    pub(crate) async fn document(&self, id: &str) -> Document {
        self.catalog.document(&asker("t"), &document(id)).await.unwrap().unwrap()
    }
}

/// Where the SQLite catalog of a directory is.
pub(crate) fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("data/catalog.db")
}

pub(crate) fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

pub(crate) fn document(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

/// Somebody of a tenant who may read everything.
pub(crate) fn asker(tenant_id: &str) -> Caller {
    Caller::internal(tenant(tenant_id))
}

/// Somebody with these groups.
pub(crate) fn member(tenant_id: &str, subject: &str, groups: &[&str]) -> Caller {
    let groups = GroupAccess::Groups(groups.iter().map(|group| (*group).to_owned()).collect());
    let access = Access { tenant: tenant(tenant_id), groups };
    Caller { access, subject: subject.to_owned(), request_id: "r-1".to_owned() }
}

/// A write of somebody who may do everything.
pub(crate) fn by(tenant_id: &str) -> Write {
    Write::by(asker(tenant_id))
}

/// A version whose hash and fingerprint are its content.
pub(crate) fn version(tenant_id: &str, document_id: &str, content: &str) -> NewVersion {
    NewVersion {
        tenant: tenant(tenant_id),
        document_id: document(document_id),
        title: "Title".into(),
        media_type: "text/plain".into(),
        bytes: content.len() as u64,
        content_hash: content.into(),
        metadata: Metadata::from_iter([("lang".to_owned(), "de".into())]),
        groups: vec!["staff".into()],
        fingerprint: content.into(),
        if_version: None,
        priority: Priority::Normal,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    }
}

pub(crate) fn text(contents: &[&str]) -> VersionText {
    let chunk = |(index, content): (usize, &&str)| Chunk {
        index: u32::try_from(index).unwrap(),
        content: (*content).to_owned(),
        heading_path: vec!["A".into(), "B \"quoted\"".into()],
        start: index as u64 * 10,
        end: index as u64 * 10 + 3,
        tokens: 1,
    };
    VersionText {
        title: "Found".into(),
        language: Some("deu".into()),
        chunks: contents.iter().enumerate().map(chunk).collect(),
    }
}
