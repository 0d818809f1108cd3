//! The tools `search` and `ask`.

use std::sync::Arc;

use ragstone_core::{Error, ErrorCode, Filter, Principal, Result, SearchMode};
use ragstone_resilience::Deadline;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, ErrorData, JsonObject, Resource, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::refuse;
use super::resources::uri;
use crate::app::App;
use crate::problem::disclose;
use crate::query::view::AnswerView;
use crate::query::{self, Answer, QueryInput, SearchInput};
use crate::search::{SearchAnswer, search};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchArguments {
    query: String,
    k: Option<u32>,
    mode: Option<SearchMode>,
    #[serde(default, deserialize_with = "crate::extract::object")]
    filter: Option<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskArguments {
    question: String,
    k: Option<u32>,
    #[serde(default, deserialize_with = "crate::extract::object")]
    filter: Option<Filter>,
}

/// What both tools take beside their text.
fn common() -> JsonObject {
    let schema = json!({
        "k": { "type": "integer", "minimum": 1, "maximum": 100, "default": 5, "description": "How many passages to retrieve." },
        "filter": {
            "type": "object",
            "description": "Conditions on metadata, for example {\"must\": [{\"key\": \"metadata.lang\", \"match\": \"de\"}]}.",
        },
    });
    if let Value::Object(schema) = schema { schema } else { JsonObject::new() }
}

fn input_schema(name: &str, description: &str, more: Option<(&str, Value)>) -> JsonObject {
    let mut properties = common();
    properties.insert(name.to_owned(), json!({ "type": "string", "minLength": 1, "description": description }));
    properties.extend(more.map(|(key, value)| (key.to_owned(), value)));
    JsonObject::from_iter([
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), Value::Object(properties)),
        ("required".to_owned(), json!([name])),
        ("additionalProperties".to_owned(), json!(false)),
    ])
}

/// Every tool.
pub(super) fn all() -> Vec<Tool> {
    let reads = || ToolAnnotations::new().read_only(true).destructive(false).idempotent(true).open_world(false);
    let mode = json!({
        "type": "string", "enum": ["hybrid", "dense", "keyword"], "default": "hybrid",
        "description": "By meaning and words, by meaning alone, or by words alone.",
    });
    let search = input_schema("query", "What to look for.", Some(("mode", mode)));
    let ask = input_schema("question", "The question, in any language.", None);
    vec![
        Tool::new("search", "Finds passages in the documents.", Arc::new(search))
            .with_title("Search the documents")
            .with_annotations(reads()),
        Tool::new("ask", "Answers a question from the documents, with citations [n].", Arc::new(ask))
            .with_title("Ask the documents")
            .with_annotations(reads()),
    ]
}

/// Calls a tool. What the caller can mend, or may try again, is the tool's result: the model behind the caller reads it.
pub(super) async fn call(
    app: &Arc<App>,
    caller: Principal,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let deadline = app.deadline();
    let arguments = Value::Object(request.arguments.unwrap_or_default());
    let work = async {
        match request.name.as_ref() {
            "search" => find(app, &caller, arguments, deadline).await,
            "ask" => answer(app, caller, arguments, deadline).await,
            other => Err(Error::invalid(format!("there is no tool '{other}'"))),
        }
    };
    let outcome = tokio::select! {
        outcome = deadline.run(work) => outcome,
        () = context.ct.cancelled() => Err(Error::new(ErrorCode::Cancelled, "the caller left")),
    };
    match outcome {
        Err(error) if error.code == ErrorCode::InvalidArgument => Err(refuse(error)),
        Err(error) => Ok(CallToolResult::error(vec![ContentBlock::text(disclose(error).message)])),
        Ok(result) => Ok(result),
    }
}

fn parse<T: DeserializeOwned>(arguments: Value) -> Result<T> {
    serde_json::from_value(arguments)
        .map_err(|e| Error::invalid(format!("the arguments are not as they should be: {e}")))
}

async fn find(app: &App, caller: &Principal, arguments: Value, deadline: Deadline) -> Result<CallToolResult> {
    let SearchArguments { query, k, mode, filter } = parse(arguments)?;
    // What is found here goes to a model.
    let guard = &app.config.guard;
    let filter = Some(guard.restrict(filter.unwrap_or_default()));
    let input = SearchInput { query, k, mode, filter, rerank: None };
    let mut found = search(app, caller, input, deadline).await?;
    found.result.hits.retain(|hit| guard.admits(&hit.content));
    let passages = found.result.hits.iter().enumerate().map(|(n, hit)| {
        let name = if hit.title.is_empty() { hit.document_id.as_str() } else { &hit.title };
        format!("[{}] {name} ({}, passage {})\n{}", n + 1, hit.document_id, hit.chunk_index, hit.content)
    });
    let text = passages.collect::<Vec<_>>().join("\n\n");
    let text = if text.is_empty() { "Nothing was found.".to_owned() } else { text };
    result(text, structured(&SearchAnswer::from(found))?, Vec::new())
}

async fn answer(app: &Arc<App>, caller: Principal, arguments: Value, deadline: Deadline) -> Result<CallToolResult> {
    let AskArguments { question, k, filter } = parse(arguments)?;
    let input = QueryInput { query: question, k, filter, ..QueryInput::default() };
    let answer = query::rest::finish(query::start(Arc::clone(app), caller, input, deadline).await?).await?;
    let (text, links) = (text_with_sources(&answer), links(&answer));
    result(text, structured(&AnswerView::from(answer))?, links)
}

/// The answer, and under it what its markers stand for.
fn text_with_sources(answer: &Answer) -> String {
    let mut text = answer.text.clone();
    for citation in &answer.citations {
        text.push_str(&format!("\n[{}] {}: “{}”", citation.marker, citation.document_id, citation.quote));
    }
    if !answer.trail.degraded.is_empty() {
        text.push_str(&format!("\n(degraded: {})", answer.trail.degraded.join(", ")));
    }
    text
}

/// The cited documents, each once, as links to their resources.
fn links(answer: &Answer) -> Vec<ContentBlock> {
    let mut ids: Vec<_> = answer.citations.iter().map(|citation| &citation.document_id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(|id| ContentBlock::resource_link(Resource::new(uri(id), id.as_str()))).collect()
}

fn structured(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::internal("a result cannot be written").with_source(e))
}

fn result(text: String, structured: Value, links: Vec<ContentBlock>) -> Result<CallToolResult> {
    let content = std::iter::once(ContentBlock::text(text)).chain(links).collect();
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(structured);
    Ok(result)
}
