//! The real model against vectors made with sentence-transformers. Without the model these tests say so and pass;
//! with RAGSTONE_REQUIRE_MODEL=1 they fail instead.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use futures::future::join_all;
use ragstone_core::{
    ErrorCode,
    ports::{EmbedKind, Embedder},
};
use ragstone_models::{DEFAULT_EMBEDDER, EmbedderConfig, LocalEmbedder, ModelState, ModelStore};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    text: String,
    tokens: usize,
    vector: Vec<f32>,
}

fn reference() -> Vec<Item> {
    serde_json::from_str::<Reference>(include_str!("../testdata/reference.json")).unwrap().items
}

async fn embedder(config: EmbedderConfig) -> Option<LocalEmbedder> {
    let store = ModelStore::open(None, |name| std::env::var_os(name)).unwrap();
    if store.verify(DEFAULT_EMBEDDER).await.unwrap().state != ModelState::Present {
        let advice = format!("the model is not in {}; run `ragstone models pull`", store.dir().display());
        assert!(std::env::var("RAGSTONE_REQUIRE_MODEL").is_err(), "{advice}");
        eprintln!("skipped: {advice}");
        return None;
    }
    Some(LocalEmbedder::load(&store, DEFAULT_EMBEDDER, &config).await.unwrap())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test]
async fn vectors_agree_with_sentence_transformers() {
    let Some(embedder) = embedder(EmbedderConfig::default()).await else { return };
    assert_eq!((embedder.info().dimension, embedder.info().max_tokens), (384, 254));
    let items = reference();
    let texts: Vec<String> = items.iter().map(|item| item.text.clone()).collect();
    let together = embedder.embed(texts, EmbedKind::Passage).await.unwrap();
    let mut lowest = 1.0_f32;
    for (item, in_batch) in items.iter().zip(&together) {
        let alone = embedder.embed(vec![item.text.clone()], EmbedKind::Query).await.unwrap();
        assert!(cosine(&alone[0], in_batch) > 0.99999, "alone and in a batch differ: {}", item.text);
        let length = alone[0].iter().map(|value| value * value).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-4, "not of unit length: {}", item.text);
        let found = cosine(&alone[0], &item.vector);
        lowest = lowest.min(found);
        assert!(found >= 0.999, "cosine {found}: {}", item.text);
    }
    eprintln!("lowest cosine of {} texts: {lowest}", items.len());
}

#[tokio::test]
async fn a_hundred_texts_at_once_equal_one_by_one() {
    let Some(embedder) = embedder(EmbedderConfig { batch_tokens: 2000, ..EmbedderConfig::default() }).await else {
        return;
    };
    let texts: Vec<String> = (0..100).map(|n| "a short word and another ".repeat(n % 4 + 1) + &n.to_string()).collect();
    let together = embedder.embed(texts.clone(), EmbedKind::Passage).await.unwrap();
    for (text, in_batch) in texts.iter().zip(&together) {
        let alone = embedder.embed(vec![text.clone()], EmbedKind::Passage).await.unwrap();
        assert!(cosine(&alone[0], in_batch) > 0.99999, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_callers_at_once_each_get_their_own() {
    let Some(embedder) = embedder(EmbedderConfig::default()).await else { return };
    let items: Vec<Item> = reference().into_iter().filter(|item| item.tokens < 40).collect();
    let kind = |n: usize| if n.is_multiple_of(2) { EmbedKind::Query } else { EmbedKind::Passage };
    let item = |n: usize| &items[n % items.len()];
    let answers = join_all((0..64).map(|n| embedder.embed(vec![item(n).text.clone()], kind(n)))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert!(cosine(&answer.unwrap()[0], &item(n).vector) >= 0.999, "{}", item(n).text);
    }
}

#[tokio::test]
async fn nothing_is_cut_silently() {
    let Some(embedder) = embedder(EmbedderConfig::default()).await else { return };
    let exactly = "word ".repeat(254);
    assert_eq!(embedder.embed(vec![exactly.clone()], EmbedKind::Passage).await.unwrap().len(), 1);
    for (bad, says) in [
        (exactly + "word", "text 1 has 255 tokens; the model reads at most 254"),
        (" \n\t".to_owned(), "text 1 is empty"),
        (String::new(), "text 1 is empty"),
    ] {
        let error = embedder.embed(vec!["fine".into(), bad], EmbedKind::Passage).await.unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::InvalidArgument, says));
    }
}

#[tokio::test]
async fn a_corrupt_or_missing_model_is_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let store = ModelStore::open(Some(dir.path().into()), |_| None).unwrap();
    for tokenizer in [None, Some("{}")] {
        if let Some(content) = tokenizer {
            std::fs::create_dir(dir.path().join(DEFAULT_EMBEDDER)).unwrap();
            std::fs::write(dir.path().join(DEFAULT_EMBEDDER).join("tokenizer.json"), content).unwrap();
        }
        match LocalEmbedder::load(&store, DEFAULT_EMBEDDER, &EmbedderConfig::default()).await {
            Ok(_) => panic!("loaded a model that is not there"),
            Err(error) => {
                assert_eq!(error.code, ErrorCode::Unavailable);
                assert!(error.message.contains("ragstone models pull"), "{}", error.message);
            }
        }
    }
}
