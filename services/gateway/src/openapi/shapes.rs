//! Schemas of what has no type in this crate: types of other crates, which know nothing of OpenAPI, and bodies that are
//! written field by field or in several forms.
#![expect(dead_code, reason = "only their schemas are used")]

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::documents::view::{Accepted, BatchItem};
use crate::extract::Items;

/// Makes sending the same again harmless.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Idempotent {
    /// A key of the caller's for this write: with the same body it is done once, with another one it is refused.
    #[param(rename = "idempotency-key", value_type = String, required = false, pattern = "^[!-~]{1,255}$")]
    key: Option<String>,
}

/// What must hold for a write.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Conditions {
    /// Only when this version is the newest, as `"3"`; `*`: only when there is such a document.
    #[param(rename = "if-match", value_type = String, required = false, pattern = r#"^(\*|"[1-9][0-9]{0,17}")$"#)]
    if_match: Option<String>,
    /// `*`: only when there is no such document.
    #[param(rename = "if-none-match", value_type = String, required = false, pattern = r"^\*$")]
    if_none_match: Option<String>,
}

/// What must hold for a deletion.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfMatch {
    /// Only when this version is the newest, as `"3"`; `*`: only when there is such a document.
    #[param(rename = "if-match", value_type = String, required = false, pattern = r#"^(\*|"[1-9][0-9]{0,17}")$"#)]
    version: Option<String>,
}

/// Conditions: all of `must`, none of `must_not` and, where there are any, one of `should`; 64 in all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Filter)]
pub(crate) struct FilterShape {
    #[serde(default)]
    #[schema(max_items = 64)]
    must: Vec<ConditionShape>,
    #[serde(default)]
    #[schema(max_items = 64)]
    must_not: Vec<ConditionShape>,
    #[serde(default)]
    #[schema(max_items = 64)]
    should: Vec<ConditionShape>,
}

/// A test of one field: what it equals, or the bounds of a number.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Condition)]
enum ConditionShape {
    Match(MatchShape),
    Range(RangeShape),
}

/// Equality.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Match)]
struct MatchShape {
    /// `document_id`, `title`, or `metadata.` and a path of names joined by dots.
    #[schema(pattern = r#"^(document_id|title|metadata(\.[^.\[\]"]+)+)$"#)]
    key: String,
    #[serde(rename = "match")]
    equals: OneOrMany,
}

/// Bounds.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Range, min_properties = 2)]
struct RangeShape {
    /// As for a match, or `injection_score`.
    #[schema(pattern = r#"^(document_id|title|injection_score|metadata(\.[^.\[\]"]+)+)$"#)]
    key: String,
    gte: Option<f64>,
    gt: Option<f64>,
    lte: Option<f64>,
    lt: Option<f64>,
}

/// One value, or any of several.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

/// A value that is compared exactly.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Text(String),
}

/// Which signals a search uses.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SearchMode)]
pub(crate) enum ModeShape {
    /// By meaning and words.
    Hybrid,
    /// By meaning alone.
    Dense,
    /// By words alone.
    Keyword,
}

/// What a credential may do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Scope)]
pub(crate) enum ScopeShape {
    Query,
    Ingest,
    Admin,
}

/// How far a job is; `failed`: the document is unusable; `dead`: every try failed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Dead,
    Unknown,
}

/// How far a document's newest version is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DocumentState {
    Processing,
    Ready,
    Failed,
    Deleted,
    Unknown,
}

/// Where an answer came from.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheState {
    Miss,
    Hit,
    Semantic,
    Stale,
}

/// What an index holds.
#[derive(Serialize, ToSchema)]
#[schema(as = IndexSpec)]
pub(crate) struct IndexSpecShape {
    name: String,
    /// The embedding model's id.
    model: String,
    /// That model's revision.
    revision: String,
    /// Numbers in a vector.
    dimension: u64,
}

/// Where documents are placed.
#[derive(Serialize, ToSchema)]
#[schema(as = Topology)]
pub(crate) struct TopologyShape {
    shards: Vec<String>,
    /// While documents move: the shards they are placed on afterwards.
    moving_to: Option<Vec<String>>,
}

/// The answer to a write of documents: of one, or of a batch, item by item.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum StoredShape {
    One(Accepted),
    Batch(Items<BatchItem>),
}

/// One document, or many.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum BatchShape {
    One(crate::documents::envelope::Envelope),
    Many(Vec<crate::documents::envelope::Envelope>),
}

/// A document in a form.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DocumentForm)]
pub(crate) struct FormShape {
    /// The document.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// Fields of the caller's, as a JSON object.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    title: Option<String>,
    /// Who may read it.
    groups: Option<Vec<String>>,
}

/// The events of an answer in `text/event-stream`: `contexts` once, `delta` many times, `restart` when another model
/// starts over, and in the end `done` with the whole answer, or `error` with a problem.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QueryEvent {
    Contexts(crate::query::view::ContextsView),
    Delta(Delta),
    Restart(Restart),
    Done(Box<crate::query::view::AnswerView>),
    Error(crate::problem::Problem),
}

/// One event of a stream: its name, where it has one, and its data, which is JSON.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerSentEvent {
    event: Option<String>,
    data: String,
}

/// More text.
#[derive(Serialize, ToSchema)]
pub(crate) struct Delta {
    text: String,
}

/// Forget the text so far: another model starts over.
#[derive(Serialize, ToSchema)]
pub(crate) struct Restart {
    /// The code of what happened.
    degraded: String,
}
