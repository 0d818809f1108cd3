//! The generation service: passages and a question in, a streamed and cited answer out; before that, a follow-up question
//! made to stand alone.

mod citations;
mod config;
mod grpc;
mod history;
mod input;
mod prompt;
mod rewrite;

use std::sync::Arc;

use anyhow::Context as _;
use ragstone_llm::{ChainPolicy, ChatChain, Provider};
use ragstone_models::extractive::ExtractiveAnswerer;
use ragstone_proto::v1::generation_service_server::GenerationServiceServer;
use ragstone_rpc::{Runtime, Server};

pub use config::Config;

/// Serves until the runtime's shutdown token fires.
///
/// # Errors
/// When a provider's client cannot be built or the listener fails.
pub async fn serve(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let mut models = Vec::with_capacity(config.providers.len());
    for provider in &config.providers {
        tracing::info!(
            provider = provider.name,
            base_url = provider.base_url,
            model = provider.model,
            "language model"
        );
        models.push(Provider::open(provider.clone()).with_context(|| format!("provider '{}'", provider.name))?);
    }
    #[cfg(feature = "local-llm")]
    if config.local.is_on() {
        let place = if config.local.place == ragstone_models::Place::First { 0 } else { models.len() };
        models.insert(place, local(&config.local).await.map_err(ragstone_rpc::unusable("generation.local"))?);
    }
    let rewriter = rewrite::Rewriter::new(models.clone(), config.rewrite_timeout());
    let chain = ChatChain::new(models, Some(Arc::new(ExtractiveAnswerer)), ChainPolicy::default());
    let service = grpc::Service::new(chain, Arc::new(ExtractiveAnswerer), rewriter, input::Limits::from(&config));
    Server::new(runtime).add_service(GenerationServiceServer::new(service)).serve().await
}

/// The model in this process.
#[cfg(feature = "local-llm")]
async fn local(config: &ragstone_models::LocalChatConfig) -> ragstone_core::Result<Provider> {
    let store = ragstone_models::ModelStore::open(config.models_dir.clone(), |name| std::env::var_os(name))?;
    let model = ragstone_models::LocalChat::load(&store, config).await?;
    tracing::info!(model = config.model, "language model in this process");
    let model: Arc<dyn ragstone_core::ports::ChatModel> = Arc::new(model);
    Ok(model.into())
}
