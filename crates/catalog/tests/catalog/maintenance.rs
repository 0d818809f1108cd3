//! Indexes, and the jobs that fill them or move documents within them.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use ragstone_core::ports::{JobFilter, LeasedJob, NewVersion, PageRequest, Record, Unfinished};
use ragstone_core::{
    DocumentStatus, Error, ErrorCode, IndexName, IndexSpec, IndexState, Job, JobKind, JobStatus, Priority, Stage,
};

use crate::support::{Fixture, TTL, asker, by, contract, document, tenant, text, version};

fn spec(model: &str) -> IndexSpec {
    IndexSpec::of(model, "1", 384)
}

fn name(model: &str) -> IndexName {
    spec(model).name
}

impl Fixture {
    async fn unfinished(&self, kind: JobKind, model: &str) -> (u64, u64) {
        let Unfinished { active, stuck } = self.catalog.unfinished(kind, &name(model)).await.unwrap();
        (active, stuck)
    }

    /// Ingests a document into these indexes.
    async fn ingest(&self, id: &str, content: &str, models: &[&str]) {
        self.put(id, content).await;
        let leased = self.lease().await.unwrap();
        assert_eq!(leased.job.document_id.as_str(), id);
        self.finish_into(&leased, models).await;
    }

    async fn finish_into(&self, leased: &LeasedJob, models: &[&str]) -> Vec<String> {
        self.prepare(leased).await;
        let written: Vec<IndexName> = models.iter().map(|model| name(model)).collect();
        self.catalog.complete(&leased.lease, &written).await.unwrap()
    }

    async fn all_jobs(&self) -> Vec<Job> {
        let page = PageRequest { limit: 1000, cursor: None };
        self.catalog.jobs(&asker("t"), JobFilter::default(), page).await.unwrap().items
    }

    async fn states(&self) -> Vec<(String, IndexState)> {
        let indexes = self.catalog.indexes().await.unwrap();
        indexes.into_iter().map(|index| (index.spec.model, index.state)).collect()
    }
}

async fn the_first_index_serves_and_the_next_is_filled(f: Fixture) {
    let first = f.catalog.add_index(&spec("a"), None).await.unwrap();
    assert_eq!((first.spec, first.state), (spec("a"), IndexState::Serving));
    f.ingest("d", "x", &["a"]).await;
    f.put("waiting", "x").await;
    let second = f.catalog.add_index(&spec("b"), None).await.unwrap();
    assert_eq!(second.state, IndexState::Building);
    assert_eq!(f.unfinished(JobKind::Rebuild, "b").await, (1, 0), "only for what is live");
    let refused = f.catalog.serve_index(&name("b"), None).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);

    let ingestion = f.lease().await.unwrap();
    assert_eq!((ingestion.job.document_id.as_str(), ingestion.index.clone()), ("waiting", None), "before maintenance");
    f.finish_into(&ingestion, &["a", "b"]).await;
    let leased = f.lease().await.unwrap();
    assert_eq!((leased.job.kind, leased.job.stage, leased.job.version), (JobKind::Rebuild, Stage::Embed, 1));
    assert_eq!((leased.index.clone(), leased.version.priority), (Some(name("b")), Priority::Low));
    assert_eq!((leased.version.title.as_str(), leased.version.groups.clone()), ("Found", vec!["staff".to_owned()]));
    assert_eq!(f.catalog.text(&leased.lease).await.unwrap(), text(&["one", "two"]));
    let generation = f.catalog.corpus_generation(&tenant("t")).await.unwrap();
    assert!(f.finish_into(&leased, &["b"]).await.is_empty());
    assert_eq!(f.catalog.job(&asker("t"), leased.job.id).await.unwrap(), None, "it leaves nothing behind");
    assert_eq!(f.catalog.corpus_generation(&tenant("t")).await.unwrap(), generation);
    assert_eq!(f.document("d").await.status, DocumentStatus::Ready);

    f.catalog.serve_index(&name("b"), None).await.unwrap();
    let states = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b)];
    assert_eq!(f.states().await, states(IndexState::Standby, IndexState::Serving));
    f.catalog.serve_index(&name("b"), None).await.unwrap();
    f.catalog.serve_index(&name("a"), None).await.unwrap();
    assert_eq!(f.states().await, states(IndexState::Serving, IndexState::Standby));
    assert_eq!(f.catalog.serve_index(&name("none"), None).await.unwrap_err().code, ErrorCode::NotFound);
}

async fn adding_again_gives_every_document_its_job_again(f: Fixture) {
    f.catalog.add_index(&spec("a"), None).await.unwrap();
    for id in ["d", "e", "gone"] {
        f.ingest(id, "x", &["a"]).await;
    }
    f.catalog.delete(&by("t"), &document("gone"), None, None).await.unwrap();
    f.work().await.unwrap();
    f.catalog.add_index(&spec("b"), None).await.unwrap();
    let leased = f.lease().await.unwrap();
    f.finish_into(&leased, &["b"]).await;
    assert_eq!(f.unfinished(JobKind::Rebuild, "b").await, (1, 0));
    for _ in 0..2 {
        assert_eq!(f.catalog.add_index(&spec("b"), None).await.unwrap().state, IndexState::Building);
        assert_eq!(f.unfinished(JobKind::Rebuild, "b").await, (2, 0));
    }
    f.catalog.add_index(&spec("a"), None).await.unwrap();
    assert_eq!(f.unfinished(JobKind::Rebuild, "a").await, (2, 0), "its store may have been lost");
}

async fn an_index_that_came_meanwhile_is_caught_up_with(f: Fixture) {
    f.catalog.add_index(&spec("a"), None).await.unwrap();
    f.put("d", "x").await;
    let leased = f.lease().await.unwrap();
    f.catalog.add_index(&spec("b"), None).await.unwrap();
    assert_eq!(f.unfinished(JobKind::Rebuild, "b").await, (0, 0));
    f.finish_into(&leased, &["a"]).await;
    assert_eq!(
        (f.unfinished(JobKind::Rebuild, "a").await, f.unfinished(JobKind::Rebuild, "b").await),
        ((0, 0), (1, 0))
    );

    // A newer version takes its place: the job is about that one now.
    f.ingest("d", "y", &["a"]).await;
    let leased = f.lease().await.unwrap();
    assert_eq!((leased.job.kind, leased.job.version, leased.index.clone()), (JobKind::Rebuild, 2, Some(name("b"))));
    f.catalog.fail(&leased.lease, &Error::internal("x"), JobStatus::Dead, TTL).await.unwrap();
    assert_eq!(f.unfinished(JobKind::Rebuild, "b").await, (0, 1));
    f.ingest("d", "z", &["a"]).await;
    assert_eq!(f.unfinished(JobKind::Rebuild, "b").await, (1, 0), "a dead one lives again with the new version");
    // One that was written everywhere needs none.
    f.ingest("d", "w", &["a", "b"]).await;
    assert_eq!(f.unfinished(JobKind::Rebuild, "b").await, (0, 0));
    f.catalog.serve_index(&name("b"), None).await.unwrap();
}

async fn a_rebuild_that_fails_does_not_touch_the_document(f: Fixture) {
    f.catalog.add_index(&spec("a"), None).await.unwrap();
    f.ingest("d", "x", &["a"]).await;
    f.catalog.add_index(&spec("b"), None).await.unwrap();
    let error = Error::internal("boom");
    let leased = f.lease().await.unwrap();
    let failed = f.catalog.fail(&leased.lease, &error, JobStatus::Failed, TTL).await.unwrap();
    assert_eq!((failed.status, failed.error.as_deref()), (JobStatus::Failed, Some("boom")));
    let found = f.document("d").await;
    assert_eq!((found.status, found.error, found.live_version), (DocumentStatus::Ready, None, Some(1)));
    assert!(f.put("d", "x").await.unchanged);
    assert_eq!(f.catalog.serve_index(&name("b"), None).await.unwrap_err().code, ErrorCode::Conflict, "one is stuck");

    assert_eq!(f.catalog.retry_unfinished(JobKind::Move, &name("b")).await.unwrap(), 0);
    assert_eq!(f.catalog.retry_unfinished(JobKind::Rebuild, &name("b")).await.unwrap(), 1);
    let leased = f.lease().await.unwrap();
    assert_eq!((leased.job.id, leased.job.attempts), (failed.id, 1));
    f.catalog.fail(&leased.lease, &error, JobStatus::Dead, TTL).await.unwrap();
    assert_eq!(f.catalog.queue_depth().await.unwrap(), (0, 0, 1), "somebody has to look");
    f.put("d", "y").await;
    assert_eq!(f.catalog.retry(&asker("t"), failed.id).await.unwrap().status, JobStatus::Queued);
    assert_eq!(f.document("d").await.status, DocumentStatus::Processing);
}

async fn nothing_confuses_maintenance_with_a_versions_own_job(f: Fixture) {
    f.catalog.add_index(&spec("a"), None).await.unwrap();
    f.ingest("d", "x", &["a"]).await;
    f.catalog.add_index(&spec("b"), None).await.unwrap();
    let rebuild = f.lease().await.unwrap();
    let again = f.put("d", "x").await;
    assert_eq!((again.unchanged, again.job.kind), (true, JobKind::Ingest));
    f.put("d", "y").await;
    assert!(f.lease().await.is_none(), "one job of a document at a time");
    assert!(!f.catalog.superseded(&rebuild.lease).await.unwrap());
    f.catalog.release(&rebuild.lease, None, std::time::Duration::ZERO).await.unwrap();
    let next = f.lease().await.unwrap();
    assert_eq!((next.job.kind, next.job.version), (JobKind::Ingest, 2), "the document itself goes first");
    f.finish_into(&next, &["a"]).await;
    let rebuild = f.lease().await.unwrap();
    assert_eq!((rebuild.job.kind, rebuild.job.version, rebuild.resumed), (JobKind::Rebuild, 2, false));
    let removal = f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap().unwrap();
    assert_eq!((removal.kind, removal.version), (JobKind::Delete, 3));
    f.catalog.release(&rebuild.lease, None, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(f.lease().await.map(|leased| leased.job.id), Some(removal.id));
}

async fn a_removal_ends_what_waits_for_its_document(f: Fixture) {
    f.catalog.add_index(&spec("a"), None).await.unwrap();
    for id in ["d", "e"] {
        f.ingest(id, "x", &["a"]).await;
    }
    f.catalog.add_index(&spec("b"), None).await.unwrap();
    f.catalog.enqueue(JobKind::Move, &name("a"), &[(tenant("t"), document("d"))]).await.unwrap();
    f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap();
    let (removal, _) = f.work().await.unwrap();
    assert_eq!(removal.job.kind, JobKind::Delete);
    let left: Vec<_> = f.all_jobs().await.into_iter().filter(|job| job.kind.is_maintenance()).collect();
    assert_eq!(left.iter().map(|job| job.document_id.as_str()).collect::<Vec<_>>(), ["e"]);
}

async fn moves_are_enqueued_once_for_what_is_live(f: Fixture) {
    f.catalog.add_index(&spec("a"), None).await.unwrap();
    f.ingest("d", "x", &["a"]).await;
    f.put("waiting", "x").await;
    let all = ["waiting", "d", "none"].map(|id| (tenant("t"), document(id)));
    let enqueue = |kind, model: &'static str| f.catalog.enqueue(kind, Box::leak(Box::new(name(model))), &all);
    assert_eq!(enqueue(JobKind::Move, "a").await.unwrap(), 1);
    assert_eq!(enqueue(JobKind::Move, "a").await.unwrap(), 0);
    assert_eq!(enqueue(JobKind::Rebuild, "a").await.unwrap(), 1, "another kind");
    assert_eq!(enqueue(JobKind::Ingest, "a").await.unwrap_err().code, ErrorCode::InvalidArgument);
    assert_eq!(enqueue(JobKind::Move, "b").await.unwrap_err().code, ErrorCode::NotFound);
    f.work().await.unwrap();
    let leased = f.lease().await.unwrap();
    assert_eq!((leased.job.kind, leased.job.stage, leased.job.version), (JobKind::Move, Stage::Clean, 1));
    assert_eq!(f.unfinished(JobKind::Move, "a").await, (1, 0));
    f.finish_into(&leased, &["a"]).await;
    assert_eq!(f.unfinished(JobKind::Move, "a").await, (0, 0));
}

async fn thousands_of_jobs_are_enqueued_at_once(one: Fixture) {
    const WAITING: usize = 700;
    one.catalog.add_index(&spec("a"), None).await.unwrap();
    one.ingest("d", "x", &["a"]).await;
    let ids: Vec<String> = (0..5_000).map(|n| format!("\"ä\\{n}'")).collect();
    let many = |row: Record| -> Vec<Record> {
        let renamed = |id: &String| {
            let mut row = row.clone();
            row.row.insert("document_id".to_owned(), id.as_str().into());
            row
        };
        match row.table.as_str() {
            "documents" | "versions" => ids.iter().map(renamed).collect(),
            "tenants" | "indexes" => vec![row],
            _ => Vec::new(),
        }
    };
    let rows: Vec<Record> = one.catalog.export().try_collect().await.unwrap();
    let f = one.another().await;
    f.catalog.import(stream::iter(rows.into_iter().flat_map(many).map(Ok)).boxed()).await.unwrap();

    let all: Vec<_> = ids.iter().map(|id| (tenant("t"), document(id))).collect();
    let enqueue = async |documents: &[_]| f.catalog.enqueue(JobKind::Move, &name("a"), documents).await.unwrap();
    assert_eq!(enqueue(&[]).await, 0);
    assert_eq!(enqueue(&all[..WAITING]).await, WAITING as u64);
    let odd = [all[4_000].clone(), (tenant("t"), document("none")), (tenant("u"), document(&ids[0]))];
    assert_eq!(enqueue(&[all.as_slice(), &odd].concat()).await, (all.len() - WAITING) as u64);
    assert_eq!(f.unfinished(JobKind::Move, "a").await, (5_000, 0));
    assert_eq!(enqueue(&all).await, 0);
    let leased = f.lease().await.unwrap();
    assert_eq!((leased.job.kind, leased.job.version, leased.index.clone()), (JobKind::Move, 1, Some(name("a"))));
}

async fn an_index_goes_with_its_jobs(f: Fixture) {
    f.catalog.add_index(&spec("a"), None).await.unwrap();
    for id in ["d", "e"] {
        f.ingest(id, "x", &["a"]).await;
    }
    f.catalog.add_index(&spec("b"), None).await.unwrap();
    let leased = f.lease().await.unwrap();
    assert_eq!(f.catalog.remove_index(&name("a"), None).await.unwrap_err().code, ErrorCode::Conflict);
    f.catalog.remove_index(&name("b"), None).await.unwrap();
    f.catalog.remove_index(&name("b"), None).await.unwrap();
    assert_eq!(f.catalog.complete(&leased.lease, &[]).await.unwrap_err().code, ErrorCode::Conflict);
    assert!(!f.catalog.heartbeat(&leased.lease, TTL, 0.5).await.unwrap());
    assert!(f.lease().await.is_none());
    assert_eq!(f.states().await, [("a".to_owned(), IndexState::Serving)]);
}

async fn the_most_urgent_job_of_a_tenant_goes_first(f: Fixture) {
    let offer = async |tenant_id: &'static str, id: &'static str, priority| {
        f.catalog.accept(&by(tenant_id), NewVersion { priority, ..version(tenant_id, id, "x") }).await
    };
    for (id, priority) in [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)] {
        offer("t", id, priority).await.unwrap();
    }
    offer("t", "normal2", Priority::Normal).await.unwrap();
    offer("u", "low", Priority::Low).await.unwrap();
    let mut order = Vec::new();
    while let Some(leased) = f.lease().await {
        order.push(format!("{}/{}", leased.job.tenant, leased.job.document_id));
    }
    // Tenants take turns whatever their priorities; the head that has been due longest decides between equals.
    assert_eq!(order, ["t/high", "u/low", "t/normal", "t/normal2", "t/low"]);
}

async fn an_urgent_job_that_is_not_due_holds_nobody_up(f: Fixture) {
    f.catalog.accept(&by("t"), NewVersion { priority: Priority::High, ..version("t", "high", "x") }).await.unwrap();
    let leased = f.lease().await.unwrap();
    f.catalog.release(&leased.lease, Some(&Error::unavailable("away")), TTL).await.unwrap();
    f.catalog.accept(&by("t"), NewVersion { priority: Priority::Low, ..version("t", "low", "x") }).await.unwrap();
    assert_eq!(f.lease().await.unwrap().job.document_id.as_str(), "low");
}

async fn an_older_version_never_comes_back(f: Fixture) {
    f.put("d", "a").await;
    let old = f.lease().await.unwrap();
    f.catalog.store_text(&old.lease, text(&["x"])).await.unwrap();
    f.catalog.advance(&old.lease, Stage::Publish).await.unwrap();
    f.catalog.release(&old.lease, None, std::time::Duration::ZERO).await.unwrap();
    f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap();
    let (removal, _) = f.work().await.unwrap();
    assert_eq!(removal.job.kind, JobKind::Delete, "it is more urgent");
    assert!(f.lease().await.is_none(), "the older version is needless now");
    let found = f.document("d").await;
    assert_eq!((found.status, found.live_version), (DocumentStatus::Deleted, None));
    assert_eq!(f.catalog.job(&asker("t"), old.job.id).await.unwrap().unwrap().status, JobStatus::Done);
}

async fn live_documents_come_in_order(f: Fixture) {
    for (t, d) in [("u", "1"), ("t", "ä"), ("t", "b"), ("t", "gone")] {
        f.catalog.accept(&by(t), version(t, d, "x")).await.unwrap();
    }
    while f.work().await.is_some() {}
    f.catalog.delete(&by("t"), &document("gone"), None, None).await.unwrap();
    f.work().await.unwrap();
    f.put("waiting", "x").await;
    f.put("b", "y").await;
    assert_eq!(f.catalog.live_count().await.unwrap(), 3);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = f.catalog.live_documents(after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.tenant.clone(), last.id.clone()));
        found.extend(page.into_iter().map(|d| format!("{}/{}@{}:{}", d.tenant, d.id, d.version, d.chunks)));
    }
    assert_eq!(found, ["t/b@1:2", "t/ä@1:2", "u/1@1:2"]);
}

async fn bodies_are_in_use_while_a_version_may_need_them(f: Fixture) {
    f.put("d", "a").await;
    f.work().await.unwrap();
    f.put("d", "b").await;
    f.put("e", "b").await;
    let asked = ["a", "b", "c"].map(str::to_owned);
    let mut used = f.catalog.bodies_in_use(&asked).await.unwrap();
    used.sort();
    assert_eq!(used, ["a", "b"]);
    f.work().await.unwrap();
    assert_eq!(f.catalog.bodies_in_use(&asked).await.unwrap(), ["b"]);
    assert!(f.catalog.bodies_in_use(&[]).await.unwrap().is_empty());
    let many: Vec<String> = (0..5_000).map(|n| format!("h{n}")).chain(["b".to_owned()]).collect();
    assert_eq!(f.catalog.bodies_in_use(&many).await.unwrap(), ["b"]);
}

contract! {
    the_first_index_serves_and_the_next_is_filled,
    adding_again_gives_every_document_its_job_again,
    an_index_that_came_meanwhile_is_caught_up_with,
    a_rebuild_that_fails_does_not_touch_the_document,
    nothing_confuses_maintenance_with_a_versions_own_job,
    a_removal_ends_what_waits_for_its_document,
    moves_are_enqueued_once_for_what_is_live,
    thousands_of_jobs_are_enqueued_at_once,
    an_index_goes_with_its_jobs,
    the_most_urgent_job_of_a_tenant_goes_first,
    an_urgent_job_that_is_not_due_holds_nobody_up,
    an_older_version_never_comes_back,
    live_documents_come_in_order,
    bodies_are_in_use_while_a_version_may_need_them,
}
