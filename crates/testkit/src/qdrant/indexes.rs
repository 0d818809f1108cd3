//! Indexes of payload fields.

use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::{
    CreateFieldIndexCollection, DeleteFieldIndexCollection, FieldType, PayloadSchemaType, TextIndexParams,
    TokenizerType,
};
use qdrant_edge as edge;
use serde_json::{Value, json};
use tonic::Status;

use super::collection::{Collection, Index};
use super::errors::{invalid, unsupported};
use super::filters::parse;
use super::shard::Operation;
use super::values::path;

/// Creates an index on every shard, also on those that are created later.
pub(super) async fn create(collection: &Collection, request: CreateFieldIndexCollection) -> Result<(), Status> {
    if request.field_name.is_empty() {
        return Err(invalid("field_name", "value \"\" invalid, must be at least 1 characters"));
    }
    let field_type = request.field_type.ok_or_else(|| Status::invalid_argument("cannot convert field_type"))?;
    let field_type =
        FieldType::try_from(field_type).map_err(|_| Status::invalid_argument("cannot convert field_type"))?;
    let (kind, name) = names(field_type);
    let schema = match request.field_index_params.clone().and_then(|params| params.index_params) {
        None => Value::from(name),
        Some(params) => params_json(name, params)?,
    };
    let index = Index {
        path: path(&request.field_name)?,
        schema: parse::<edge::PayloadFieldSchema>(schema)?,
        kind: kind.into(),
        params: request.field_index_params,
    };
    let _change = collection.change.lock().await;
    let operation = index.operation();
    for shard in collection.shards() {
        shard.everywhere(&operation).await?;
    }
    collection.settings().indexes.insert(request.field_name, index);
    Ok(())
}

/// Removes an index from every shard.
pub(super) async fn delete(collection: &Collection, request: DeleteFieldIndexCollection) -> Result<(), Status> {
    let index = edge::FieldIndexOperations::DeleteIndex(path(&request.field_name)?);
    let _change = collection.change.lock().await;
    let operation = Operation::FieldIndexOperation(index);
    for shard in collection.shards() {
        shard.everywhere(&operation).await?;
    }
    collection.settings().indexes.remove(&request.field_name);
    Ok(())
}

fn names(field_type: FieldType) -> (PayloadSchemaType, &'static str) {
    match field_type {
        FieldType::Keyword => (PayloadSchemaType::Keyword, "keyword"),
        FieldType::Integer => (PayloadSchemaType::Integer, "integer"),
        FieldType::Float => (PayloadSchemaType::Float, "float"),
        FieldType::Geo => (PayloadSchemaType::Geo, "geo"),
        FieldType::Text => (PayloadSchemaType::Text, "text"),
        FieldType::Bool => (PayloadSchemaType::Bool, "bool"),
        FieldType::Datetime => (PayloadSchemaType::Datetime, "datetime"),
        FieldType::Uuid => (PayloadSchemaType::Uuid, "uuid"),
    }
}

/// The index as the engine reads it. Where it is kept in memory changes no answer and is left out.
fn params_json(name: &'static str, params: IndexParams) -> Result<Value, Status> {
    let (own, value, nested) = match params {
        IndexParams::KeywordIndexParams(params) => {
            if params.prefix.is_some() {
                return Err(unsupported("the prefix index"));
            }
            ("keyword", json!({ "is_tenant": params.is_tenant }), params.nested)
        }
        IndexParams::IntegerIndexParams(params) => {
            let value = json!({ "lookup": params.lookup, "range": params.range, "is_principal": params.is_principal });
            ("integer", value, params.nested)
        }
        IndexParams::FloatIndexParams(params) => {
            ("float", json!({ "is_principal": params.is_principal }), params.nested)
        }
        IndexParams::DatetimeIndexParams(params) => {
            ("datetime", json!({ "is_principal": params.is_principal }), params.nested)
        }
        IndexParams::UuidIndexParams(params) => ("uuid", json!({ "is_tenant": params.is_tenant }), params.nested),
        IndexParams::BoolIndexParams(params) => ("bool", json!({}), params.nested),
        IndexParams::GeoIndexParams(params) => ("geo", json!({}), params.nested),
        IndexParams::TextIndexParams(params) => ("text", text_json(&params)?, params.nested),
    };
    if nested.is_some() {
        return Err(unsupported("the index of a nested field"));
    }
    if own != name {
        return Err(Status::invalid_argument(format!("field_type {name} does not match its parameters, of {own}")));
    }
    let mut value = value;
    value["type"] = Value::from(name);
    Ok(value)
}

fn text_json(params: &TextIndexParams) -> Result<Value, Status> {
    let tokenizer = match TokenizerType::try_from(params.tokenizer) {
        Ok(TokenizerType::Prefix) => "prefix",
        Ok(TokenizerType::Whitespace) => "whitespace",
        Ok(TokenizerType::Word) => "word",
        Ok(TokenizerType::Multilingual) => "multilingual",
        Ok(TokenizerType::Code) => return Err(unsupported("the code tokenizer")),
        Ok(TokenizerType::Unknown) | Err(_) => return Err(Status::invalid_argument("unknown tokenizer type")),
    };
    if params.stopwords.is_some() || params.stemmer.is_some() || params.scoring.is_some() {
        return Err(unsupported("stop words, stemmers and scoring of a text index"));
    }
    Ok(json!({
        "tokenizer": tokenizer, "lowercase": params.lowercase, "min_token_len": params.min_token_len,
        "max_token_len": params.max_token_len, "phrase_matching": params.phrase_matching,
        "ascii_folding": params.ascii_folding,
    }))
}
