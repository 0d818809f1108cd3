//! Tests that a document leaves its old shard only when every search that may have asked the new one too early has ended.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::FutureExt;
use ragstone_core::ports::VectorStore;
use ragstone_core::{DocumentId, TenantId};

use crate::edge::faults::{config, open, query, ten};
use crate::edge::shard::Shard;
use crate::{EdgeConfig, EdgeStore};

/// A document that is to leave one shard for another.
struct Leaving {
    store: Arc<EdgeStore>,
    document: DocumentId,
    old: Arc<Shard>,
    new: Arc<Shard>,
    _directory: tempfile::TempDir,
}

async fn leaving() -> Leaving {
    let directory = tempfile::tempdir().unwrap();
    let store = open(EdgeConfig { shards: 1, ..config(directory.path()) }).await;
    ten(&store).await;
    store.begin_reshard(&["s0".to_owned(), "s1".to_owned()]).await.unwrap();
    let layout = store.shards.now();
    let name = (0..10).map(|n| format!("d{n}")).find(|name| layout.leaves("t", name).is_some()).unwrap();
    let (old, new) = (layout.leaves("t", &name).unwrap().clone(), layout.place("t", &name).unwrap().clone());
    Leaving { store, document: DocumentId::new(name).unwrap(), old, new, _directory: directory }
}

/// Keeps searches and writes of a shard from its engine.
struct Hold {
    release: Sender<()>,
    holder: JoinHandle<()>,
}

impl Hold {
    fn of(shard: &Arc<Shard>) -> Self {
        let (release, released) = channel::<()>();
        let (held, is_held) = channel();
        let shard = Arc::clone(shard);
        let holder = std::thread::spawn(move || {
            let _guard = shard.exclusive();
            held.send(()).unwrap();
            // Ends when the sender is dropped.
            released.recv().unwrap_err();
        });
        is_held.recv().unwrap();
        Self { release, holder }
    }

    fn release(self) {
        drop(self.release);
        self.holder.join().unwrap();
    }
}

fn tenant() -> TenantId {
    TenantId::new("t").unwrap()
}

#[tokio::test]
async fn a_document_stays_on_its_old_shard_while_an_earlier_search_runs() {
    let Leaving { store, document, old, new, _directory } = leaving().await;
    let search = store.shards.searches.enter();
    let mut moving = Box::pin({
        let store = Arc::clone(&store);
        async move { store.move_document(&tenant(), &document).await }
    });
    while new.write(|shard, _| shard.count()).await.unwrap() == 0 {
        assert!(moving.as_mut().now_or_never().is_none(), "moved too early");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Both have it now; nothing but the search keeps the move from going on.
    assert!(tokio::time::timeout(Duration::from_millis(300), moving.as_mut()).await.is_err(), "moved too early");
    assert_eq!(old.write(|shard, _| shard.count()).await.unwrap(), 10);
    assert_eq!(store.search(query()).await.unwrap().hits.len(), 10);
    drop(search);
    assert!(moving.await.unwrap());
    assert_eq!(old.write(|shard, _| shard.count()).await.unwrap(), 9);
    assert_eq!(store.search(query()).await.unwrap().hits.len(), 10);
    // On both disks: a crash brings no copy back.
    for shard in [old, new] {
        assert_eq!(shard.writer().lock().await.flushed, shard.applied(), "{}", shard.name);
    }
}

#[tokio::test]
async fn searches_and_counts_are_under_way_until_every_shard_has_answered() {
    let Leaving { store, old, .. } = leaving().await;
    let hold = Hold::of(&old);
    let mut search = Box::pin(store.search(query()));
    assert!(search.as_mut().now_or_never().is_none());
    assert!(store.shards.searches.drain().now_or_never().is_none());
    hold.release();
    assert_eq!(search.await.unwrap().hits.len(), 10);
    store.shards.searches.drain().await;

    let writer = old.writer().lock().await;
    let mut count = Box::pin(store.live_documents());
    assert!(count.as_mut().now_or_never().is_none());
    assert!(store.shards.searches.drain().now_or_never().is_none());
    drop(writer);
    assert_eq!(count.await.unwrap(), 10);
    store.shards.searches.drain().await;
}

#[tokio::test]
async fn a_write_that_began_before_is_waited_for() {
    let Leaving { store, old, .. } = leaving().await;
    let layout = store.shards.now();
    let stays = (0..10).map(|n| format!("d{n}")).find(|name| layout.leaves("t", name).is_none()).unwrap();
    let stays = DocumentId::new(stays).unwrap();
    let writer = old.writer().lock().await;
    let t = tenant();
    let mut publish = Box::pin(store.publish(&t, &stays, 1, 1));
    assert!(publish.as_mut().now_or_never().is_none());
    assert!(store.shards.settle().now_or_never().is_none());
    drop(writer);
    publish.await.unwrap();
    store.shards.settle().await;

    // Also when its caller has left meanwhile.
    let hold = Hold::of(&old);
    let mut publish = Box::pin(store.publish(&t, &stays, 1, 1));
    assert!(publish.as_mut().now_or_never().is_none());
    drop(publish);
    assert!(tokio::time::timeout(Duration::from_millis(300), store.shards.settle()).await.is_err());
    hold.release();
    store.shards.settle().await;
}
