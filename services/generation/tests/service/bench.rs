//! The service with its models, and what the tests ask it.

use std::time::Duration;

use ragstone_core::Result;
use ragstone_generation::{Config, serve};
use ragstone_llm::ProviderConfig;
use ragstone_proto::v1;
use ragstone_proto::v1::generate_response::Event;
use ragstone_proto::v1::generation_service_client::GenerationServiceClient;
use ragstone_resilience::Deadline;
use ragstone_rpc::{Health, Runtime, ServerConfig, bind, connect, error_from, request};
use ragstone_testkit::fake_openai::FakeOpenAi;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Streaming;
use tonic::transport::Channel;

/// The service, and a client of it.
pub(crate) struct Bench {
    client: GenerationServiceClient<Channel>,
    _stop: DropGuard,
}

impl Bench {
    /// The service with these models in its chain, in order.
    pub(crate) async fn start(servers: &[&FakeOpenAi]) -> Self {
        Self::with(servers, Config::default()).await
    }

    /// The same, configured.
    pub(crate) async fn with(servers: &[&FakeOpenAi], config: Config) -> Self {
        // A second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let provider = |(place, server): (usize, &&FakeOpenAi)| ProviderConfig {
            name: format!("p{place}"),
            base_url: server.base_url(),
            model: "m".into(),
            ..ProviderConfig::default()
        };
        let config = Config { providers: servers.iter().enumerate().map(provider).collect(), ..config };
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone().drop_guard();
        let (health, server) = (Health::default(), ServerConfig::default());
        tokio::spawn(serve(config, Runtime { name: "generation", listener, shutdown, health, server }));
        Self { client: GenerationServiceClient::new(connect(&url).unwrap()), _stop: stop }
    }

    pub(crate) async fn stream(
        &self,
        message: v1::GenerateRequest,
        wait: Duration,
    ) -> Result<Streaming<v1::GenerateResponse>> {
        let request = request(message, Deadline::after(wait));
        Ok(self.client.clone().generate(request).await.map_err(error_from)?.into_inner())
    }

    pub(crate) async fn ask(&self, message: v1::GenerateRequest) -> Result<(String, v1::GenerationDone, usize)> {
        read(self.stream(message, Duration::from_secs(10)).await?).await
    }

    pub(crate) async fn rewrite(&self, history: Vec<v1::Turn>, question: &str) -> Result<v1::RewriteResponse> {
        let message = v1::RewriteRequest { history, question: question.to_owned() };
        let asked = request(message, Deadline::after(Duration::from_secs(10)));
        Ok(self.client.clone().rewrite(asked).await.map_err(error_from)?.into_inner())
    }
}

/// Text after the last restart, the end, and the number of restarts.
pub(crate) async fn read(mut stream: Streaming<v1::GenerateResponse>) -> Result<(String, v1::GenerationDone, usize)> {
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

pub(crate) fn question(passages: &[&str]) -> v1::GenerateRequest {
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

pub(crate) const PASSAGES: &[&str] =
    &["Jobs are queued in SQLite.", "The lease of a job lasts thirty seconds. Then it is free."];

pub(crate) fn user(text: &str) -> v1::Turn {
    v1::Turn { role: v1::TurnRole::User.into(), text: text.to_owned() }
}

pub(crate) fn assistant(text: &str) -> v1::Turn {
    v1::Turn { role: v1::TurnRole::Assistant.into(), text: text.to_owned() }
}
