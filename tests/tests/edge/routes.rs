//! Every route of the gateway with what it needs. The tests of scopes and tenants go through this list, and one test here compares
//! it with the gateway: a new route without a place in it fails.

use std::collections::BTreeSet;
use std::path::Path;

use ragstone_core::Scope;
use reqwest::Method;

use crate::world::{ALL, client, stack, token};

/// A route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// As the router has it.
    pub(crate) path: &'static str,
    /// What a caller's credential must allow; `None`: it is open.
    pub(crate) scope: Option<Scope>,
}

const fn open(path: &'static str) -> Route {
    Route { method: "GET", path, scope: None }
}

const fn query(method: &'static str, path: &'static str) -> Route {
    Route { method, path, scope: Some(Scope::Query) }
}

const fn ingest(method: &'static str, path: &'static str) -> Route {
    Route { method, path, scope: Some(Scope::Ingest) }
}

const fn admin(method: &'static str, path: &'static str) -> Route {
    Route { method, path, scope: Some(Scope::Admin) }
}

/// All of them.
pub(crate) const ROUTES: [Route; 39] = [
    open("/"),
    open("/assets/{name}"),
    open("/openapi.json"),
    open("/docs"),
    open("/docs/{name}"),
    open("/v1/status"),
    query("GET", "/v1/documents"),
    ingest("POST", "/v1/documents"),
    query("GET", "/v1/documents/{id}"),
    ingest("PUT", "/v1/documents/{id}"),
    ingest("DELETE", "/v1/documents/{id}"),
    query("GET", "/v1/documents/{id}/history"),
    query("GET", "/v1/documents/{id}/text"),
    query("GET", "/v1/jobs"),
    query("GET", "/v1/jobs/{id}"),
    query("GET", "/v1/jobs/{id}/events"),
    ingest("POST", "/v1/jobs/{id}/retry"),
    query("POST", "/v1/search"),
    query("POST", "/v1/query"),
    query("POST", "/v1/feedback"),
    query("POST", "/v1/chat/completions"),
    query("POST", "/v1/responses"),
    query("POST", "/v1/embeddings"),
    query("GET", "/v1/models"),
    query("GET", "/v1/models/{id}"),
    query("POST", "/v1/vector_stores/{id}/search"),
    query("POST", "/mcp"),
    admin("GET", "/v1/admin/indexes"),
    admin("POST", "/v1/admin/indexes"),
    admin("DELETE", "/v1/admin/indexes/{id}"),
    admin("POST", "/v1/admin/indexes/{id}/serve"),
    admin("POST", "/v1/admin/rollback"),
    admin("GET", "/v1/admin/shards"),
    admin("PUT", "/v1/admin/shards"),
    admin("GET", "/v1/admin/keys"),
    admin("POST", "/v1/admin/keys"),
    admin("DELETE", "/v1/admin/keys/{id}"),
    admin("GET", "/v1/admin/audit"),
    admin("GET", "/v1/admin/audit/verification"),
];

/// A path with something for its parameters; files are there.
pub(crate) fn a_path(path: &str) -> String {
    path.replace("/assets/{name}", "/assets/style.css").replace("/docs/{name}", "/docs/start.js").replace("{id}", "x")
}

/// Every path that the gateway's source gives to a router, or names for the document of the API.
fn paths_in_source() -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/gateway/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // What tests route is not served.
            if path.file_stem().is_some_and(|name| name == "tests") {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(path).unwrap();
                paths_of(source.split("#[cfg(test)]").next().unwrap(), &mut paths);
            }
        }
    }
    paths
}

fn paths_of(source: &str, paths: &mut BTreeSet<String>) {
    for before in [".route(", ".nest(", ".route_service(", ".nest_service(", "path = ", "PATH: &str = "] {
        for rest in source.split(before).skip(1) {
            let literal = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
            paths.extend(literal.map(|(path, _)| path.to_owned()).filter(|path| path.starts_with('/')));
        }
    }
}

#[test]
fn every_path_has_a_place_in_the_list() {
    let known: BTreeSet<String> = ROUTES.iter().map(|route| route.path.to_owned()).collect();
    assert_eq!(paths_in_source(), known, "add new routes to ROUTES, with their scopes and their cases in `tenants`");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_a_path_has_a_place_in_the_list() {
    let stack = stack(&[]).await;
    // With a credential: MCP asks for it before it looks at the method.
    let client = client(&stack, &token("acme", "ada", &ALL, &[]));
    let paths: BTreeSet<&str> = ROUTES.iter().map(|route| route.path).collect();
    for path in paths {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            let known = ROUTES.iter().any(|route| (route.method, route.path) == (method, path));
            let real = a_path(path);
            let request = client.http().request(Method::from_bytes(method.as_bytes()).unwrap(), client.url(&real));
            let status = request.send().await.unwrap().status().as_u16();
            assert_eq!(status == 405, !known, "{method} {path}: {status}; is it in ROUTES?");
        }
    }
    stack.stop().await.unwrap();
}

#[test]
fn the_document_of_the_api_names_the_same_routes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let document: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let documented: BTreeSet<(String, &str)> = paths
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.as_str()))
        })
        .collect();
    // Pages for people.
    let undocumented = ["/", "/assets/{name}", "/openapi.json", "/docs", "/docs/{name}"];
    let known = ROUTES.iter().filter(|route| !undocumented.contains(&route.path));
    assert_eq!(documented, known.map(|route| (route.method.to_owned(), route.path)).collect());
}
