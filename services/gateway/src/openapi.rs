//! The OpenAPI document: made from the handlers' annotations and the types they read and write, so that it cannot say
//! anything else than they do.

pub(crate) mod errors;
pub(crate) mod shapes;
pub(crate) mod theirs;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, RefOr, Response};
use utoipa::{Modify, OpenApi};

use crate::{mcp, openai, rest};

/// What is said beside the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ragstone",
        description = "Documents in, cited answers out. Errors are problem documents (RFC 9457); the routes that OpenAI \
                       has too answer errors in OpenAI's form.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(mcp::describe),
    components(schemas(crate::problem::Problem, theirs::OpenAiError, shapes::QueryEvent)),
    security(("bearer" = []), ("api_key" = [])),
    modifiers(&Credentials, &TheirErrors),
    tags(
        (name = "documents", description = "Put, list, read and delete documents"),
        (name = "jobs", description = "The work behind each write"),
        (name = "search", description = "Passages and cited answers"),
        (name = "openai", description = "What clients of OpenAI's API already call"),
        (name = "mcp", description = "The Model Context Protocol"),
        (name = "administration", description = "Keys, audit log, indexes and shards: these need the scope `admin`"),
        (name = "status", description = "What works at the moment"),
    ),
)]
pub(crate) struct Described;

/// The document, as JSON in lines.
///
/// # Errors
/// Never in practice: it is plain data.
pub fn openapi_document() -> anyhow::Result<String> {
    let (_, mut document) = rest::documented().split_for_parts();
    TheirErrors.modify(&mut document);
    Ok(document.to_pretty_json()? + "\n")
}

/// How callers say who they are; with authentication off nobody asks.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A JSON Web Token or an API key. None is asked for where authentication is off."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let key = ApiKeyValue::with_description("x-api-key", "An API key.");
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
}

/// The form of errors on the routes that OpenAI has too, as `openai::translate` makes it.
struct TheirErrors;

impl Modify for TheirErrors {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let theirs = document.paths.paths.iter_mut().filter(|(path, _)| openai::is_theirs(path));
        for (_, item) in theirs {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                let errors = operation.responses.responses.iter_mut().filter(|(status, _)| status.as_str() >= "400");
                errors.for_each(|(_, response)| in_their_form(response));
            }
        }
    }
}

fn in_their_form(response: &mut RefOr<Response>) {
    if let RefOr::T(response) = response {
        response.content.clear();
        response.content.insert("application/json".to_owned(), RefOr::T(errors::content("OpenAiError")));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::Value;

    fn document() -> Value {
        serde_json::from_str(&openapi_document().unwrap()).unwrap()
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_a_tag_and_a_summary() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let mut names = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name} twice");
                assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{method} {path}");
                assert!(operation["summary"].as_str().unwrap().len() > 10, "{method} {path}");
            }
        }
        assert!(names.len() > 25, "{names:?}");
    }

    #[test]
    fn errors_have_the_form_of_their_routes() {
        let document = document();
        let form = |path: &str, method: &str, status: &str| {
            let content = document["paths"][path][method]["responses"][status]["content"].as_object().unwrap();
            content.iter().map(|(kind, body)| (kind.clone(), body["schema"]["$ref"].clone())).collect::<Vec<_>>()
        };
        let problem = [("application/problem+json".to_owned(), "#/components/schemas/Problem".into())];
        let theirs = [("application/json".to_owned(), "#/components/schemas/OpenAiError".into())];
        assert_eq!(form("/v1/query", "post", "429"), problem);
        assert_eq!(form("/v1/documents/{id}", "put", "507"), problem);
        assert_eq!(form("/v1/chat/completions", "post", "400"), theirs);
        assert_eq!(form("/v1/models/{id}", "get", "404"), theirs);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn collect(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| collect(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 100);
        for reference in references {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
