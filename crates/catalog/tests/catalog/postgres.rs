//! What only several processes and a server make possible: competition, a replica, a server that is away.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ragstone_catalog::{PostgresCatalog, PostgresConfig};
use ragstone_core::ports::{Catalog, JobFilter, LeasedJob, NewVersion, PageRequest};
use ragstone_core::{
    Access, DocumentStatus, Error, ErrorCode, Filter, GroupAccess, IndexSpec, JobId, JobKind, JobStatus, KeywordQuery,
    Stage,
};
use ragstone_testkit::postgres::PostgresServer;
use tokio::task::JoinSet;

use crate::server::{config, new_catalog};
use crate::support::{TTL, asker, by, document, tenant, text, version};

/// "Processes" on one new database, each with connections of its own.
async fn processes(count: usize) -> Vec<Arc<PostgresCatalog>> {
    let config = new_catalog().await;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Arc::new(PostgresCatalog::open(&config).await.unwrap()));
    }
    all
}

async fn finish(catalog: &PostgresCatalog, leased: &LeasedJob) {
    if leased.job.stage < Stage::Embed {
        catalog.store_text(&leased.lease, text(&["one"])).await.unwrap();
    }
    for stage in [Stage::Publish, Stage::Clean] {
        if leased.job.stage < stage {
            catalog.advance(&leased.lease, stage).await.unwrap();
        }
    }
    catalog.complete(&leased.lease, &[]).await.unwrap();
}

/// Works until nothing is left in the queue, also not for others; who did what, in order.
async fn work(catalog: Arc<PostgresCatalog>, worker: String, ttl: Duration) -> Vec<(Instant, LeasedJob)> {
    let mut done = Vec::new();
    loop {
        match catalog.lease(&worker, ttl).await.unwrap() {
            Some(leased) => {
                done.push((Instant::now(), leased.clone()));
                finish(&catalog, &leased).await;
            }
            None if catalog.queue_depth().await.unwrap() == (0, 0, 0) => return done,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_the_work_and_one_that_dies_loses_nothing() {
    let all = processes(3).await;
    for n in 0..300 {
        let of = ["t", "u", "v"][n % 3];
        all[0].accept(&by(of), version(of, &format!("d{n}"), "x")).await.unwrap();
    }
    // The third process dies with five jobs in the middle; its leases end by the database's clock.
    let ttl = Duration::from_secs(2);
    let mut lost = HashSet::new();
    for n in 0..5 {
        let leased = all[2].lease("doomed", ttl).await.unwrap().unwrap();
        if n % 2 == 0 {
            all[2].store_text(&leased.lease, text(&["kept"])).await.unwrap();
        }
        lost.insert(leased.job.id);
    }
    all[2].close().await;
    let mut workers = JoinSet::new();
    for n in 0..8 {
        workers.spawn(work(Arc::clone(&all[n % 2]), format!("process {}", n % 2), TTL));
    }
    let done: Vec<LeasedJob> = workers.join_all().await.concat().into_iter().map(|(_, leased)| leased).collect();
    let mut times: HashMap<JobId, usize> = HashMap::new();
    for leased in &done {
        *times.entry(leased.job.id).or_default() += 1;
        assert_eq!(leased.resumed, lost.contains(&leased.job.id));
    }
    assert_eq!((times.len(), done.len()), (300, 300), "each once");
    assert_eq!(all[0].live_count().await.unwrap(), 300);
    let page = PageRequest { limit: 1000, cursor: None };
    let jobs = all[1].jobs(&asker("u"), JobFilter { status: Some(JobStatus::Done) }, page).await.unwrap();
    assert_eq!(jobs.items.len(), 100);
    assert_eq!(all[0].corpus_generation(&tenant("t")).await.unwrap(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_tenant_does_not_wait_for_a_large_one() {
    let all = processes(2).await;
    for n in 0..200 {
        all[0].accept(&by("large"), version("large", &format!("d{n}"), "x")).await.unwrap();
    }
    for n in 0..20 {
        all[0].accept(&by("small"), version("small", &format!("d{n}"), "x")).await.unwrap();
    }
    let mut workers = JoinSet::new();
    for n in 0..6 {
        workers.spawn(work(Arc::clone(&all[n % 2]), "w".into(), TTL));
    }
    let mut done = workers.join_all().await.concat();
    done.sort_by_key(|(at, _)| *at);
    let last_small = done.iter().rposition(|(_, leased)| leased.job.tenant.as_str() == "small").unwrap();
    // Turn and turn about, 40 would do; claims at the same moment may err by a few.
    assert!(last_small < 60, "the small tenant's last job was number {last_small}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_document_never_two_jobs_run() {
    let all = processes(2).await;
    for n in 0..40 {
        let id = format!("d{n}");
        all[0].accept(&by("t"), version("t", &id, "a")).await.unwrap();
        let leased = all[0].lease("w", TTL).await.unwrap().unwrap();
        finish(&all[0], &leased).await;
    }
    for n in 0..40 {
        let id = format!("d{n}");
        all[0].delete(&by("t"), &document(&id), None, None).await.unwrap();
        all[0].accept(&by("t"), version("t", &id, "b")).await.unwrap();
    }
    let mut workers = JoinSet::new();
    for n in 0..8 {
        workers.spawn(work(Arc::clone(&all[n % 2]), "w".into(), TTL));
    }
    let done = workers.join_all().await.concat();
    let mut order: BTreeMap<String, Vec<(Instant, u64)>> = BTreeMap::new();
    for (at, leased) in done {
        order.entry(leased.job.document_id.to_string()).or_default().push((at, leased.job.version));
    }
    for (id, mut jobs) in order {
        jobs.sort();
        assert_eq!(jobs.iter().map(|(_, version)| *version).collect::<Vec<_>>(), [2, 3], "{id}");
        let found = all[0].document(&asker("t"), &document(&id)).await.unwrap().unwrap();
        assert_eq!((found.status, found.live_version), (DocumentStatus::Ready, Some(3)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_of_one_document_accepted_at_once_are_numbered_one_by_one() {
    let all = processes(2).await;
    for (id, contents) in [("different", 24), ("same", 1)] {
        let mut offers = JoinSet::new();
        for n in 0..24 {
            let catalog = Arc::clone(&all[n % 2]);
            let offer = version("t", id, &format!("c{}", n % contents));
            offers.spawn(async move { catalog.accept(&by("t"), offer).await.unwrap() });
        }
        let accepted = offers.join_all().await;
        let mut numbers: Vec<u64> = accepted.iter().filter(|a| !a.unchanged).map(|a| a.job.version).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=contents as u64).collect::<Vec<_>>(), "{id}");
    }
    let mut offers = JoinSet::new();
    for n in 0..24 {
        let catalog = Arc::clone(&all[n % 2]);
        let offer = NewVersion { if_version: Some(0), ..version("t", "only", &format!("c{n}")) };
        offers.spawn(async move { catalog.accept(&by("t"), offer).await });
    }
    let (good, bad): (Vec<_>, Vec<_>) = offers.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 23));
    assert!(bad.into_iter().all(|refused| refused.unwrap_err().code == ErrorCode::Conflict));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_ends_while_an_index_is_added_is_in_it_or_gets_its_job() {
    let all = processes(2).await;
    let spec = |n: usize| IndexSpec::of(&format!("m{n}"), "1", 3);
    let first = spec(0).name;
    all[0].add_index(&spec(0), None).await.unwrap();
    for round in 1..=8 {
        let mut leases = Vec::new();
        for n in 0..12 {
            all[0].accept(&by("t"), version("t", &format!("d{n}"), &format!("r{round}"))).await.unwrap();
        }
        while let Some(leased) = all[0].lease("w", TTL).await.unwrap() {
            if leased.job.kind == JobKind::Rebuild {
                break;
            }
            all[0].store_text(&leased.lease, text(&["x"])).await.unwrap();
            all[0].advance(&leased.lease, Stage::Clean).await.unwrap();
            leases.push(leased);
        }
        let mut racing = JoinSet::new();
        for (n, leased) in leases.into_iter().enumerate() {
            let (catalog, written) = (Arc::clone(&all[n % 2]), [first.clone()]);
            racing.spawn(async move { catalog.complete(&leased.lease, &written).await.map(|_| ()) });
            if n == 5 {
                let (catalog, spec) = (Arc::clone(&all[1]), spec(round));
                racing.spawn(async move { catalog.add_index(&spec, None).await.map(|_| ()) });
            }
        }
        racing.join_all().await.into_iter().collect::<Result<Vec<_>, Error>>().unwrap();
        let waiting = all[0].unfinished(JobKind::Rebuild, &spec(round).name).await.unwrap();
        assert_eq!((waiting.active, waiting.stuck), (12, 0), "round {round}");
        for n in 1..=round {
            all[0].remove_index(&spec(n).name, None).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_and_ordinary_work_do_not_wait_for_each_other_in_a_circle() {
    let all = processes(2).await;
    let spec = |model| IndexSpec::of(model, "1", 3);
    all[0].add_index(&spec("a"), None).await.unwrap();
    let mut racing = JoinSet::new();
    for n in 0..4 {
        let catalog = Arc::clone(&all[n % 2]);
        racing.spawn(async move {
            for round in 0..25 {
                catalog
                    .accept(&by("t"), version("t", &format!("d{}", round % 5), &format!("{n}/{round}")))
                    .await
                    .unwrap();
                while let Some(leased) = catalog.lease("w", TTL).await.unwrap() {
                    let written = leased.index.clone().into_iter().collect::<Vec<_>>();
                    if leased.job.stage < Stage::Embed {
                        catalog.store_text(&leased.lease, text(&["x"])).await?;
                    }
                    if leased.job.stage < Stage::Clean {
                        catalog.advance(&leased.lease, Stage::Clean).await?;
                    }
                    match catalog.complete(&leased.lease, &written).await {
                        Err(lost) if lost.code == ErrorCode::Conflict => {}
                        ended => _ = ended?,
                    }
                }
            }
            Ok(())
        });
    }
    for catalog in &all {
        let catalog = Arc::clone(catalog);
        racing.spawn(async move {
            let documents: Vec<_> = (0..5).map(|n| (tenant("t"), document(&format!("d{n}")))).collect();
            for _ in 0..15 {
                catalog.add_index(&spec("b"), None).await?;
                catalog.enqueue(JobKind::Move, &spec("a").name, &documents).await?;
                catalog.retry_unfinished(JobKind::Rebuild, &spec("b").name).await?;
                catalog.remove_index(&spec("b").name, None).await?;
            }
            Ok(())
        });
    }
    for ended in racing.join_all().await {
        // Its job went with the index while it was at work: that is all that may happen.
        assert!(ended.as_ref().err().is_none_or(|e: &Error| e.code == ErrorCode::Conflict), "{ended:?}");
    }
}

#[tokio::test]
async fn leases_of_others_are_left_alone() {
    let all = processes(2).await;
    all[0].accept(&by("t"), version("t", "d", "x")).await.unwrap();
    let leased = all[0].lease("w", TTL).await.unwrap().unwrap();
    assert_eq!(all[1].release_all_leases().await.unwrap(), 0);
    assert!(all[1].lease("w", TTL).await.unwrap().is_none());
    assert!(all[0].heartbeat(&leased.lease, TTL, 0.5).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_make_one_schema() {
    let server = crate::server::server().await;
    let config = config(&server.url(&server.create_database().await.unwrap()));
    let mut starting = JoinSet::new();
    for _ in 0..6 {
        let config = config.clone();
        starting.spawn(async move { PostgresCatalog::open(&config).await.unwrap() });
    }
    for catalog in starting.join_all().await {
        catalog.check().await.unwrap();
    }
}

async fn hits(catalog: &PostgresCatalog) -> usize {
    let access = Access { tenant: tenant("t"), groups: GroupAccess::All };
    let query = KeywordQuery { access, text: "one".into(), k: 10, filter: Filter::default() };
    catalog.keyword_search(query).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_the_replica_while_it_answers() {
    let primary = PostgresServer::start().await.unwrap();
    let database = primary.create_database().await.unwrap();
    let replica = primary.replica().await.unwrap();
    let config = PostgresConfig { read_url: replica.url(&database).into(), ..config(&primary.url(&database)) };
    let catalog = PostgresCatalog::open(&config).await.unwrap();
    catalog.accept(&by("t"), version("t", "old", "x")).await.unwrap();
    let leased = catalog.lease("w", TTL).await.unwrap().unwrap();
    finish(&catalog, &leased).await;
    primary.wait_for(&replica).await.unwrap();
    assert_eq!(hits(&catalog).await, 1);

    replica.sql("postgres", "SELECT pg_wal_replay_pause()").await.unwrap();
    let accepted = catalog.accept(&by("t"), version("t", "new", "y")).await.unwrap();
    let (t, new) = (asker("t"), document("new"));
    assert_eq!(catalog.document(&t, &new).await.unwrap(), None, "the replica does not have it yet");
    assert!(catalog.history(&t, &new).await.unwrap().is_empty());
    assert!(catalog.job(&t, accepted.job.id).await.unwrap().is_some(), "single jobs come from the primary");
    assert!(catalog.accept(&by("t"), version("t", "new", "y")).await.unwrap().unchanged, "so do decisions");
    let leased = catalog.lease("w", TTL).await.unwrap().unwrap();
    finish(&catalog, &leased).await;
    assert_eq!((catalog.live_count().await.unwrap(), hits(&catalog).await), (2, 1));
    assert_eq!(catalog.live_documents(None, 10).await.unwrap().len(), 1);
    replica.sql("postgres", "SELECT pg_wal_replay_resume()").await.unwrap();
    primary.wait_for(&replica).await.unwrap();
    assert_eq!((hits(&catalog).await, catalog.live_documents(None, 10).await.unwrap().len()), (2, 2));

    replica.kill().await.unwrap();
    assert_eq!(hits(&catalog).await, 2, "the primary answers");
    let asked = Instant::now();
    assert!(catalog.document(&t, &new).await.unwrap().is_some());
    assert!(
        asked.elapsed() < Duration::from_millis(400),
        "and nobody waits for the replica again: {:?}",
        asked.elapsed()
    );
    catalog.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_has_everything_acknowledged() {
    let server = PostgresServer::start().await.unwrap();
    let database = server.create_database().await.unwrap();
    let config = PostgresConfig {
        connect_timeout_ms: 1_000,
        acquire_timeout_ms: 1_000,
        statement_timeout_ms: 2_000,
        ..config(&server.url(&database))
    };
    let catalog = PostgresCatalog::open(&config).await.unwrap();
    for n in 0..20 {
        catalog.accept(&by("t"), version("t", &format!("d{n}"), "x")).await.unwrap();
    }
    server.kill().await.unwrap();
    let refused = catalog.check().await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(refused.message.contains("ingestion.postgres.url: the server 127.0.0.1:"), "{refused}");
    let refused = catalog.accept(&by("t"), version("t", "lost", "x")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable, "{}", refused.chain());
    let refused = PostgresCatalog::open(&config).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(refused.message.contains("ingestion.postgres.url"), "{refused}");
    server.start_again().await.unwrap();
    catalog.check().await.unwrap();
    let page = PageRequest { limit: 1000, cursor: None };
    assert_eq!(catalog.jobs(&asker("t"), JobFilter::default(), page).await.unwrap().items.len(), 20);

    // One that only hangs: every call ends, whether it hangs from the start or in the middle.
    server.stall().await.unwrap();
    in_time(catalog.accept(&by("t"), version("t", "stalled", "x"))).await;
    server.resume().await.unwrap();
    catalog.check().await.unwrap();
    let catalog = Arc::new(catalog);
    let server = Arc::new(server);
    let (holder, held) = (Arc::clone(&server), database.clone());
    let holding =
        tokio::spawn(async move { holder.sql(&held, "BEGIN; LOCK TABLE tenants; SELECT pg_sleep(60)").await });
    let waiting =
        |granted: &str| format!("SELECT count(*) FROM pg_locks WHERE relation = 'tenants'::regclass AND {granted}");
    until(&server, &database, &waiting("granted AND mode = 'AccessExclusiveLock'")).await;
    let call = tokio::spawn(async move { in_time(catalog.accept(&by("t"), version("t", "stuck", "x"))).await });
    until(&server, &database, &waiting("NOT granted")).await;
    server.stall().await.unwrap();
    let refused = call.await.unwrap();
    assert!(refused.message.contains("in time"), "{}", refused.chain());
    holding.abort();
    server.resume().await.unwrap();
}

/// A call that must be refused before long.
async fn in_time<T: std::fmt::Debug>(call: impl Future<Output = Result<T, Error>>) -> Error {
    let refused = tokio::time::timeout(Duration::from_secs(8), call).await.unwrap().unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable, "{}", refused.chain());
    refused
}

/// Waits until this counts something.
async fn until(server: &PostgresServer, database: &str, count: &str) {
    let started = Instant::now();
    while server.sql(database, count).await.unwrap() == "0" {
        assert!(started.elapsed() < Duration::from_secs(10), "{count}");
    }
}
