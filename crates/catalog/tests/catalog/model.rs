//! Random histories against a simple model: no job is lost, none runs beside another of its document, numbers only grow.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use ragstone_core::ports::{JobFilter, LeasedJob, PageRequest};
use ragstone_core::{DocumentStatus, Error, JobKind, JobStatus, Stage};

use crate::support::{Fixture, TTL, asker, by, document, text};

const DOCUMENTS: usize = 3;
const TRIES: u32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Put {
        document: usize,
        content: u8,
    },
    Delete {
        document: usize,
    },
    Lease,
    /// A holder, chosen by number, does its next piece of work.
    Work {
        holder: usize,
    },
    Fail {
        holder: usize,
    },
    Release {
        holder: usize,
    },
    /// The clock passes the end of all leases.
    Expire,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..DOCUMENTS, 0..3_u8).prop_map(|(document, content)| Step::Put { document, content }),
        1 => (0..DOCUMENTS).prop_map(|document| Step::Delete { document }),
        4 => Just(Step::Lease),
        8 => (0..4_usize).prop_map(|holder| Step::Work { holder }),
        1 => (0..4_usize).prop_map(|holder| Step::Fail { holder }),
        1 => (0..4_usize).prop_map(|holder| Step::Release { holder }),
        1 => Just(Step::Expire),
        1 => Just(Step::Restart),
    ]
}

/// What must be true of a document: its newest version, and whether that is a removal.
#[derive(Default)]
struct Expected {
    newest: u64,
    removal: bool,
}

/// The model: documents as they must be, and everyone who believes to hold a lease, stale ones too.
#[derive(Default)]
struct Model {
    documents: HashMap<usize, Expected>,
    holders: Vec<LeasedJob>,
}

impl Model {
    async fn apply(&mut self, f: &Fixture, step: Step) {
        match step {
            Step::Put { document, content } => {
                let accepted = f.put(&name(document), &format!("c{content}")).await;
                let expected = self.documents.entry(document).or_default();
                let number = if accepted.unchanged { expected.newest } else { expected.newest + 1 };
                assert_eq!(accepted.job.version, number);
                *expected = Expected { newest: number, removal: false };
            }
            Step::Delete { document: number } => {
                let job = f.catalog.delete(&by("t"), &document(&name(number)), None, None).await.unwrap();
                if let Some(job) = job {
                    let expected = self.documents.get_mut(&number).unwrap();
                    assert_eq!(job.version, expected.newest + 1);
                    *expected = Expected { newest: job.version, removal: true };
                }
            }
            Step::Lease => self.holders.extend(f.lease().await),
            Step::Work { holder } => self.work(f, holder).await,
            Step::Fail { holder } => {
                if let Some(leased) = self.take(holder) {
                    end_try(f, &leased).await;
                }
            }
            Step::Release { holder } => {
                if let Some(leased) = self.take(holder) {
                    let _ = f.catalog.release(&leased.lease, None, Duration::ZERO).await;
                }
            }
            Step::Expire => f.time.pass(TTL),
            Step::Restart => f.leases_end().await,
        }
    }

    fn take(&mut self, holder: usize) -> Option<LeasedJob> {
        (!self.holders.is_empty()).then(|| self.holders.swap_remove(holder % self.holders.len()))
    }

    /// One durable step; a holder that lost its lease finds out and goes away.
    async fn work(&mut self, f: &Fixture, holder: usize) {
        let Some(mut leased) = self.take(holder) else { return };
        if one_step(f, &mut leased).await == Some(false) {
            self.holders.push(leased);
        }
    }
}

fn name(document: usize) -> String {
    format!("d{document}")
}

/// `None`: the lease is lost. `Some(true)`: the job has ended.
async fn one_step(f: &Fixture, leased: &mut LeasedJob) -> Option<bool> {
    if f.catalog.superseded(&leased.lease).await.ok()? {
        f.catalog.complete(&leased.lease, &[]).await.ok()?;
        return Some(true);
    }
    let next = match leased.job.stage {
        Stage::Extract => {
            f.catalog.store_text(&leased.lease, text(&["x"])).await.ok()?;
            Stage::Embed
        }
        Stage::Embed => {
            f.catalog.advance(&leased.lease, Stage::Publish).await.ok()?;
            Stage::Publish
        }
        Stage::Publish => {
            f.catalog.advance(&leased.lease, Stage::Clean).await.ok()?;
            Stage::Clean
        }
        Stage::Clean => {
            f.catalog.complete(&leased.lease, &[]).await.ok()?;
            return Some(true);
        }
    };
    leased.job.stage = next;
    Some(false)
}

async fn end_try(f: &Fixture, leased: &LeasedJob) {
    let outcome = if leased.job.attempts >= TRIES { JobStatus::Dead } else { JobStatus::Queued };
    let _ = f.catalog.fail(&leased.lease, &Error::internal("x"), outcome, Duration::ZERO).await;
}

/// What must hold after every step.
async fn check_invariants(f: &Fixture, model: &Model) {
    let page = PageRequest { limit: 1000, cursor: None };
    let jobs = f.catalog.jobs(&asker("t"), JobFilter::default(), page).await.unwrap().items;
    let mut running = HashMap::new();
    for job in &jobs {
        if job.status == JobStatus::Running {
            assert!(running.insert(job.document_id.clone(), job.id).is_none(), "two jobs of {}", job.document_id);
        }
    }
    for (number, expected) in &model.documents {
        let found = f.document(&name(*number)).await;
        assert_eq!(found.version, expected.newest);
        let history = f.catalog.history(&asker("t"), &found.id).await.unwrap();
        let versions: Vec<_> = history.iter().map(|v| v.version).collect();
        assert_eq!(versions, (1..=expected.newest).rev().collect::<Vec<_>>());
        let job = jobs.iter().find(|job| job.document_id == found.id && job.version == found.version).unwrap();
        assert_eq!(job.kind == JobKind::Delete, expected.removal);
        let agrees = match found.status {
            DocumentStatus::Processing => !job.status.is_final(),
            DocumentStatus::Ready => job.status == JobStatus::Done && found.live_version == Some(found.version),
            DocumentStatus::Deleted => job.status == JobStatus::Done && found.live_version.is_none(),
            DocumentStatus::Failed => matches!(job.status, JobStatus::Failed | JobStatus::Dead),
        };
        assert!(agrees, "{found:?} {job:?}");
        assert!(found.live_version.is_none_or(|live| live <= found.version));
    }
}

/// Without further trouble everything comes to its end.
async fn drain(f: &Fixture, model: &Model) {
    f.leases_end().await;
    while let Some(mut leased) = f.lease().await {
        while one_step(f, &mut leased).await == Some(false) {}
    }
    assert_eq!(f.catalog.queue_depth().await.unwrap().0 + f.catalog.queue_depth().await.unwrap().1, 0);
    for (number, expected) in &model.documents {
        let found = f.document(&name(*number)).await;
        let ended = match (expected.removal, found.status) {
            (false, DocumentStatus::Ready) => found.live_version == Some(expected.newest),
            (true, DocumentStatus::Deleted) | (_, DocumentStatus::Failed) => true,
            _ => false,
        };
        assert!(ended, "{found:?}");
    }
}

/// Plays the steps from an empty catalog on.
async fn play(f: Fixture, steps: Vec<Step>) {
    let mut model = Model::default();
    for step in steps {
        model.apply(&f, step).await;
        check_invariants(&f, &model).await;
    }
    drain(&f, &model).await;
    check_invariants(&f, &model).await;
    f.catalog.close().await;
}

fn run<F: Future<Output = ()>>(work: F) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_well_on_sqlite(steps in history()) {
        run(async { play(Fixture::sqlite().await, steps).await });
    }
}

proptest! {
    // Each has a database of its own.
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_well_on_postgres(steps in history()) {
        run(async { play(Fixture::postgres().await, steps).await });
    }
}
