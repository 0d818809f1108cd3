//! Search quality on XQuAD: 240 paragraphs as documents, 1190 questions, each with its one right paragraph.
//!
//! The data lie in `../shared/data` beside the repository or where `RAGSTONE_EVAL_DATA` says. With
//! `RAGSTONE_EVAL_VECTORS=DIRECTORY` dense and hybrid search are measured too: `en.f32` and `de.f32` there hold unit
//! vectors of 384 little-endian floats, of all paragraphs and then of all questions.

use std::path::PathBuf;
use std::sync::Arc;

use ragstone_core::ports::VectorStore;
use ragstone_core::{IndexSpec, SearchMode, VectorQuery};
use ragstone_vector::{EdgeConfig, EdgeStore};
use serde_json::Value;

use crate::contract::{everything, point, put};
use crate::embedded::{config, open_with};

const DIMENSION: usize = 384;
/// What keyword search must reach on English.
const KEYWORD_FLOOR: f64 = 0.93;

struct Corpus {
    name: &'static str,
    iso: &'static str,
    paragraphs: Vec<String>,
    /// With the number of the right paragraph.
    questions: Vec<(String, usize)>,
    vectors: Option<Vec<Vec<f32>>>,
}

fn corpus(name: &'static str, iso: &'static str) -> Option<Corpus> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let data = std::env::var_os("RAGSTONE_EVAL_DATA").map_or(beside, PathBuf::from);
    let text = std::fs::read_to_string(data.join(format!("xquad/xquad.{name}.json"))).ok()?;
    let json: Value = serde_json::from_str(&text).unwrap();
    let mut corpus = Corpus { name, iso, paragraphs: Vec::new(), questions: Vec::new(), vectors: vectors(name) };
    for article in json["data"].as_array().unwrap() {
        for paragraph in article["paragraphs"].as_array().unwrap() {
            for qa in paragraph["qas"].as_array().unwrap() {
                corpus.questions.push((qa["question"].as_str().unwrap().to_owned(), corpus.paragraphs.len()));
            }
            corpus.paragraphs.push(paragraph["context"].as_str().unwrap().to_owned());
        }
    }
    Some(corpus)
}

fn vectors(name: &str) -> Option<Vec<Vec<f32>>> {
    let directory = PathBuf::from(std::env::var_os("RAGSTONE_EVAL_VECTORS")?);
    let bytes = std::fs::read(directory.join(format!("{name}.f32"))).unwrap();
    let floats = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    Some(floats.collect::<Vec<_>>().chunks(DIMENSION).map(<[f32]>::to_vec).collect())
}

async fn store(directory: &std::path::Path, shards: u32, corpora: &[&Corpus]) -> Arc<EdgeStore> {
    let config = EdgeConfig { shards, ..config(directory) };
    let spec = IndexSpec::of("model", "test", DIMENSION);
    let store = open_with(config, spec).await;
    for corpus in corpora {
        for (number, paragraph) in corpus.paragraphs.iter().enumerate() {
            let mut only = point("t", &format!("{}-{number}", corpus.name), 1, 0, paragraph);
            only.language = Some(corpus.iso.to_owned());
            only.vector = corpus.vectors.as_ref().map_or_else(|| vec![1.0; DIMENSION], |all| all[number].clone());
            put(&*store, vec![only]).await;
        }
    }
    store
}

/// Mean nDCG@10: with one right answer, 1 / log2(1 + its rank).
async fn ndcg(store: &EdgeStore, corpus: &Corpus, mode: SearchMode) -> f64 {
    let mut sum = 0.0;
    for (number, (question, right)) in corpus.questions.iter().enumerate() {
        let search = VectorQuery {
            access: everything("t"),
            text: question.clone(),
            vector: corpus.vectors.as_ref().map(|all| all[corpus.paragraphs.len() + number].clone()),
            mode,
            k: 10,
            filter: ragstone_core::Filter::default(),
        };
        let wanted = format!("{}-{right}", corpus.name);
        let hits = store.search(search).await.unwrap().hits;
        if let Some(rank) = hits.iter().position(|hit| hit.document_id.as_str() == wanted) {
            sum += 1.0 / (rank as f64 + 2.0).log2();
        }
    }
    sum / corpus.questions.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a measurement")]
async fn search_finds_the_right_paragraph() {
    let (Some(english), Some(german)) = (corpus("en", "eng"), corpus("de", "deu")) else {
        println!("skipped: no XQuAD data (set RAGSTONE_EVAL_DATA)");
        return;
    };
    let mut modes = vec![SearchMode::Keyword];
    if english.vectors.is_some() {
        modes.extend([SearchMode::Dense, SearchMode::Hybrid]);
    }
    let mut floor: f64 = 1.0;
    for (what, shards, corpora) in [
        ("1 shard", 1, vec![&english]),
        ("2 shards", 2, vec![&english]),
        ("4 shards", 4, vec![&english]),
        ("1 shard", 1, vec![&german]),
        ("2 shards", 2, vec![&german]),
        ("4 shards", 4, vec![&german]),
        ("2 shards, both languages", 2, vec![&english, &german]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path(), shards, &corpora).await;
        for corpus in corpora {
            for &mode in &modes {
                let score = ndcg(&store, corpus, mode).await;
                println!("{} in {what}, {}: nDCG@10 {score:.4}", corpus.name, mode.as_str());
                if corpus.name == "en" && mode != SearchMode::Dense {
                    floor = floor.min(score);
                }
            }
        }
    }
    assert!(floor >= KEYWORD_FLOOR, "{floor}");
}
