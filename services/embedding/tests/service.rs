//! The embedding service with models and a reranker behind APIs: chosen by id, started while they are down, refused when wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use ragstone_core::{Error, ErrorCode};
use ragstone_embedding::Config;
use ragstone_proto::v1;
use ragstone_proto::v1::embedding_service_client::EmbeddingServiceClient;
use ragstone_resilience::Deadline;
use ragstone_rpc::{Health, Runtime, ServerConfig, bind, connect, error_from, request};
use ragstone_testkit::fake_openai::{Call, FakeCalls, Reaction, embeddings};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

struct Bench {
    client: EmbeddingServiceClient<Channel>,
    health: Health,
    serving: JoinHandle<anyhow::Result<()>>,
    _stop: DropGuard,
}

async fn start(config: Value) -> Bench {
    // A second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config: Config = serde_json::from_value(config).unwrap();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (shutdown, health) = (CancellationToken::new(), Health::default());
    let runtime = Runtime {
        name: "embedding",
        listener,
        shutdown: shutdown.clone(),
        health: health.clone(),
        server: ServerConfig::default(),
    };
    let serving = tokio::spawn(ragstone_embedding::serve(config, runtime));
    let client = EmbeddingServiceClient::new(connect(&url).unwrap());
    Bench { client, health, serving, _stop: shutdown.drop_guard() }
}

impl Bench {
    async fn embed(&self, model: &str, texts: &[&str]) -> Result<v1::EmbedResponse, Error> {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        let message = v1::EmbedRequest { texts, kind: v1::EmbedKind::Passage.into(), model: model.to_owned() };
        self.client.clone().embed(within(message)).await.map_err(error_from).map(tonic::Response::into_inner)
    }

    async fn describe(&self, model: &str) -> Result<v1::DescribeModelResponse, Error> {
        let message = v1::DescribeModelRequest { model: model.to_owned() };
        self.client.clone().describe_model(within(message)).await.map_err(error_from).map(tonic::Response::into_inner)
    }

    async fn rerank(&self, passages: usize) -> Result<v1::RerankResponse, Error> {
        let passages = (1..=passages).map(|length| "x".repeat(length)).collect();
        let message = v1::RerankRequest { query: "why?".into(), passages };
        self.client.clone().rerank(within(message)).await.map_err(error_from).map(tonic::Response::into_inner)
    }

    async fn ready(&self) -> bool {
        self.health.report().await.ready
    }
}

fn within<T>(message: T) -> tonic::Request<T> {
    request(message, Deadline::after(Duration::from_secs(10)))
}

/// Vectors of two numbers, or of three where the server's model has "three" in its name.
fn well(call: &Call) -> Reaction {
    let three = call.body["model"].as_str().is_some_and(|model| model.contains("three"));
    embeddings(call, |text| if three { vec![1.0, 0.0, text.len() as f32] } else { vec![1.0, text.len() as f32] })
}

async fn until(mut wanted: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !wanted().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap();
}

#[tokio::test]
async fn models_are_found_by_their_exact_ids() {
    let server = FakeCalls::start(well).await.unwrap();
    let bench = start(json!({"model": "two", "models": [
        {"id": "org/three", "base_url": server.url(), "dimension": 3, "max_tokens": 40, "bytes_per_token": 2},
        {"id": "two", "base_url": server.url(), "dimension": 2, "revision": "r7"},
    ]}))
    .await;
    for (asked, model, length) in [("", "two", 2), ("two", "two", 2), ("org/three", "org/three", 3)] {
        let answer = bench.embed(asked, &["a", "bb"]).await.unwrap();
        assert_eq!((answer.model.as_str(), answer.vectors[1].values.len()), (model, length));
        assert_eq!(answer.vectors.len(), 2);
        let facts = bench.describe(asked).await.unwrap();
        assert_eq!((facts.model.as_str(), facts.dimension as usize), (model, length));
        assert_eq!(facts.revision, answer.revision);
        assert!(facts.tokenizer_json.is_empty());
    }
    assert_eq!(bench.describe("").await.unwrap().revision, "r7");
    let three = bench.describe("org/three").await.unwrap();
    assert_eq!((three.max_tokens, three.bytes_per_token), (36, 2));
    for unknown in ["three", "TWO", "all-MiniLM-L6-v2"] {
        let error = bench.embed(unknown, &["a"]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(error.message.contains("org/three") && error.message.contains("two"), "{error}");
        assert_eq!(bench.describe(unknown).await.unwrap_err().code, ErrorCode::NotFound);
    }
    // The longest text of each model is its own.
    let long = "x".repeat(100);
    assert_eq!(bench.embed("org/three", &[&long]).await.unwrap_err().code, ErrorCode::InvalidArgument);
    assert!(bench.embed("two", &[&long]).await.is_ok());
    assert_eq!(bench.embed("two", &[]).await.unwrap_err().code, ErrorCode::InvalidArgument);
    assert_eq!(bench.embed("two", &["x"; 101]).await.unwrap_err().code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn what_was_embedded_once_is_not_asked_for_again() {
    let server = FakeCalls::start(well).await.unwrap();
    let model = json!({"id": "two", "base_url": server.url(), "dimension": 2});
    let bench = start(json!({"model": "two", "models": [model]})).await;
    let first = bench.embed("", &["a", "bb"]).await.unwrap();
    let calls = server.seen().len();
    assert_eq!(bench.embed("", &["a", "bb"]).await.unwrap(), first);
    assert_eq!(server.seen().len(), calls);
    bench.embed("", &["bb", "ccc"]).await.unwrap();
    assert_eq!(server.seen().last().unwrap().body["input"], json!(["ccc"]));
}

#[tokio::test]
async fn a_server_that_is_down_keeps_readiness_off_and_is_found_when_it_comes() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let model = json!({"id": "two", "base_url": format!("http://{address}/v1"), "dimension": 2, "retries": 0});
    let bench = start(json!({"model": "two", "models": [model]})).await;
    until(async || bench.embed("", &["a"]).await.is_err_and(|error| error.code == ErrorCode::Unavailable)).await;
    let report = bench.health.report().await;
    assert!(!report.ready);
    let check = report.checks.iter().find(|check| check.name == "model two").unwrap();
    assert!(check.critical && check.detail.as_ref().unwrap().contains("two"), "{check:?}");
    let _server = FakeCalls::listen(tokio::net::TcpListener::bind(address).await.unwrap(), well).unwrap();
    until(async || bench.ready().await).await;
    assert!(bench.embed("", &["a"]).await.is_ok());
}

#[tokio::test]
async fn a_further_model_that_is_down_does_not_stop_the_service() {
    let server = FakeCalls::start(well).await.unwrap();
    let bench = start(json!({"model": "two", "models": [
        {"id": "two", "base_url": server.url(), "dimension": 2},
        {"id": "down", "base_url": "http://127.0.0.1:1/v1", "dimension": 2, "retries": 0},
    ]}))
    .await;
    until(async || bench.ready().await).await;
    let report = bench.health.report().await;
    let down = report.checks.iter().find(|check| check.name == "model down").unwrap();
    assert_eq!((down.state, down.critical), ("down", false));
    assert_eq!(bench.embed("down", &["a"]).await.unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn what_is_configured_wrongly_ends_the_start_and_is_named() {
    let server = FakeCalls::start(well).await.unwrap();
    let refusing = FakeCalls::start(|_| Reaction::Refuse(401, None)).await.unwrap();
    let remote = |url: String, dimension: u32| json!({"id": "two", "base_url": url, "dimension": dimension});
    for (model, says) in [
        (remote(server.url(), 5), "dimension"),
        (remote(refusing.url(), 2), "api_key"),
        (
            json!({"id": "two", "base_url": server.url(), "dimension": 2, "tokenizer_file": "/nowhere.json"}),
            "tokenizer_file",
        ),
    ] {
        let bench = start(json!({"model": "two", "models": [model]})).await;
        let error = bench.serving.await.unwrap().unwrap_err();
        assert!(format!("{error:#}").contains(says), "{says}: {error:#}");
        assert_eq!(ragstone_rpc::exit_code(Err(error)), std::process::ExitCode::from(ragstone_rpc::CONFIG_EXIT));
    }
    let missing = start(json!({"model": "no-such-model"})).await;
    let error = missing.serving.await.unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("no-such-model"), "{error:#}");
}

#[tokio::test]
async fn passages_are_scored_where_there_is_a_reranker() {
    let server = FakeCalls::start(|call: &Call| match call.path.as_str() {
        "/rerank" => {
            let lengths = call.body["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().len());
            let score = |(index, length): (usize, usize)| json!({"index": index, "score": length as f32});
            Reaction::Json(lengths.enumerate().map(score).collect())
        }
        _ => well(call),
    })
    .await
    .unwrap();
    let models = json!([{"id": "two", "base_url": server.url(), "dimension": 2}]);
    let with = json!({"model": "two", "models": models, "reranker": {"base_url": server.url(), "batch_passages": 16}});
    let bench = start(with).await;
    let answer = bench.rerank(40).await.unwrap();
    assert_eq!(answer.scores, (1..=40_u8).map(f32::from).collect::<Vec<_>>());
    assert_eq!(answer.model, "reranker");
    for wrong in [0, 101] {
        assert_eq!(bench.rerank(wrong).await.unwrap_err().code, ErrorCode::InvalidArgument);
    }
    let without = start(json!({"model": "two", "models": models})).await;
    assert_eq!(without.rerank(2).await.unwrap_err().code, ErrorCode::NotFound);
}
