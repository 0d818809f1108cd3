//! The services behind the gateway, and how their failures are told.

use ragstone_core::{Error, ErrorCode, Result};
use ragstone_proto::v1::access_service_client::AccessServiceClient;
use ragstone_proto::v1::embedding_service_client::EmbeddingServiceClient;
use ragstone_proto::v1::generation_service_client::GenerationServiceClient;
use ragstone_proto::v1::index_service_client::IndexServiceClient;
use ragstone_proto::v1::ingestion_service_client::IngestionServiceClient;
use ragstone_proto::v1::maintenance_service_client::MaintenanceServiceClient;
use ragstone_proto::v1::retrieval_service_client::RetrievalServiceClient;
use ragstone_rpc::{Dialer, Runtime, error_from};
use tonic::Status;
use tonic::transport::Channel;

use crate::Config;

/// A page of 1,000 documents with 16 KiB of metadata each, or 100 hits, must fit.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// One client for each service; cloning one is cheap and shares its connection.
pub(crate) struct Backends {
    /// Vectors.
    pub embedding: EmbeddingServiceClient<Channel>,
    /// Search.
    pub retrieval: RetrievalServiceClient<Channel>,
    /// Answers.
    pub generation: GenerationServiceClient<Channel>,
    /// Which index serves.
    pub indexes: IndexServiceClient<Channel>,
    /// Documents and jobs.
    pub ingestion: IngestionServiceClient<Channel>,
    /// API keys, the audit log, feedback.
    pub access: AccessServiceClient<Channel>,
    /// Administrators' changes of the indexes.
    pub maintenance: MaintenanceServiceClient<Channel>,
}

impl Backends {
    /// Clients that connect at their first call. Passages are found by retrieval or, by their words, by ingestion: without
    /// both there is no answer of any kind, and the gateway is not ready. Without one of the others it still does part of
    /// its work.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL that is none, or a certificate that cannot be used.
    pub(crate) fn connect(config: &Config, runtime: &Runtime) -> Result<Self> {
        let (dialer, health) = (Dialer::new(&runtime.server)?, &runtime.health);
        let channel = |name: &str, url: &str| {
            let channel = dialer.connect(url)?;
            health.register_peer(name, false, channel.clone());
            Ok::<_, Error>(channel)
        };
        let retrieval = channel("retrieval", &config.retrieval_url)?;
        let ingestion = channel("ingestion", &config.ingestion_url)?;
        health.register_either("search", retrieval.clone(), ingestion.clone());
        Ok(Self {
            embedding: EmbeddingServiceClient::new(channel("embedding", &config.embedding_url)?),
            indexes: IndexServiceClient::new(retrieval.clone()),
            retrieval: RetrievalServiceClient::new(retrieval).max_decoding_message_size(MAX_ANSWER_BYTES),
            generation: GenerationServiceClient::new(channel("generation", &config.generation_url)?),
            access: AccessServiceClient::new(ingestion.clone()),
            maintenance: MaintenanceServiceClient::new(ingestion.clone()),
            ingestion: IngestionServiceClient::new(ingestion).max_decoding_message_size(MAX_ANSWER_BYTES),
        })
    }
}

/// The error that `status` of `service` tells. What the transport says about addresses is for the log only.
pub(crate) fn failed(service: &'static str) -> impl Fn(Status) -> Error {
    move |status| {
        let transport = std::error::Error::source(&status).is_some();
        let error = error_from(status);
        match error.code {
            ErrorCode::DeadlineExceeded => {
                Error { message: format!("the {service} service did not answer in time"), ..error }
            }
            ErrorCode::Unavailable if transport => {
                Error { message: format!("the {service} service cannot be reached"), ..error }
            }
            _ => error,
        }
    }
}
