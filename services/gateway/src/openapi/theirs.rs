//! Schemas of bodies whose form is somebody else's: OpenAI's, and JSON-RPC's.
#![expect(dead_code, reason = "only their schemas are used")]

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::query::view::{CitationView, ContextView};

/// One text, or several.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrManyTexts {
    One(String),
    Many(Vec<String>),
}

/// A message of JSON-RPC.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }))]
pub(crate) struct JsonRpc {
    #[schema(pattern = "^2\\.0$")]
    jsonrpc: String,
    id: Option<RpcId>,
    method: String,
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
}

/// What an answer is recognised by.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum RpcId {
    Number(i64),
    Text(String),
}

/// Its answer: a result or an error.
#[derive(Serialize, ToSchema)]
pub(crate) struct JsonRpcAnswer {
    jsonrpc: String,
    id: Value,
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    #[schema(value_type = Option<Object>)]
    error: Option<Value>,
}

/// An error in OpenAI's form.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    error: OpenAiErrorBody,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
struct OpenAiErrorBody {
    message: String,
    r#type: String,
    param: Option<String>,
    code: String,
}

/// Who says something. Instructions are taken and not used.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChatRole {
    System,
    Developer,
    User,
    Assistant,
}

/// Text, or that somebody has refused to write one.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChatPartKind {
    Text,
    InputText,
    OutputText,
    Refusal,
}

/// The model that answers from the documents.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ModelName {
    Ragstone,
}

/// A model.
#[derive(Serialize, ToSchema)]
pub(crate) struct Model {
    id: String,
    object: String,
    created: u64,
    owned_by: String,
}

/// All models.
#[derive(Serialize, ToSchema)]
pub(crate) struct Models {
    object: String,
    data: Vec<Model>,
}

/// A finished chat.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChatCompletion {
    id: String,
    object: String,
    created: u64,
    model: String,
    #[schema(min_items = 1, max_items = 1)]
    choices: Vec<Choice>,
    usage: ChatUsage,
    ragstone: Extras,
}

/// The one answer.
#[derive(Serialize, ToSchema)]
struct Choice {
    index: u32,
    message: Said,
    finish_reason: String,
}

/// What the assistant says; `[n]` in it names the n-th context.
#[derive(Serialize, ToSchema)]
struct Said {
    role: String,
    content: String,
}

/// Tokens read and written.
#[derive(Serialize, ToSchema)]
struct ChatUsage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
}

/// What Ragstone says beside the text.
#[derive(Serialize, ToSchema)]
#[schema(as = AnswerExtras)]
struct Extras {
    query_id: String,
    citations: Vec<CitationView>,
    contexts: Vec<ContextView>,
    degraded: Vec<String>,
    sources_complete: bool,
    trace_id: Option<String>,
}

/// A response.
#[derive(Serialize, ToSchema)]
#[schema(as = Response)]
pub(crate) struct ResponseShape {
    id: String,
    object: String,
    created_at: u64,
    status: String,
    model: String,
    #[schema(value_type = Vec<Object>)]
    output: Vec<Value>,
    #[schema(value_type = Object)]
    usage: Value,
    ragstone: Extras,
}

/// Vectors, one for each text.
#[derive(Serialize, ToSchema)]
pub(crate) struct Embeddings {
    object: String,
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingUsage,
}

/// Tokens read.
#[derive(Serialize, ToSchema)]
struct EmbeddingUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// A vector.
#[derive(Serialize, ToSchema)]
struct Embedding {
    object: String,
    index: u32,
    embedding: Numbers,
}

/// Numbers, or the base64 of little-endian 32-bit floats.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Numbers {
    Floats(Vec<f32>),
    Base64(String),
}

/// What was found in a vector store.
#[derive(Serialize, ToSchema)]
pub(crate) struct VectorStorePage {
    object: String,
    search_query: Vec<String>,
    data: Vec<VectorStoreHit>,
    has_more: bool,
    next_page: Option<String>,
}

/// A passage.
#[derive(Serialize, ToSchema)]
struct VectorStoreHit {
    file_id: String,
    filename: String,
    score: f32,
    #[schema(value_type = Object)]
    attributes: Value,
    #[schema(value_type = Vec<Object>)]
    content: Vec<Value>,
}

/// A filter of OpenAI's: a comparison, or several joined by `and` or `or`.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = AttributeFilter)]
pub(crate) enum AttributeFilter {
    One(Comparison),
    Joined(Joined),
}

/// A comparison.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Comparison {
    r#type: ComparisonKind,
    /// The name of an attribute.
    key: String,
    value: Value,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ComparisonKind {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
    Nin,
}

/// Several, joined.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Joined {
    r#type: JoinKind,
    filters: Vec<Comparison>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum JoinKind {
    And,
    Or,
}
