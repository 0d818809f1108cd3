//! Peers that are killed, slow or failing.

use std::time::{Duration, Instant};

use ragstone_core::SearchMode;
use ragstone_core::ports::VectorIndexes;
use ragstone_vector::{Balance, EjectionConfig, QdrantConfig, QdrantIndexes};
use tonic::Code;

use crate::common::{Server, fill, hits, ids, open, point, put, query, spec};

const QUERIES: &str = "Points/QueryBatch";

fn search() -> ragstone_core::VectorQuery {
    query("t", "common words part 1", SearchMode::Hybrid, 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_peer_may_die_and_a_shard_without_replicas_is_named() {
    let server = Server::cluster(8).await;
    let store = server.store().await;
    fill(&*store, 40).await;
    let before = hits(&*store, search()).await;
    assert_eq!(before.len(), 10);
    for peer in 0..8 {
        server.faults().stop_peer(peer).await;
        for _ in 0..5 {
            assert_eq!(hits(&*store, search()).await, before, "without peer {peer}");
        }
        server.faults().start_peer(peer).await.unwrap();
        // Until it is known again that it is there: this is about one fault at a time.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let holders = server.holders("s2").await;
    assert_eq!(holders.len(), 2);
    for peer in &holders {
        server.faults().stop_peer(*peer).await;
    }
    for _ in 0..10 {
        let found = store.search(search()).await.unwrap();
        assert_eq!((found.shards.asked, found.shards.answered), (4, 3));
        assert_eq!(found.shards.missing, ["s2"]);
        assert!(!found.hits.is_empty());
    }
    assert_eq!(store.unhealthy_shards().await, ["s2"]);
    // Not only for as long as what was known before is fresh.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.search(search()).await.unwrap().shards.missing, ["s2"]);
    for peer in holders {
        server.faults().start_peer(peer).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(hits(&*store, search()).await, before);
    assert!(store.unhealthy_shards().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_without_a_peer_and_are_seen_on_all_replicas() {
    let server = Server::cluster(4).await;
    let store = server.store().await;
    fill(&*store, 8).await;
    for peer in 0..4 {
        server.faults().stop_peer(peer).await;
        for n in 0..4 {
            put(&*store, vec![point("t", &format!("w{n}"), peer as u64 + 1, 0, "unusual text")]).await;
            for _ in 0..4 {
                let found = hits(&*store, query("t", "unusual", SearchMode::Keyword, 10)).await;
                let of_it: Vec<_> = found.iter().filter(|hit| hit.0 == format!("w{n}")).collect();
                assert_eq!(of_it.len(), 1, "{found:?}");
                assert_eq!(of_it[0].1, peer as u64 + 1, "{found:?}");
            }
        }
        server.faults().start_peer(peer).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_peer_is_hedged_within_the_budget_and_then_avoided() {
    let server = Server::cluster(8).await;
    let store = server.store().await;
    fill(&*store, 20).await;
    // Latencies to learn from.
    for _ in 0..60 {
        hits(&*store, search()).await;
    }
    let slow = server.holders("s1").await[0];
    server.faults().delay(slow, Duration::from_secs(2));
    server.faults().reset_calls();
    let mut times = Vec::new();
    for _ in 0..400 {
        let begin = Instant::now();
        hits(&*store, search()).await;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let calls: u64 = (0..8).map(|peer| server.faults().calls(peer).get(QUERIES).copied().unwrap_or(0)).sum();
    let to_slow = server.faults().calls(slow).get(QUERIES).copied().unwrap_or(0);
    let (p50, p99, worst) = (times[200], times[396], times[399]);
    eprintln!("{calls} calls for 1600 answers, {to_slow} to the slow peer; p50 {p50:?}, p99 {p99:?}, worst {worst:?}");
    // Half of two shards' calls would go there by turns.
    assert!((1..100).contains(&to_slow), "{to_slow}");
    assert!((1600..=1680).contains(&calls), "{calls}");
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_takes_turns() {
    let server = Server::cluster(2).await;
    let config = QdrantConfig { balance: Balance::RoundRobin, shards: 1, ..server.config() };
    let store = open(&QdrantIndexes::open(config).await.unwrap()).await;
    fill(&*store, 2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.faults().reset_calls();
    for _ in 0..20 {
        hits(&*store, search()).await;
    }
    let calls = |peer| server.faults().calls(peer).get(QUERIES).copied().unwrap_or(0);
    assert!(calls(0) >= 9 && calls(1) >= 9, "{} and {}", calls(0), calls(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_peer_is_left_alone_and_comes_back() {
    let server = Server::cluster(2).await;
    let ejection = EjectionConfig { consecutive_failures: 5, base_seconds: 2 };
    // So long that it is not the look at the shards that keeps searches away.
    let topology_refresh_ms = 4000;
    let config = QdrantConfig { ejection, topology_refresh_ms, balance: Balance::RoundRobin, ..server.config() };
    let indexes = QdrantIndexes::open(config).await.unwrap();
    indexes.create(&spec()).await.unwrap();
    // Another replica of the service fills it, which looks often.
    fill(&*server.store().await, 10).await;
    let store = indexes.open(None).await.unwrap();
    hits(&*store, search()).await;
    let calls = |peer: usize| server.faults().calls(peer).get(QUERIES).copied().unwrap_or(0);
    server.faults().fail(0, Code::Unavailable, 100_000);
    // Each search is answered all the same, by the other replica.
    for _ in 0..10 {
        hits(&*store, search()).await;
    }
    server.faults().reset_calls();
    for _ in 0..10 {
        hits(&*store, search()).await;
    }
    assert_eq!(calls(0), 0, "an ejected peer was asked");
    assert_eq!(calls(1), 40);
    // Its time is over, but it still fails: one call shows it, and searches stay away.
    tokio::time::sleep(Duration::from_millis(5000)).await;
    server.faults().reset_calls();
    for _ in 0..10 {
        hits(&*store, search()).await;
    }
    assert_eq!(calls(0), 0, "a peer that still fails was let back");
    server.faults().fail(0, Code::Unavailable, 0);
    let begin = Instant::now();
    while calls(0) == 0 {
        hits(&*store, search()).await;
        assert!(begin.elapsed() < Duration::from_secs(20), "it never came back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_usable_peer_is_never_left_alone() {
    let server = Server::cluster(2).await;
    let config = QdrantConfig { balance: Balance::RoundRobin, ..server.config() };
    let indexes = QdrantIndexes::open(config).await.unwrap();
    let store = open(&indexes).await;
    fill(&*store, 4).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for peer in 0..2 {
        server.faults().fail(peer, Code::Unavailable, 100_000);
    }
    for _ in 0..10 {
        let error = store.search(search()).await.unwrap_err();
        assert_eq!(error.code, ragstone_core::ErrorCode::Unavailable);
    }
    for peer in 0..2 {
        server.faults().fail(peer, Code::Unavailable, 0);
    }
    // The one that was never ejected serves at once, for 30 seconds alone.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(hits(&*store, search()).await.len(), 8);
    assert!(indexes.check().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hangs_costs_its_time_and_no_more() {
    let server = Server::cluster(4).await;
    let config = QdrantConfig { shard_timeout_ms: 300, ..server.config() };
    let store = open(&QdrantIndexes::open(config).await.unwrap()).await;
    fill(&*store, 10).await;
    let holders = server.holders("s0").await;
    holders.iter().for_each(|&peer| server.faults().pause(peer));
    let begin = Instant::now();
    let found = store.search(search()).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    assert!(found.shards.missing.contains(&"s0".to_owned()), "{:?}", found.shards);
    assert_eq!(ids(&found).is_empty(), found.shards.answered == 0);
    holders.iter().for_each(|&peer| server.faults().resume(peer));
}
