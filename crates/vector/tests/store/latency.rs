//! How long a search takes before and after optimising: run with `--ignored --nocapture`.

use std::time::{Duration, Instant};

use ragstone_core::ports::VectorStore;
use ragstone_core::{IndexSpec, SearchMode};
use ragstone_vector::EdgeStore;

use crate::contract::{point, put, query};
use crate::embedded::{config, open_with};

const POINTS: u32 = 20_000;
const PER_DOCUMENT: u32 = 100;
const DIMENSION: usize = 384;

fn long_vector(seed: u32) -> Vec<f32> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..DIMENSION).map(|_| next()).collect()
}

fn text(seed: u32) -> String {
    (0..60).map(|n| format!("word{} ", (seed.wrapping_mul(31).wrapping_add(n * n * 7919)) % 5000)).collect()
}

async fn measure(store: &EdgeStore, mode: SearchMode) -> (Duration, Duration) {
    let mut times = Vec::new();
    for n in 0..100 {
        let mut search = query("t", &text(n * 97)[..60], mode, 5);
        search.vector = Some(long_vector(n * 97));
        let start = Instant::now();
        assert_eq!(store.search(search).await.unwrap().hits.len(), 5);
        times.push(start.elapsed());
    }
    times.sort();
    (times[50], times[95])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "a measurement")]
async fn searching_many_points() {
    let directory = tempfile::tempdir().unwrap();
    let spec = IndexSpec::of("model", "test", DIMENSION);
    let mut store = open_with(config(directory.path()), spec.clone()).await;
    let start = Instant::now();
    for number in 0..POINTS / PER_DOCUMENT {
        let chunk = |n| {
            let mut point = point("t", &format!("d{number}"), 1, n, &text(number * PER_DOCUMENT + n));
            point.vector = long_vector(number * PER_DOCUMENT + n);
            point
        };
        put(&*store, (0..PER_DOCUMENT).map(chunk).collect()).await;
    }
    println!("stored and published in {:?}", start.elapsed());
    let start = Instant::now();
    store.flush_all().await.unwrap();
    println!("flushed in {:?}", start.elapsed());
    for when in ["before", "after"] {
        for mode in [SearchMode::Dense, SearchMode::Keyword, SearchMode::Hybrid] {
            let (median, p95) = measure(&store, mode).await;
            println!("{when} optimising, {}: median {median:?}, p95 {p95:?}", mode.as_str());
        }
        if when == "before" {
            let start = Instant::now();
            let (optimized, (median, p95)) = tokio::join!(store.optimize(), measure(&store, SearchMode::Hybrid));
            optimized.unwrap();
            println!("optimised in {:?}; beside it, hybrid: median {median:?}, p95 {p95:?}", start.elapsed());
        }
    }
    store.close().await.unwrap();
    for how in ["after closing", "with repair"] {
        drop(store);
        let start = Instant::now();
        store = open_with(config(directory.path()), spec.clone()).await;
        println!("opened {how} in {:?}", start.elapsed());
    }
}
