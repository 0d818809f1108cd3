//! What a credential must allow, for every route and every gRPC method; without one nothing is open but the list says so.

use ragstone_core::Scope;
use ragstone_proto::v1;
use ragstone_testkit::client::Client;
use reqwest::Method;
use serde_json::json;
use tonic::Code;

use crate::routes::{ROUTES, Route, a_path};
use crate::world::{ALL, Grpc, channel, client, grpc, stack, token, with_headers};

/// Sends a request without sense to a route: who may use it is decided before that matters.
async fn call(client: &Client, route: &Route) -> reqwest::Response {
    let path = a_path(route.path);
    let request = client.http().request(Method::from_bytes(route.method.as_bytes()).unwrap(), client.url(&path));
    let request = if route.method == "GET" { request } else { request.json(&json!({})) };
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_wants_its_scope_and_only_the_listed_ones_are_open() {
    let stack = stack(&[]).await;
    let nobody = stack.client();
    for route in ROUTES {
        let Route { method, path, scope } = route;
        let response = call(&nobody, &route).await;
        let Some(needed) = scope else {
            assert_eq!(response.status(), 200, "{method} {path} is open");
            continue;
        };
        assert_eq!(response.status(), 401, "{method} {path} without a credential");
        assert_eq!(response.headers()["www-authenticate"], "Bearer", "{method} {path}");
        let others: Vec<Scope> = ALL.into_iter().filter(|scope| *scope != needed).collect();
        let response = call(&client(&stack, &token("acme", "ada", &others, &[])), &route).await;
        assert_eq!(response.status(), 403, "{method} {path} without the scope {needed:?}");
        let body = response.text().await.unwrap();
        assert!(body.contains(needed.as_str()), "{method} {path} names the scope: {body}");
        let response = call(&client(&stack, &token("acme", "ada", &[needed], &[])), &route).await;
        let status = response.status().as_u16();
        assert!(![401, 403, 500].contains(&status), "{method} {path} with the scope {needed:?}: {status}");
    }
    // What is not there tells nobody anything, with or without a credential.
    for path in ["/v1", "/v1/", "/v1/admin", "/v1/documents/a/b", "/metrics", "/healthz", "/readyz", "/v1/status/x"] {
        let response = nobody.http().get(nobody.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
    }
    stack.stop().await.unwrap();
}

/// What a method says to this caller; arguments make no sense.
async fn code(grpc: &mut Grpc, method: &str) -> Code {
    let id = || "x".to_owned();
    let outcome = match method {
        "Query" => grpc.query(v1::QueryRequest::default()).await.map(drop),
        "QueryStream" => {
            let query = Some(v1::QueryRequest::default());
            match grpc.query_stream(v1::QueryStreamRequest { query }).await {
                Ok(stream) => stream.into_inner().message().await.map(drop),
                Err(status) => Err(status),
            }
        }
        "Search" => grpc.search(v1::SearchRequest::default()).await.map(drop),
        "PutDocument" => {
            let nothing = futures::stream::iter(Vec::<v1::PutDocumentRequest>::new());
            grpc.put_document(nothing).await.map(drop)
        }
        "GetDocument" => grpc.get_document(v1::GetDocumentRequest { document_id: id() }).await.map(drop),
        "ListDocuments" => grpc.list_documents(v1::ListDocumentsRequest::default()).await.map(drop),
        "DeleteDocument" => {
            grpc.delete_document(v1::DeleteDocumentRequest { document_id: id(), if_version: None }).await.map(drop)
        }
        "GetJob" => grpc.get_job(v1::GetJobRequest { job_id: id() }).await.map(drop),
        "WatchJob" => grpc.watch_job(v1::WatchJobRequest { job_id: id() }).await.map(drop),
        "Feedback" => grpc.feedback(v1::FeedbackRequest::default()).await.map(drop),
        other => panic!("{other} is new: what does it need?"),
    };
    outcome.err().map_or(Code::Ok, |status| status.code())
}

/// The methods of the service, as its description has them.
pub(crate) fn methods() -> Vec<String> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/ragstone/v1/gateway.proto");
    let text = std::fs::read_to_string(file).unwrap();
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split_once('('));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_wants_its_scope() {
    let stack = stack(&[]).await;
    let channel = channel(&stack.url()).await;
    let methods = methods();
    assert_eq!(methods.len(), 10);
    for method in methods {
        let needed = match method.as_str() {
            "PutDocument" | "DeleteDocument" => Scope::Ingest,
            _ => Scope::Query,
        };
        let nobody = code(&mut with_headers(&channel, reqwest::header::HeaderMap::new()), &method).await;
        assert_eq!(nobody, Code::Unauthenticated, "{method}");
        let others: Vec<Scope> = ALL.into_iter().filter(|scope| *scope != needed).collect();
        let without = code(&mut grpc(&channel, &token("acme", "ada", &others, &[])), &method).await;
        assert_eq!(without, Code::PermissionDenied, "{method} without {needed:?}");
        let with = code(&mut grpc(&channel, &token("acme", "ada", &[needed], &[])), &method).await;
        let refused = [Code::Unauthenticated, Code::PermissionDenied, Code::Internal, Code::Unknown];
        assert!(!refused.contains(&with), "{method} with {needed:?}: {with:?}");
    }
    // The browser's form of the same calls.
    let call = |token: Option<String>| {
        let client = stack.client();
        let request = client.http().post(client.url("/ragstone.v1.RagService/ListDocuments"));
        let request = request.header("content-type", "application/grpc-web+proto").body(vec![0_u8; 5]);
        token.into_iter().fold(request, |request, token| request.bearer_auth(token))
    };
    for (token, status) in [
        (None, "16"),
        (Some(token("acme", "ada", &[Scope::Admin], &[])), "7"),
        (Some(token("acme", "ada", &[Scope::Query], &[])), "0"),
    ] {
        let response = call(token).send().await.unwrap();
        let header = response.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
        let body = response.bytes().await.unwrap();
        // Errors are in the head, successes in the trailer that is part of the body.
        let trailer = String::from_utf8_lossy(&body).contains(&format!("grpc-status:{status}"));
        assert!(header.as_deref() == Some(status) || trailer, "gRPC-Web: {header:?}, {body:?}");
    }
    stack.stop().await.unwrap();
}

/// Every method of the inner services: `/ragstone.v1.Service/Method`.
fn inner_methods() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/ragstone/v1");
    let mut methods = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut service = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("service ") {
                service = name.split_whitespace().next().unwrap();
            } else if let Some((method, _)) = line.trim().strip_prefix("rpc ").and_then(|rest| rest.split_once('(')) {
                methods.push(format!("/ragstone.v1.{service}/{method}"));
            }
        }
    }
    methods.retain(|method| !method.contains(".RagService/"));
    methods
}

/// The status of a call without a message.
async fn grpc_status(client: &Client, path: &str, token: Option<&str>) -> String {
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let request = http.post(client.url(path)).header("content-type", "application/grpc").body(vec![0_u8; 5]);
    let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
    let response = request.send().await.unwrap();
    let header = response.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
    // A success has it in its trailers, which this client does not show.
    header.unwrap_or_else(|| format!("HTTP {}", response.status().as_u16()))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_grpc_only_health_is_open_and_no_inner_service_is_there() {
    let stack = stack(&[]).await;
    let client = stack.client();
    let root = token("acme", "root", &ALL, &[]);
    let inner = inner_methods();
    assert!(inner.len() > 30, "{inner:?}");
    for method in &inner {
        for token in [None, Some(root.as_str())] {
            assert_eq!(grpc_status(&client, method, token).await, "12", "{method}: not served");
        }
    }
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for (path, token, status) in [
        ("/grpc.health.v1.Health/Check", None, "HTTP 200"),
        (reflection, None, "16"),
        (reflection, Some(crate::world::token("acme", "ada", &[Scope::Ingest], &[])), "7"),
        (reflection, Some(root), "HTTP 200"),
        ("/ragstone.v1.RagService/Nothing", None, "12"),
    ] {
        assert_eq!(grpc_status(&client, path, token.as_deref()).await, status, "{path}");
    }
    stack.stop().await.unwrap();
}
