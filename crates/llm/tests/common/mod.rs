//! What the tests of this crate share: a server, a request, a stream read to its end.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use ragstone_config::Secret;
use ragstone_core::ports::ChatModel;
use ragstone_core::{ChatEvent, ChatRequest, ChatStream, Prompt, Result};
use ragstone_llm::{OpenAiChat, ProviderConfig};
use ragstone_testkit::fake_openai::FakeOpenAi;

pub(crate) fn request() -> ChatRequest {
    ChatRequest {
        question: "Why?".into(),
        prompt: Prompt { version: "t/1".into(), system: "be brief".into(), user: "Why?".into(), ..Prompt::default() },
        max_tokens: 20,
        temperature: 0.5,
        ..ChatRequest::default()
    }
}

/// A client of `server`, its configuration changed by `change`.
pub(crate) fn client(server: &FakeOpenAi, name: &str, change: impl FnOnce(&mut ProviderConfig)) -> Arc<dyn ChatModel> {
    Arc::new(OpenAiChat::new(config(server, name, change)).unwrap())
}

/// The configuration of a provider at `server`.
pub(crate) fn config(server: &FakeOpenAi, name: &str, change: impl FnOnce(&mut ProviderConfig)) -> ProviderConfig {
    // A second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = ProviderConfig {
        name: name.into(),
        base_url: server.base_url(),
        api_key: Secret::from("sk-test".to_owned()),
        model: format!("{name}-model"),
        first_token_timeout_ms: 400,
        idle_timeout_ms: 300,
        ..ProviderConfig::default()
    };
    change(&mut config);
    config
}

/// All events, or the error that came instead of or after some.
pub(crate) async fn all(stream: Result<ChatStream>) -> Result<Vec<ChatEvent>> {
    stream?.try_collect().await
}

pub(crate) async fn first(stream: &mut ChatStream) -> ChatEvent {
    stream.next().await.unwrap().unwrap()
}

/// The text after the last restart.
pub(crate) fn text(events: &[ChatEvent]) -> String {
    let mut text = String::new();
    for event in events {
        match event {
            ChatEvent::Delta(more) => text.push_str(more),
            ChatEvent::Restart { .. } => text.clear(),
            ChatEvent::Done { .. } => {}
        }
    }
    text
}

pub(crate) fn pieces(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
