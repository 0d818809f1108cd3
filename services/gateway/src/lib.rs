//! The gateway: the one door for clients. REST with Server-Sent Events and the gRPC `RagService` on one port, both over
//! the same query pipeline (`query.rs`) and the same document functions (`documents.rs`).

mod access;
mod admin;
mod app;
mod backends;
mod body;
mod config;
mod context;
mod documents;
mod edge;
mod extract;
mod grpc;
mod guard;
mod jobs;
mod limits;
mod mcp;
mod openai;
mod openapi;
mod playground;
mod problem;
mod query;
mod reference;
mod rest;
mod search;
mod serving;
mod sse;
mod status;

use std::sync::Arc;

use ragstone_proto::v1::rag_service_server::RagServiceServer;
use ragstone_rpc::{Runtime, Server, unusable};
use tokio_util::task::AbortOnDropHandle;
use tonic::service::LayerExt as _;
use tower::ServiceBuilder;

pub use config::Config;
pub use documents::FetchConfig;
pub use guard::{GuardConfig, InjectionPolicy, TenantGuard};
pub use limits::LimitsConfig;
pub use openapi::openapi_document;

use app::App;

/// Serves REST and gRPC until the runtime's shutdown token fires.
///
/// # Errors
/// When a URL or the tenant of the configuration is unusable, or the listener fails.
pub async fn serve(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let (tls, origins) = (config.tls.clone(), config.cors_origins.clone());
    let app = Arc::new(App::new(config, &runtime).await.map_err(unusable("gateway"))?);
    let _summary = AbortOnDropHandle::new(tokio::spawn(access::feedback::watch(Arc::clone(&app))));
    let edge = ServiceBuilder::new()
        .map_request(|request: http::Request<tonic::body::Body>| request.map(axum::body::Body::new))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), edge::edge));
    let rag = edge.named_layer(RagServiceServer::new(grpc::Rag::new(Arc::clone(&app))));
    let server = Server::with_router(runtime, rest::router(Arc::clone(&app)))
        .tls("gateway.tls", tls)
        .cors(&origins)
        .grpc_web()
        .guard(axum::middleware::from_fn_with_state(Arc::clone(&app), edge::guard));
    let outcome = server.add_service(rag).serve().await;
    app.recorder.close().await;
    outcome
}
