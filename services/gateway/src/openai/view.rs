//! What all OpenAI routes say beside OpenAI's own fields: the object `ragstone`, and the model's name.

use std::time::{SystemTime, UNIX_EPOCH};

use ragstone_core::{Error, Result};
use serde_json::{Value, json};

use crate::query::Answer;
use crate::query::view::AnswerView;

/// The one chat model: retrieval and generation together. Which language model writes is the service's configuration.
pub(crate) const MODEL: &str = "ragstone";

/// Refuses other models.
///
/// # Errors
/// `NotFound`, naming the model there is.
pub(crate) fn check_model(model: &str) -> Result<()> {
    if model == MODEL {
        return Ok(());
    }
    Err(Error::not_found(format!("the model '{model}' does not exist; '{MODEL}' answers from the documents")))
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What Ragstone says of an answer beyond its text: citations, contexts, what was degraded, the ids.
pub(crate) fn extras(answer: Answer) -> Result<Value> {
    let view = serde_json::to_value(AnswerView::from(answer));
    let mut view = view.map_err(|e| Error::internal("an answer cannot be written").with_source(e))?;
    // It stands where OpenAI has it.
    if let Some(fields) = view.as_object_mut() {
        fields.remove("answer");
        fields.remove("usage");
    }
    Ok(view)
}

/// A page of OpenAI's lists that is the whole list.
pub(crate) fn list(data: Vec<Value>) -> Value {
    json!({ "object": "list", "data": data })
}
