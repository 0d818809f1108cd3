//! The service with a language model in its own process. Without the model these tests say so and pass; with
//! RAGSTONE_REQUIRE_MODEL=1 they fail instead.
#![cfg(feature = "local-llm")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use ragstone_generation::{Config, serve};
use ragstone_models::{LocalChatConfig, ModelState, ModelStore};
use ragstone_proto::v1;
use ragstone_proto::v1::generate_response::Event;
use ragstone_proto::v1::generation_service_client::GenerationServiceClient;
use ragstone_resilience::Deadline;
use ragstone_rpc::{Health, Runtime, ServerConfig, bind, connect, request};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

const MODEL: &str = "smollm2-135m-instruct";
const PASSAGE: &str = "The lighthouse of Kap Arkona was built in 1826 by Karl Friedrich Schinkel.";

/// The service with this model alone, where it is on this machine.
async fn start(context_tokens: u32) -> Option<(GenerationServiceClient<Channel>, DropGuard)> {
    let store = ModelStore::open(None, |name| std::env::var_os(name)).unwrap();
    if store.verify(MODEL).await.unwrap().state != ModelState::Present {
        let advice = format!("the model is not in {}; run `ragstone models pull {MODEL}`", store.dir().display());
        assert!(std::env::var("RAGSTONE_REQUIRE_MODEL").is_err(), "{advice}");
        eprintln!("skipped: {advice}");
        return None;
    }
    let local = LocalChatConfig { model: MODEL.into(), context_tokens, ..LocalChatConfig::default() };
    let config = Config { local, ..Config::default() };
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone().drop_guard();
    let (health, server) = (Health::default(), ServerConfig::default());
    tokio::spawn(serve(config, Runtime { name: "generation", listener, shutdown, health, server }));
    Some((GenerationServiceClient::new(connect(&url).unwrap()), stop))
}

async fn ask(client: &mut GenerationServiceClient<Channel>, passages: usize) -> (String, v1::GenerationDone) {
    let passage = v1::GenerationPassage {
        document_id: "d".into(),
        content: PASSAGE.to_owned(),
        ..v1::GenerationPassage::default()
    };
    let message = v1::GenerateRequest {
        question: "When was the lighthouse of Kap Arkona built?".into(),
        passages: vec![passage; passages],
        max_tokens: 64,
        temperature: Some(0.0),
        ..v1::GenerateRequest::default()
    };
    let mut stream =
        client.generate(request(message, Deadline::after(Duration::from_secs(60)))).await.unwrap().into_inner();
    let mut text = String::new();
    loop {
        match stream.message().await.unwrap().unwrap().event.unwrap() {
            Event::Delta(delta) => text.push_str(&delta.text),
            Event::Restart(_) => text.clear(),
            Event::Done(done) => return (text, done),
        }
    }
}

#[tokio::test]
async fn it_answers_in_process_and_what_does_not_fit_is_quoted_instead() {
    let Some((mut client, _stop)) = start(1024).await else { return };
    let (text, done) = ask(&mut client, 1).await;
    assert!(text.contains("1826"), "{text}");
    assert_eq!((done.model.as_str(), done.degraded.len()), (MODEL, 0), "{done:?}");
    let usage = done.usage.unwrap();
    assert!(usage.prompt_tokens > 200 && (1..=64).contains(&usage.completion_tokens), "{usage:?}");
    let (text, done) = ask(&mut client, 30).await;
    assert!(text.contains("1826") && text.contains("[1]"), "{text}");
    assert_eq!(done.degraded, ["generation.extractive"], "{done:?}");
    assert_ne!(done.model, MODEL);
}
