//! Adding and removing shards while searches and writes go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use ragstone_core::ports::VectorStore;
use ragstone_core::{ErrorCode, SearchMode, Topology, place};
use ragstone_testkit::qdrant::ClusterConfig;
use tokio::task::JoinHandle;

use ragstone_vector::{QdrantConfig, QdrantIndexes};

use crate::common::{Server, document, fill, hits, open, point, put, query, tenant, vector};

/// Documents that stay as they are, of two chunks each.
const DOCUMENTS: usize = 400;
/// Documents that are replaced all the time.
const REPLACED: usize = 6;

fn shards(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s{n}")).collect()
}

/// Searches for everything, all the time: every document that stays must be there, once, with both chunks, and every
/// replaced one in one version.
struct Watch {
    done: Arc<AtomicBool>,
    searches: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Watch {
    fn start(store: Arc<dyn VectorStore>, documents: usize, replaced: usize) -> Self {
        let (done, searches) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stop, count) = (Arc::clone(&done), Arc::clone(&searches));
        let task = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                look(&*store, documents, replaced).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { done, searches, task }
    }

    async fn end(self) -> usize {
        self.done.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.searches.load(Ordering::Relaxed)
    }
}

async fn look(store: &dyn VectorStore, documents: usize, replaced: usize) {
    let found = hits(store, query("t", "", SearchMode::Dense, 2 * DOCUMENTS + 50)).await;
    let mut chunks: BTreeMap<&str, Vec<(u64, u32)>> = BTreeMap::new();
    for (name, version, chunk) in &found {
        chunks.entry(name).or_default().push((*version, *chunk));
    }
    for n in 0..documents {
        let mut of_it = chunks.remove(format!("d{n}").as_str()).unwrap_or_default();
        of_it.sort_unstable();
        assert_eq!(of_it, [(1, 0), (1, 1)], "d{n}");
    }
    for n in 0..replaced {
        let of_it = chunks.remove(format!("w{n}").as_str()).unwrap_or_default();
        assert_eq!(of_it.len(), 1, "w{n}: {of_it:?}");
    }
}

/// Replaces documents, and adds and deletes others, until told to stop.
fn write(store: Arc<dyn VectorStore>, done: Arc<AtomicBool>) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let mut version = 1;
        while !done.load(Ordering::Relaxed) {
            version += 1;
            for n in 0..REPLACED {
                replace(&*store, &format!("w{n}"), version).await;
            }
            let passing = format!("passing{version}");
            put(&*store, vec![point("t", &passing, 1, 0, "comes and goes")]).await;
            let found = hits(&*store, query("t", "comes goes", SearchMode::Keyword, 20)).await;
            assert!(found.iter().any(|hit| hit.0 == passing), "{passing} not in {found:?}");
            store.remove_versions(&tenant("t"), &document(&passing), 2).await.unwrap();
            let found = hits(&*store, query("t", "comes goes", SearchMode::Keyword, 20)).await;
            assert!(found.iter().all(|hit| hit.0 != passing), "{passing} in {found:?}");
        }
        version
    })
}

async fn replace(store: &dyn VectorStore, name: &str, version: u64) {
    write_one(store, name, version).await;
    let found = hits(store, query("t", &format!("number{version}"), SearchMode::Keyword, 20)).await;
    assert!(found.iter().any(|hit| hit.0 == name && hit.1 == version), "{name} {version} not in {found:?}");
    store.remove_versions(&tenant("t"), &document(name), version).await.unwrap();
}

async fn write_one(store: &dyn VectorStore, name: &str, version: u64) {
    loop {
        let mut only = point("t", name, version, 0, &format!("replaced number{version}"));
        only.vector = vector(version);
        store.upsert_staged(vec![only]).await.unwrap();
        match store.publish(&tenant("t"), &document(name), version, 1).await {
            Ok(()) => break,
            // Writes began to go to the new places in between: as the pipeline does, store it again.
            Err(error) => assert_eq!(error.code, ErrorCode::NotFound, "{error}"),
        }
    }
}

/// Moves documents that stay, many at a time; how many had to.
async fn move_all(store: &dyn VectorStore, documents: usize) -> usize {
    let moves = (0..documents)
        .map(|n| async move { store.move_document(&tenant("t"), &document(&format!("d{n}"))).await.unwrap() });
    let moved: Vec<bool> = futures::stream::iter(moves).buffer_unordered(16).collect().await;
    moved.into_iter().filter(|moved| *moved).count()
}

async fn names(store: &dyn VectorStore) -> BTreeSet<String> {
    hits(store, query("t", "", SearchMode::Dense, 2000)).await.into_iter().map(|hit| hit.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fifth_shard_takes_its_share_and_no_search_misses_or_doubles_a_document() {
    let server = Server::cluster(4).await;
    let store = server.store().await;
    fill(&*store, DOCUMENTS).await;
    for n in 0..REPLACED {
        put(&*store, vec![point("t", &format!("w{n}"), 1, 0, "replaced number1")]).await;
    }
    // The one who searches and the one who writes are other replicas than the one who moves.
    let (reader, writer) = (server.store().await, server.store().await);
    let watch = Watch::start(reader, DOCUMENTS, REPLACED);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = write(Arc::clone(&writer), Arc::clone(&stop));
    store.begin_reshard(&shards(5)).await.unwrap();
    assert_eq!(store.topology().await.unwrap(), Topology { shards: shards(4), moving_to: Some(shards(5)) });
    let early = store.finish_reshard().await.unwrap_err();
    assert_eq!(early.code, ErrorCode::Conflict, "{early}");
    let other = store.begin_reshard(&shards(6)).await.unwrap_err();
    assert_eq!(other.code, ErrorCode::Conflict, "{other}");
    let moved = move_all(&*store, DOCUMENTS).await;
    assert!((60..=100).contains(&moved), "{moved} of {DOCUMENTS} moved");
    assert_eq!(move_all(&*store, DOCUMENTS).await, 0);
    stop.store(true, Ordering::Relaxed);
    let version = writing.await.unwrap();
    for n in 0..REPLACED {
        store.move_document(&tenant("t"), &document(&format!("w{n}"))).await.unwrap();
    }
    assert_eq!(store.live_documents().await.unwrap(), (DOCUMENTS + REPLACED) as u64);
    store.finish_reshard().await.unwrap();
    assert_eq!(store.topology().await.unwrap(), Topology { shards: shards(5), moving_to: None });
    // Again changes nothing.
    store.finish_reshard().await.unwrap();
    store.begin_reshard(&shards(5)).await.unwrap();
    let searches = watch.end().await;
    eprintln!("{moved} of {DOCUMENTS} documents moved, {searches} searches and {version} rounds of writes meanwhile");
    assert!(searches > 10 && version > 3, "{searches} searches, {version} rounds");
    assert_eq!(store.live_documents().await.unwrap(), (DOCUMENTS + REPLACED) as u64);
    assert_eq!(names(&*store).await.len(), DOCUMENTS + REPLACED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_learns_late_finds_what_is_written_to_a_new_shard() {
    let server = Server::cluster(4).await;
    let slow = || async {
        let config = QdrantConfig { topology_refresh_ms: 1500, ..server.config() };
        open(&QdrantIndexes::open(config).await.unwrap()).await
    };
    let store = slow().await;
    put(&*store, vec![point("t", "first", 1, 0, "comes and goes")]).await;
    // Two others, of which one looks half an interval later: whoever learns first writes what the other is to find.
    let one = slow().await;
    tokio::time::sleep(Duration::from_millis(750)).await;
    let other = slow().await;
    let done = Arc::new(AtomicBool::new(false));
    let pairs = [("a", &one, &other), ("b", &other, &one)];
    let writing = pairs.map(|(prefix, writer, reader)| {
        tokio::spawn(write_to_fifth(prefix, Arc::clone(writer), Arc::clone(reader), Arc::clone(&done)))
    });
    store.begin_reshard(&shards(5)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    done.store(true, Ordering::Relaxed);
    for count in futures::future::join_all(writing).await {
        assert!(count.unwrap() > 20);
    }
}

/// Writes documents whose place is the fifth shard and looks for each at once; how many.
async fn write_to_fifth(
    prefix: &'static str,
    writer: Arc<dyn VectorStore>,
    reader: Arc<dyn VectorStore>,
    done: Arc<AtomicBool>,
) -> usize {
    let names = (0..).map(|n| format!("{prefix}{n}")).filter(|name| place(&shards(5), "t", name) == Some("s4"));
    let mut count = 0;
    for name in names.take_while(|_| !done.load(Ordering::Relaxed)) {
        write_one(&*writer, &name, 1).await;
        let found = hits(&*reader, query("t", "", SearchMode::Dense, 2000)).await;
        assert!(found.iter().any(|hit| hit.0 == name), "{name} is not found after {count} others");
        count += 1;
    }
    count
}

/// Makes every peer late by another time every few milliseconds: one search then reads its shards at different moments.
fn shake(server: &Arc<Server>, done: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (server, done) = (Arc::clone(server), Arc::clone(done));
    tokio::spawn(async move {
        let mut random = fastrand::Rng::with_seed(3);
        while !done.load(Ordering::Relaxed) {
            for peer in 0..server.urls.len() {
                server.faults().delay(peer, Duration::from_millis(random.u64(0..300)));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (0..server.urls.len()).for_each(|peer| server.faults().delay(peer, Duration::ZERO));
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_search_that_reads_its_shards_at_different_moments_misses_nothing() {
    const FEW: usize = 120;
    let server = Arc::new(Server::cluster(4).await);
    let store = server.store().await;
    fill(&*store, FEW).await;
    store.begin_reshard(&shards(5)).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let shaking = shake(&server, &done);
    let mut watches = Vec::new();
    for _ in 0..6 {
        watches.push(Watch::start(server.store().await, FEW, 0));
    }
    let moved = move_all(&*store, FEW).await;
    for watch in watches {
        assert!(watch.end().await > 5, "searches hardly ran");
    }
    done.store(true, Ordering::Relaxed);
    shaking.await.unwrap();
    assert!(moved > 10, "{moved}");
    store.finish_reshard().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_move_that_crashes_anywhere_is_taken_up_again() {
    let server = Server::cluster(4).await;
    let store = server.store().await;
    fill(&*store, DOCUMENTS).await;
    let watch = Watch::start(server.store().await, DOCUMENTS, 0);
    let target: Vec<String> = shards(4).split_off(1).into_iter().chain(["s4".to_owned()]).collect();
    let mut random = fastrand::Rng::with_seed(5);
    // Each attempt is another process that dies at some time.
    for attempt in 0..6 {
        let store = server.store().await;
        let limit = Duration::from_millis(200 + 900 * attempt + random.u64(0..200));
        drop(tokio::time::timeout(limit, store.begin_reshard(&target)).await);
    }
    server.store().await.begin_reshard(&target).await.unwrap();
    for _ in 0..5 {
        let store = server.store().await;
        let limit = Duration::from_millis(random.u64(50..1500));
        drop(tokio::time::timeout(limit, move_all(&*store, DOCUMENTS)).await);
    }
    let store = server.store().await;
    move_all(&*store, DOCUMENTS).await;
    drop(tokio::time::timeout(Duration::from_millis(800), store.finish_reshard()).await);
    let store = server.store().await;
    store.finish_reshard().await.unwrap();
    assert_eq!(store.topology().await.unwrap(), Topology { shards: target, moving_to: None });
    watch.end().await;
    // The shard that is no longer used is gone.
    let info = server.client().collection_cluster_info(server.collection()).await.unwrap();
    let all = info.local_shards.iter().map(|s| &s.shard_key).chain(info.remote_shards.iter().map(|s| &s.shard_key));
    assert!(all.flatten().all(|key| *key != "s0".into()), "{info:?}");
    assert_eq!(store.live_documents().await.unwrap(), DOCUMENTS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_refused() {
    let single = Server::with(ClusterConfig { distributed: false, ..ClusterConfig::default() }).await;
    let store = single.store().await;
    assert_eq!(store.topology().await.unwrap(), Topology { shards: shards(1), moving_to: None });
    let error = store.begin_reshard(&shards(2)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unprocessable, "{error}");
    let server = Server::cluster(2).await;
    let store = server.store().await;
    for bad in [vec![], vec!["s0".to_owned(), "s0".to_owned()], vec!["S 0".to_owned()]] {
        let error = store.begin_reshard(&bad).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{bad:?}");
    }
    server.faults().stop_peer(1).await;
    let error = store.begin_reshard(&shards(5)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
    assert!(error.message.contains("retrieval.qdrant.urls"), "{error}");
}
