//! Other shards while the index is searched and written: nothing is missed, nothing comes twice, and it can be resumed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ragstone_core::ports::VectorStore;
use ragstone_core::{ErrorCode, SearchMode, place};

use crate::contract::{Fixture, document, fresh, hits, point, put, query, reopened, tenant};

/// Documents of the moving test; of those with these names a share between 15 and 25 % changes places.
const DOCUMENTS: u64 = 100;
const MODES: [SearchMode; 3] = [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword];

fn shards(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("s{n}")).collect()
}

fn name(n: u64) -> String {
    format!("{n}.md")
}

/// Stores a version of two chunks.
async fn put_two(store: &dyn VectorStore, name: &str, version: u64) {
    let chunks = (0..2).map(|n| point("t", name, version, n, "apple"));
    put(store, chunks.collect()).await;
}

/// Every document found, with the version; each has to be there with both chunks, once, in one version.
async fn whole(store: &dyn VectorStore, mode: SearchMode) -> BTreeMap<String, u64> {
    let found = store.search(query("t", "apple", mode, 4 * DOCUMENTS as usize)).await.unwrap();
    assert!(!found.shards.is_partial(), "{:?}", found.shards);
    let mut documents: BTreeMap<String, Vec<(u32, u64)>> = BTreeMap::new();
    for hit in found.hits {
        documents.entry(hit.document_id.to_string()).or_default().push((hit.chunk_index, hit.version));
    }
    for (name, chunks) in &mut documents {
        chunks.sort_unstable();
        assert_eq!(*chunks, [(0, chunks[0].1), (1, chunks[0].1)], "{name}, {mode:?}");
    }
    documents.into_iter().map(|(name, chunks)| (name, chunks[0].1)).collect()
}

/// What must be found: of each document, the version that was last published when the search began, or a later one.
struct Expected(Mutex<BTreeMap<String, u64>>);

impl Expected {
    fn now(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap().clone()
    }

    fn set(&self, name: &str, version: u64) {
        self.0.lock().unwrap().insert(name.to_owned(), version);
    }
}

/// Searches until `done`, and compares.
async fn keep_searching(
    store: Arc<dyn VectorStore>,
    mode: SearchMode,
    expected: &Expected,
    done: &AtomicBool,
) -> usize {
    let mut searches = 0;
    while !done.load(Ordering::Relaxed) {
        let before = expected.now();
        let found = whole(&*store, mode).await;
        for (name, version) in &before {
            let got = found.get(name);
            assert!(got.is_some_and(|got| got >= version), "{mode:?}: {name} in version {version}, found {got:?}");
        }
        searches += 1;
    }
    searches
}

/// Moves to `target` while searches run and documents are written. How many moved.
async fn reshard_busily(store: &Arc<dyn VectorStore>, target: &[String], expected: Arc<Expected>) -> u64 {
    let done = Arc::new(AtomicBool::new(false));
    let searches = Arc::new(AtomicUsize::new(0));
    let searching: Vec<_> = MODES
        .into_iter()
        .map(|mode| {
            let (store, done, searches) = (Arc::clone(store), Arc::clone(&done), Arc::clone(&searches));
            let expected = Arc::clone(&expected);
            tokio::spawn(async move {
                searches.fetch_add(keep_searching(store, mode, &expected, &done).await, Ordering::Relaxed);
            })
        })
        .collect();
    store.begin_reshard(target).await.unwrap();
    let moved = AtomicU64::new(0);
    for n in 0..DOCUMENTS {
        let name = name(n);
        // Every seventh is replaced just before its turn comes, every eleventh just after.
        let version = expected.now()[&name];
        if n % 7 == 0 {
            put_two(&**store, &name, version + 1).await;
            expected.set(&name, version + 1);
        }
        if store.move_document(&tenant("t"), &document(&name)).await.unwrap() {
            moved.fetch_add(1, Ordering::Relaxed);
        }
        if n % 11 == 0 {
            put_two(&**store, &name, version + 2).await;
            expected.set(&name, version + 2);
            store.remove_versions(&tenant("t"), &document(&name), version + 2).await.unwrap();
        }
    }
    store.finish_reshard().await.unwrap();
    done.store(true, Ordering::Relaxed);
    for search in searching {
        search.await.unwrap();
    }
    assert!(searches.load(Ordering::Relaxed) >= MODES.len(), "searches hardly ran");
    moved.into_inner()
}

pub(crate) async fn a_fixed_number_of_shards_is_said<F: Fixture>(fixture: &F) {
    if F::RESHARDS {
        return;
    }
    let (_indexes, store) = fresh(fixture).await;
    let error = store.begin_reshard(&shards(5)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unprocessable, "{error}");
}

pub(crate) async fn impossible_shards_are_refused<F: Fixture>(fixture: &F) {
    if !F::RESHARDS {
        return;
    }
    let (_indexes, store) = fresh(fixture).await;
    let before = store.topology().await.unwrap();
    assert_eq!((before.shards.clone(), before.moving_to.clone()), (shards(4), None));
    let twice = vec!["s0".to_owned(), "s0".to_owned()];
    for bad in [Vec::new(), twice, vec![String::new()], vec!["../s".to_owned()], vec!["S 0".to_owned()]] {
        let error = store.begin_reshard(&bad).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{bad:?}: {error}");
    }
    // Nothing moves: these do nothing.
    store.begin_reshard(&shards(4)).await.unwrap();
    store.finish_reshard().await.unwrap();
    assert!(!store.move_document(&tenant("t"), &document("d")).await.unwrap());
    assert_eq!(store.topology().await.unwrap(), before);
}

pub(crate) async fn a_fifth_shard_takes_its_share_while_searches_run_and_gives_it_back<F: Fixture>(fixture: &F) {
    if !F::RESHARDS {
        return;
    }
    let (_indexes, store) = fresh(fixture).await;
    let expected = Arc::new(Expected(Mutex::default()));
    for n in 0..DOCUMENTS {
        put_two(&*store, &name(n), 1).await;
        expected.set(&name(n), 1);
    }
    // How many change places; one that was written before its turn has moved already then.
    let change = (0..DOCUMENTS).filter(|n| place(&shards(5), "t", &name(*n)) == Some("s4")).count() as u64;
    let share = change as f64 / DOCUMENTS as f64;
    assert!((0.15..=0.25).contains(&share), "{share}");
    for target in [shards(5), shards(4)] {
        let moved = reshard_busily(&store, &target, Arc::clone(&expected)).await;
        assert!(moved <= change && moved >= change / 2, "{moved} of {change}");
        let topology = store.topology().await.unwrap();
        assert_eq!((topology.shards, topology.moving_to), (target.clone(), None));
        for mode in MODES {
            assert_eq!(whole(&*store, mode).await, expected.now(), "{mode:?}");
        }
        assert_eq!(store.live_documents().await.unwrap(), DOCUMENTS);
        let asked = store.search(query("t", "apple", SearchMode::Hybrid, 1)).await.unwrap().shards;
        assert_eq!((asked.asked, asked.answered), (target.len() as u32, target.len() as u32));
    }
}

pub(crate) async fn a_move_goes_on_after_opening_again<F: Fixture>(fixture: &F) {
    const FEW: u64 = 30;
    if !F::RESHARDS {
        return;
    }
    let (indexes, store) = fresh(fixture).await;
    for n in 0..FEW {
        put_two(&*store, &name(n), 1).await;
        store.flush(&tenant("t"), &document(&name(n))).await.unwrap();
    }
    store.begin_reshard(&shards(5)).await.unwrap();
    let (indexes, store) = reopened(fixture, (indexes, store)).await;
    let leaving = store.topology().await.unwrap();
    assert_eq!((&leaving.shards, &leaving.moving_to), (&shards(4), &Some(shards(5))));
    store.begin_reshard(&shards(5)).await.unwrap();
    let elsewhere = store.begin_reshard(&shards(6)).await.unwrap_err();
    assert_eq!(elsewhere.code, ErrorCode::Conflict, "{elsewhere}");
    let mut leaving: Vec<String> = (0..FEW).map(name).filter(|name| leaving.leaves("t", name).is_some()).collect();
    assert!(leaving.len() >= 2, "{leaving:?}");
    let last = leaving.pop().unwrap();
    let (mut indexes, mut store) = (indexes, store);
    for name in &leaving {
        assert!(store.move_document(&tenant("t"), &document(name)).await.unwrap());
        (indexes, store) = reopened(fixture, (indexes, store)).await;
        assert!(!store.move_document(&tenant("t"), &document(name)).await.unwrap(), "{name} moved twice");
        assert_eq!(whole(&*store, SearchMode::Keyword).await.len() as u64, FEW);
        assert_eq!(store.live_documents().await.unwrap(), FEW);
    }
    let early = store.finish_reshard().await.unwrap_err();
    assert_eq!(early.code, ErrorCode::Conflict, "{early}");
    assert!(store.move_document(&tenant("t"), &document(&last)).await.unwrap());
    store.finish_reshard().await.unwrap();
    let (_indexes, store) = reopened(fixture, (indexes, store)).await;
    let topology = store.topology().await.unwrap();
    assert_eq!((topology.shards, topology.moving_to), (shards(5), None));
    for mode in MODES {
        assert_eq!(whole(&*store, mode).await.len() as u64, FEW, "{mode:?}");
    }
    assert_eq!(store.live_documents().await.unwrap(), FEW);
}

pub(crate) async fn documents_written_before_they_moved_are_right<F: Fixture>(fixture: &F) {
    const FEW: u64 = 40;
    if !F::RESHARDS {
        return;
    }
    let (_indexes, store) = fresh(fixture).await;
    for n in 0..FEW {
        // Words that only the first version has.
        put(&*store, vec![point("t", &name(n), 1, 0, "apple pear")]).await;
    }
    store.begin_reshard(&shards(5)).await.unwrap();
    let topology = store.topology().await.unwrap();
    let leaving: Vec<String> = (0..FEW).map(name).filter(|name| topology.leaves("t", name).is_some()).collect();
    let [replaced, deleted, late, ..] = &leaving[..] else {
        unreachable!("too few documents leave: {leaving:?}");
    };
    put(&*store, vec![point("t", replaced, 2, 0, "apple")]).await;
    store.remove_versions(&tenant("t"), &document(deleted), 2).await.unwrap();
    // Older than what is live.
    store.upsert_staged(vec![point("t", late, 0, 0, "plum")]).await.unwrap();
    store.publish(&tenant("t"), &document(late), 0, 1).await.unwrap();
    let check = async || {
        let found = hits(&*store, query("t", "apple", SearchMode::Keyword, 100)).await;
        assert_eq!(found.len() as u64, FEW - 1);
        assert!(found.contains(&(replaced.clone(), 2, 0)) && found.contains(&(late.clone(), 1, 0)), "{found:?}");
        assert!(!found.iter().any(|hit| hit.0 == *deleted), "{found:?}");
        let old = hits(&*store, query("t", "pear", SearchMode::Keyword, 100)).await;
        assert!(!old.iter().any(|hit| hit.0 == *replaced), "{old:?}");
        assert!(hits(&*store, query("t", "plum", SearchMode::Keyword, 100)).await.is_empty());
        assert_eq!(store.live_documents().await.unwrap(), FEW - 1);
    };
    check().await;
    for n in 0..FEW {
        store.move_document(&tenant("t"), &document(&name(n))).await.unwrap();
        check().await;
    }
    store.finish_reshard().await.unwrap();
    check().await;
}
