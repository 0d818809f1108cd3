//! Payload indexes: those every collection has, and those that filters turn out to need.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::{
    BoolIndexParams, CreateFieldIndexCollection, FieldType, FloatIndexParams, IntegerIndexParams, KeywordIndexParams,
    PayloadIndexParams, PayloadSchemaInfo, PayloadSchemaType,
};
use ragstone_core::{Condition, Filter, INJECTION_SCORE, Predicate, Result, Scalar};
use ragstone_resilience::Deadline;
use serde::{Deserialize, Serialize};

use super::collection::Collection;
use super::filter;
use super::peers::Peers;
use crate::payload::{ANALYZER, CHUNK, DOCUMENT, GROUPS, METADATA, PUBLIC, STATE, TENANT, VERSION};

/// Payload indexes made because filters named a field: each costs memory, and whoever searches chooses the names.
const MOST_FOUND: usize = 32;
/// Indexing a large collection takes a while; it goes on in Qdrant when nobody waits any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a field is indexed for. Each kind answers only what it answers exactly as a look at the payload would: numbers
/// are compared as floats, for integers would be cut, and an integer index finds equal ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The field that divides the collection.
    Tenant,
    /// Equal texts.
    Text,
    /// Equal whole numbers.
    Whole,
    /// Whole numbers in order.
    Version,
    /// Numbers in order.
    Number,
    /// Truth values.
    Bool,
}

impl Kind {
    fn of(condition: &Condition) -> Self {
        match &condition.predicate {
            Predicate::Range { .. } => Self::Number,
            Predicate::AnyOf(values) => match values.first() {
                Some(Scalar::Bool(_)) => Self::Bool,
                Some(Scalar::Integer(_)) => Self::Whole,
                Some(Scalar::Text(_)) | None => Self::Text,
            },
        }
    }

    /// What an index of a metadata field, as Qdrant describes it, is for; `None` for a kind that Ragstone does not make.
    pub(crate) fn of_index(index: &PayloadSchemaInfo) -> Option<Self> {
        match PayloadSchemaType::try_from(index.data_type).ok()? {
            PayloadSchemaType::Keyword => Some(Self::Text),
            PayloadSchemaType::Integer => Some(Self::Whole),
            PayloadSchemaType::Float => Some(Self::Number),
            PayloadSchemaType::Bool => Some(Self::Bool),
            _ => None,
        }
    }

    fn params(self) -> (FieldType, IndexParams) {
        let whole =
            |range| IntegerIndexParams { lookup: Some(true), range: Some(range), ..IntegerIndexParams::default() };
        let text = |is_tenant| KeywordIndexParams { is_tenant: Some(is_tenant), ..KeywordIndexParams::default() };
        match self {
            Self::Tenant => (FieldType::Keyword, IndexParams::KeywordIndexParams(text(true))),
            Self::Text => (FieldType::Keyword, IndexParams::KeywordIndexParams(text(false))),
            Self::Whole => (FieldType::Integer, IndexParams::IntegerIndexParams(whole(false))),
            Self::Version => (FieldType::Integer, IndexParams::IntegerIndexParams(whole(true))),
            Self::Number => (FieldType::Float, IndexParams::FloatIndexParams(FloatIndexParams::default())),
            Self::Bool => (FieldType::Bool, IndexParams::BoolIndexParams(BoolIndexParams::default())),
        }
    }
}

/// The fields every collection has an index for, beside the configured ones.
pub(crate) fn standard() -> Vec<(&'static str, Kind)> {
    vec![
        (TENANT, Kind::Tenant),
        (DOCUMENT, Kind::Text),
        (VERSION, Kind::Version),
        (CHUNK, Kind::Whole),
        (STATE, Kind::Text),
        (GROUPS, Kind::Text),
        (PUBLIC, Kind::Bool),
        (ANALYZER, Kind::Text),
        (INJECTION_SCORE, Kind::Number),
    ]
}

/// Makes a payload index, or finds it there.
pub(crate) async fn index(peers: &Peers, collection: &str, field: String, kind: Kind) -> Result<()> {
    let (field_type, params) = kind.params();
    let request = CreateFieldIndexCollection {
        collection_name: collection.to_owned(),
        wait: Some(true),
        field_name: field,
        field_type: Some(field_type.into()),
        field_index_params: Some(PayloadIndexParams { index_params: Some(params) }),
        ..CreateFieldIndexCollection::default()
    };
    peers.change_any(request, Deadline::after(PATIENCE)).await?;
    Ok(())
}

impl Collection {
    /// Has indexes made, in the background, for metadata fields that a filter names for the first time.
    pub(crate) fn index_fields_of(self: &Arc<Self>, filter: &Filter) {
        for condition in filter.must.iter().chain(&filter.must_not).chain(&filter.should) {
            let field = filter::path(&condition.key);
            if condition.key.starts_with(METADATA) && self.claim(&field) {
                let (collection, kind) = (Arc::clone(self), Kind::of(condition));
                tokio::spawn(async move { collection.index_field(field, kind).await });
            }
        }
    }

    /// Whether the field is to be indexed, by the caller.
    fn claim(&self, field: &str) -> bool {
        let mut indexed = self.indexed.lock().unwrap_or_else(PoisonError::into_inner);
        let found = indexed.iter().filter(|known| known.starts_with(METADATA)).count();
        let room = found < MOST_FOUND + self.config.indexed_metadata.len();
        let field = plain(field);
        !indexed.contains(&field) && room && indexed.insert(field)
    }

    async fn index_field(&self, field: String, kind: Kind) {
        match index(&self.peers, &self.name, field.clone(), kind).await {
            Ok(()) => tracing::info!(collection = self.name, kind = ?kind, "a metadata field in use is indexed"),
            Err(error) => {
                tracing::warn!(collection = self.name, error = %error.chain(), "a metadata field cannot be indexed");
                self.indexed.lock().unwrap_or_else(PoisonError::into_inner).remove(&plain(&field));
            }
        }
    }
}

/// A payload path without the quotes, which Qdrant leaves out where it can.
pub(crate) fn plain(path: &str) -> String {
    path.replace('"', "")
}
