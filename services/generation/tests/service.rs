//! The service over real gRPC, alone and with a language model that behaves and misbehaves.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use ragstone_core::{ErrorCode, Result};
use ragstone_generation::{Config, serve};
use ragstone_llm::ProviderConfig;
use ragstone_proto::v1;
use ragstone_proto::v1::generate_response::Event;
use ragstone_proto::v1::generation_service_client::GenerationServiceClient;
use ragstone_resilience::Deadline;
use ragstone_rpc::{Health, Runtime, ServerConfig, bind, connect, error_from, request};
use ragstone_testkit::fake_openai::{Behaviour, FakeOpenAi};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Streaming;
use tonic::transport::Channel;

struct Bench {
    client: GenerationServiceClient<Channel>,
    _stop: DropGuard,
}

impl Bench {
    /// The service with these models in its chain, in order.
    async fn start(servers: &[&FakeOpenAi]) -> Self {
        // A second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let provider = |(place, server): (usize, &&FakeOpenAi)| ProviderConfig {
            name: format!("p{place}"),
            base_url: server.base_url(),
            model: "m".into(),
            ..ProviderConfig::default()
        };
        let config = Config { providers: servers.iter().enumerate().map(provider).collect(), ..Config::default() };
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone().drop_guard();
        let (health, server) = (Health::default(), ServerConfig::default());
        tokio::spawn(serve(config, Runtime { name: "generation", listener, shutdown, health, server }));
        Self { client: GenerationServiceClient::new(connect(&url).unwrap()), _stop: stop }
    }

    async fn stream(&self, message: v1::GenerateRequest, wait: Duration) -> Result<Streaming<v1::GenerateResponse>> {
        let request = request(message, Deadline::after(wait));
        Ok(self.client.clone().generate(request).await.map_err(error_from)?.into_inner())
    }

    async fn ask(&self, message: v1::GenerateRequest) -> Result<(String, v1::GenerationDone, usize)> {
        read(self.stream(message, Duration::from_secs(10)).await?).await
    }
}

/// Text after the last restart, the end, and the number of restarts.
async fn read(mut stream: Streaming<v1::GenerateResponse>) -> Result<(String, v1::GenerationDone, usize)> {
    let (mut text, mut restarts) = (String::new(), 0);
    while let Some(response) = stream.message().await.map_err(error_from)? {
        match response.event.unwrap() {
            Event::Delta(delta) => text.push_str(&delta.text),
            Event::Restart(_) => {
                text.clear();
                restarts += 1;
            }
            Event::Done(done) => {
                assert_eq!(stream.message().await.unwrap(), None);
                return Ok((text, done, restarts));
            }
        }
    }
    unreachable!("a stream without an end")
}

fn question(passages: &[&str]) -> v1::GenerateRequest {
    let passage = |content: &&str| v1::GenerationPassage {
        document_id: "d".into(),
        content: (*content).to_owned(),
        ..Default::default()
    };
    v1::GenerateRequest {
        question: "How long is a lease of a job?".into(),
        passages: passages.iter().map(passage).collect(),
        ..Default::default()
    }
}

const PASSAGES: &[&str] = &["Jobs are queued in SQLite.", "The lease of a job lasts thirty seconds. Then it is free."];

#[tokio::test]
async fn without_a_model_the_passages_sentences_are_quoted() {
    let bench = Bench::start(&[]).await;
    let (text, done, _) = bench.ask(question(PASSAGES)).await.unwrap();
    assert!(text.starts_with("The lease of a job lasts thirty seconds. [2]"), "{text}");
    assert_eq!((done.model.as_str(), done.prompt_version.as_str()), ("extractive", "answer/1"));
    assert_eq!(done.degraded, Vec::<String>::new());
    assert_eq!(done.finish(), v1::FinishReason::Stop);
}

#[tokio::test]
async fn a_model_reads_the_prompt_and_its_citations_are_checked() {
    let pieces = ["Thirty seconds [", "2", "]. Or not [", "7]. See a[7]. [2"].map(str::to_owned);
    let server = FakeOpenAi::start([Behaviour::Answer(pieces.to_vec())]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let asked = v1::GenerateRequest { max_tokens: 33, temperature: Some(1.5), ..question(PASSAGES) };
    let (text, done, _) = bench.ask(asked).await.unwrap();
    assert_eq!(text, "Thirty seconds [2]. Or not. See a[7]. [2");
    assert_eq!((done.model.as_str(), done.degraded.len()), ("m", 0));
    assert_eq!(done.usage.unwrap(), v1::Usage { prompt_tokens: 10, completion_tokens: 4 });
    let body = server.seen().remove(0).body;
    assert_eq!((body["max_tokens"].as_u64(), body["temperature"].as_f64()), (Some(33), Some(1.5)));
    let user = body["messages"][1]["content"].as_str().unwrap();
    assert!(user.contains("The lease of a job lasts") && user.ends_with("Question: How long is a lease of a job?"));
}

#[tokio::test]
async fn failures_of_models_are_told_and_never_spliced() {
    let broken = FakeOpenAi::start([Behaviour::Cut(vec!["Half [".into()])]).await.unwrap();
    let refusing = FakeOpenAi::start([Behaviour::refuse(401)]).await.unwrap();
    let bench = Bench::start(&[&broken, &refusing]).await;
    let (text, done, restarts) = bench.ask(question(PASSAGES)).await.unwrap();
    assert!(text.starts_with("The lease of a job lasts thirty seconds. [2]"), "{text}");
    assert_eq!(restarts, 1);
    assert_eq!(done.degraded, ["llm.stream_restarted", "generation.extractive"]);
}

#[tokio::test]
async fn without_passages_no_model_is_asked() {
    let server = FakeOpenAi::start([Behaviour::answer("Out of my own head.")]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let (text, done, _) = bench.ask(question(&[])).await.unwrap();
    assert_eq!(text, "The documents do not answer this question.");
    assert_eq!((done.model.as_str(), done.degraded.len(), server.seen().len()), ("extractive", 0, 0));
}

#[tokio::test]
async fn the_callers_deadline_holds() {
    let server = FakeOpenAi::start([Behaviour::Hang]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let stream = bench.stream(question(PASSAGES), Duration::from_millis(600)).await.unwrap();
    let (_, done, _) = read(stream).await.unwrap();
    assert_eq!(done.degraded, ["generation.extractive"]);
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_the_model_within_250_ms() {
    let server = FakeOpenAi::start([Behaviour::Stall(vec!["One ".into()])]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let mut stream = bench.stream(question(PASSAGES), Duration::from_secs(10)).await.unwrap();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    tokio::time::timeout(Duration::from_millis(250), server.cancelled(1)).await.unwrap();
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let bench = Bench::start(&[]).await;
    let nameless = v1::GenerationPassage::default();
    for wrong in [
        v1::GenerateRequest { question: " ".into(), ..question(PASSAGES) },
        v1::GenerateRequest { max_tokens: 1_000_000, ..question(PASSAGES) },
        v1::GenerateRequest { temperature: Some(f32::NAN), ..question(PASSAGES) },
        v1::GenerateRequest { temperature: Some(-0.1), ..question(PASSAGES) },
        v1::GenerateRequest { passages: vec![nameless], ..question(PASSAGES) },
        question(&["x"; 101]),
    ] {
        assert_eq!(bench.ask(wrong).await.unwrap_err().code, ErrorCode::InvalidArgument);
    }
}
