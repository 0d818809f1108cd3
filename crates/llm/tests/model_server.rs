//! A real model server: an answer streams through the chain, and the embeddings client gets vectors that mean something.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use futures::StreamExt;
use ragstone_config::Secret;
use ragstone_core::ports::EmbedKind;
use ragstone_core::{ChatEvent, ChatRequest, FinishReason, Prompt};
use ragstone_llm::{ChainPolicy, ChatChain, HttpEmbedder, HttpEmbedderConfig, Provider, ProviderConfig};
use ragstone_resilience::Deadline;
use ragstone_testkit::model_server::{API_KEY, DIMENSION, MODEL, ModelServer};

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_real_model_streams_and_embeds() {
    let server = ModelServer::start().await.unwrap();
    streams(&server).await;
    embeds(&server).await;
}

async fn streams(server: &ModelServer) {
    let provider = ProviderConfig {
        name: "real".into(),
        base_url: server.base_url.clone(),
        api_key: Secret::from(API_KEY.to_owned()),
        model: MODEL.into(),
        // On a busy machine.
        first_token_timeout_ms: 60_000,
        idle_timeout_ms: 60_000,
        ..ProviderConfig::default()
    };
    let wrong_key =
        ProviderConfig { name: "wrong".into(), api_key: Secret::from("other".to_owned()), ..provider.clone() };
    let providers = vec![Provider::open(wrong_key).unwrap(), Provider::open(provider).unwrap()];
    let chain = ChatChain::new(providers, None, ChainPolicy::default());
    let question = "Write a story about a cat.".to_owned();
    let (system, user) = ("You write stories.".into(), question.clone());
    let prompt = Prompt { version: "t/1".into(), system, user, ..Prompt::default() };
    let asked = ChatRequest { question, prompt, max_tokens: 40, ..ChatRequest::default() };
    let started = Instant::now();
    let mut stream = chain.answer(asked, Some(Deadline::after(PATIENCE)));
    let (mut pieces, mut first) = (Vec::new(), None);
    let done = loop {
        match stream.next().await.unwrap().unwrap() {
            ChatEvent::Delta(text) => {
                first.get_or_insert_with(|| started.elapsed());
                pieces.push(text);
            }
            done => break done,
        }
    };
    let whole = started.elapsed();
    let ChatEvent::Done { model, usage, finish, degraded } = done else { unreachable!("{done:?}") };
    assert!(pieces.len() >= 10, "it did not stream: {pieces:?}");
    assert!(whole - first.unwrap() > Duration::from_millis(50), "the words came all at once: {first:?} of {whole:?}");
    assert_eq!((model.as_str(), degraded), (MODEL, vec![ragstone_core::Degraded::LlmFallback]));
    assert!(usage.prompt_tokens > 0 && (1..=80).contains(&usage.completion_tokens), "{usage:?}");
    assert!(matches!(finish, FinishReason::Length | FinishReason::Stop));
}

async fn embeds(server: &ModelServer) {
    let config = HttpEmbedderConfig {
        id: MODEL.into(),
        base_url: server.base_url.clone(),
        api_key: Secret::from(API_KEY.to_owned()),
        dimension: DIMENSION,
        ..HttpEmbedderConfig::default()
    };
    let wrong = HttpEmbedder::open(HttpEmbedderConfig { dimension: 384, call_timeout_ms: 60_000, ..config.clone() });
    let texts = ["The cat sat on the mat.", "A cat is sitting on a mat.", "Interest rates rose by two percent."];
    let texts = || texts.map(str::to_owned).to_vec();
    let deadline = || Deadline::after(PATIENCE);
    let error = wrong.unwrap().embed_by(texts(), EmbedKind::Passage, deadline()).await.unwrap_err();
    assert!(error.message.contains("576") && error.message.contains("dimension"), "{error}");

    // One text a call, so that answers of several calls are put in order.
    let embedder = HttpEmbedder::open(HttpEmbedderConfig { batch_texts: 1, ..config }).unwrap();
    let vectors = embedder.embed_by(texts(), EmbedKind::Passage, deadline()).await.unwrap();
    let alike = |a: usize, b: usize| vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum::<f32>();
    assert!((alike(0, 0) - 1.0).abs() < 1e-5);
    assert!(alike(0, 1) > alike(0, 2), "{} {}", alike(0, 1), alike(0, 2));
}
