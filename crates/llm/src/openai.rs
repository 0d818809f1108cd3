//! A chat model behind an OpenAI-compatible API, streamed.

mod answer;
mod chunk;
mod transport;

use async_openai::Client;
use async_openai::middleware::HttpRequestFactory;
use async_trait::async_trait;
use ragstone_core::ports::ChatModel;
use ragstone_core::{ChatRequest, ChatStream, Error, Result};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::{ProviderConfig, http};
use answer::{Answer, Limits};
use chunk::Chunk;
use transport::Endpoint;

/// One model of one provider. Errors say whether another try may help: `RateLimited`, `Unavailable`; `Internal` means
/// that the provider refuses what is configured.
pub struct OpenAiChat {
    config: ProviderConfig,
    client: Client<Endpoint>,
}

impl OpenAiChat {
    /// A client of the configured provider. It connects at the first request.
    ///
    /// # Errors
    /// `InvalidArgument` for an unusable configuration; `Internal` when the HTTP client cannot be built, for example as
    /// the process has not installed a TLS provider.
    pub fn new(config: ProviderConfig) -> Result<Self> {
        config.check().map_err(Error::invalid)?;
        let http = http::client(config.connect_timeout())?;
        let max_answer_bytes = config.max_answer_bytes;
        // In place of async-openai's own transport, which retries by itself and loses `Retry-After`.
        let transport = tower::service_fn({
            let http = http.clone();
            move |request: HttpRequestFactory| transport::exchange(http.clone(), request, max_answer_bytes)
        });
        let client = Client::build(http, Endpoint::new(&config)).with_http_service(transport);
        Ok(Self { config, client })
    }

    fn body(&self, request: &ChatRequest) -> Value {
        let mut body = json!({
            "model": self.config.model,
            "messages": [
                {"role": "system", "content": request.prompt.system},
                {"role": "user", "content": request.prompt.user},
            ],
            "temperature": request.temperature,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        // OpenAI's newer models refuse the old name, other servers know no other.
        let key = if http::is_openai(&self.config.base_url) { "max_completion_tokens" } else { "max_tokens" };
        body[key] = request.max_tokens.into();
        if !request.stop.is_empty() {
            body["stop"] = request.stop.clone().into();
        }
        if let Some(seed) = request.seed {
            body["seed"] = seed.into();
        }
        body
    }
}

#[async_trait]
impl ChatModel for OpenAiChat {
    fn name(&self) -> &str {
        &self.config.name
    }

    async fn stream(&self, request: ChatRequest) -> Result<ChatStream> {
        let limits = Limits::new(&self.config, request.max_tokens, Instant::now());
        let chat = self.client.chat();
        let start = chat.create_stream_byot::<Value, Chunk>(self.body(&request));
        let chunks =
            timeout_at(limits.first_token, start).await.map_err(|_| answer::too_slow())?.map_err(transport::error)?;
        let read = request.prompt.system.len() + request.prompt.user.len();
        Ok(Answer::new(chunks, limits, self.config.model.clone(), read).into_stream())
    }
}
