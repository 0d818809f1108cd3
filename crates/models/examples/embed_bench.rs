//! Measures the local embedder: load time, one short question, passages a second. Needs the model (`ragstone models
//! pull`) and, for the passages, XQuAD in `$RAGSTONE_EVAL_DATA/xquad` or `../shared/data/xquad`.
#![expect(clippy::print_stdout, reason = "its output")]

use std::{path::PathBuf, time::Instant};

use ragstone_core::{
    Result,
    ports::{EmbedKind, Embedder},
};
use ragstone_models::{DEFAULT_EMBEDDER, EmbedderConfig, LocalEmbedder, ModelStore};

const PASSAGES: usize = 120;
const QUESTIONS: usize = 101;

#[tokio::main]
async fn main() -> Result<()> {
    let store = ModelStore::open(None, |name| std::env::var_os(name))?;
    let started = Instant::now();
    let embedder = LocalEmbedder::load(&store, DEFAULT_EMBEDDER, &EmbedderConfig::default()).await?;
    println!("load, hashes checked: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);

    let question = "Who won the cup in the year 1998?";
    let mut times = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let started = Instant::now();
        embedder.embed(vec![question.to_owned()], EmbedKind::Query).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("one short question: median {:.1} ms, best {:.1} ms", times[QUESTIONS / 2], times[0]);

    let passages = passages(&embedder).await?;
    if passages.is_empty() {
        println!("no XQuAD data: passages not measured");
        return Ok(());
    }
    for size in [passages.len(), 16, 4, 1] {
        let started = Instant::now();
        for call in passages.chunks(size) {
            embedder.embed(call.to_vec(), EmbedKind::Passage).await?;
        }
        let rate = passages.len() as f64 / started.elapsed().as_secs_f64();
        println!("{} passages, {size} in a call: {rate:.1} passages/s", passages.len());
    }
    Ok(())
}

/// XQuAD's first English paragraphs that the model can read, by length.
async fn passages(embedder: &LocalEmbedder) -> Result<Vec<String>> {
    let given = std::env::var_os("RAGSTONE_EVAL_DATA").map(PathBuf::from);
    let data = given.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let Ok(json) = std::fs::read_to_string(data.join("xquad/xquad.en.json")) else { return Ok(Vec::new()) };
    let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    let paragraphs = |article: &serde_json::Value| article["paragraphs"].as_array().cloned().unwrap_or_default();
    let articles = json["data"].as_array().into_iter().flatten();
    let contexts = articles.flat_map(paragraphs).filter_map(|p| p["context"].as_str().map(str::to_owned));
    let mut passages = Vec::with_capacity(PASSAGES);
    for context in contexts {
        if passages.len() < PASSAGES && embedder.embed(vec![context.clone()], EmbedKind::Passage).await.is_ok() {
            passages.push(context);
        }
    }
    passages.sort_by_key(String::len);
    Ok(passages)
}
