//! The gRPC edge: the same port, the same answers.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use ragstone_core::ErrorCode;
use ragstone_proto::v1;
use ragstone_proto::v1::put_document_request::Part;
use ragstone_proto::v1::query_stream_response::Event;
use ragstone_rpc::{connect, error_from};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::backends::{Mood, Step, delta, restart};
use crate::stack::{Stack, json};

const QUESTION: &str = "When did the tram open?";

fn question() -> v1::QueryRequest {
    v1::QueryRequest { query: QUESTION.to_owned(), ..v1::QueryRequest::default() }
}

fn code(status: Status) -> ErrorCode {
    error_from(status).code
}

#[tokio::test]
async fn an_answer_is_the_same_as_over_rest() {
    let stack = Stack::start().await;
    let rest = json(stack.post("/v1/query", &json!({ "query": QUESTION })).await, 200).await;
    let response = stack.grpc().query(question()).await.unwrap();
    assert!(response.metadata().contains_key("x-request-id") && response.metadata().contains_key("traceparent"));
    let answer = response.into_inner();
    assert_eq!(answer.answer, rest["answer"]);
    let citations: Vec<_> = answer
        .citations
        .iter()
        .map(|c| {
            json!({"marker": c.marker, "document_id": c.document_id, "chunk_index": c.chunk_index, "quote": c.quote,
            "score": c.score})
        })
        .collect();
    assert_eq!(Value::from(citations), rest["citations"]);
    let contexts: Vec<_> = answer
        .contexts
        .iter()
        .map(|c| {
            json!({"document_id": c.document_id, "version": c.version, "chunk_index": c.chunk_index,
            "title": c.title, "content": c.content, "score": c.score})
        })
        .collect();
    assert_eq!(Value::from(contexts), rest["contexts"]);
    assert_eq!(
        (json!(answer.degraded), json!(answer.sources_complete)),
        (rest["degraded"].clone(), rest["sources_complete"].clone())
    );
    assert_eq!((json!(answer.model), json!(answer.cache)), (rest["model"].clone(), rest["cache"].clone()));
    assert_eq!(answer.usage.unwrap().prompt_tokens, 11);
    assert_eq!(answer.trace_id.len(), 32);
    assert!(answer.timings.unwrap().total > 0.0);

    let found =
        stack.grpc().search(v1::SearchRequest { query: QUESTION.to_owned(), ..Default::default() }).await.unwrap();
    let rest = json(stack.post("/v1/search", &json!({ "query": QUESTION })).await, 200).await;
    let found = found.into_inner();
    assert_eq!(found.hits.len(), rest["hits"].as_array().unwrap().len());
    assert_eq!(found.hits[0].content, rest["hits"][0]["content"]);
    assert_eq!(found.shards.unwrap().asked, 2);
}

#[tokio::test]
async fn a_streamed_answer_has_the_same_steps() {
    let stack = Stack::start().await;
    let request = || v1::QueryStreamRequest { query: Some(question()) };
    let script = vec![delta("wrong "), restart("llm.fallback"), delta("right [1]."), crate::backends::done(&[])];
    stack.backends.set(&stack.backends.script, script);
    let events: Vec<_> = stack.grpc().query_stream(request()).await.unwrap().into_inner().try_collect().await.unwrap();
    let events: Vec<_> = events.into_iter().map(|event| event.event.unwrap()).collect();
    assert!(matches!(&events[0], Event::Contexts(contexts) if contexts.contexts.len() == 2));
    assert!(matches!(&events[1], Event::Delta(delta) if delta.text == "wrong "));
    assert!(matches!(&events[2], Event::Restart(restart) if restart.degraded == "llm.fallback"));
    assert!(matches!(&events[3], Event::Delta(delta) if delta.text == "right [1]."));
    assert!(matches!(&events[4], Event::Done(done) if done.answer == "right [1]." && done.citations.len() == 1));
    assert_eq!(events.len(), 5);

    stack.backends.set(&stack.backends.script, vec![delta("half"), Step::Fail(ErrorCode::Unavailable)]);
    let steps: Vec<_> = stack.grpc().query_stream(request()).await.unwrap().into_inner().collect().await;
    assert_eq!(code(steps.into_iter().last().unwrap().unwrap_err()), ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_the_generation() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.script, vec![delta("early"), Step::Hang]);
    let request = v1::QueryStreamRequest { query: Some(question()) };
    let stream = stack.grpc().query_stream(request).await.unwrap();
    stack.backends.hanging.notified().await;
    drop(stream);
    let cancelled = stack.backends.cancelled.notified();
    tokio::time::timeout(Duration::from_secs(5), cancelled).await.unwrap();
}

#[tokio::test]
async fn errors_carry_their_code() {
    let stack = Stack::start().await;
    let mut client = stack.grpc();
    let bad = |adjust: fn(&mut v1::QueryRequest)| {
        let mut request = question();
        adjust(&mut request);
        request
    };
    for request in [
        bad(|r| r.query.clear()),
        bad(|r| r.query = "x".repeat(1001)),
        bad(|r| r.k = 101),
        bad(|r| r.mode = 77),
        bad(|r| r.max_tokens = 4097),
        bad(|r| r.temperature = Some(-1.0)),
        bad(|r| r.filter = Some(v1::Filter { must: vec![v1::Condition::default()], ..v1::Filter::default() })),
    ] {
        let refused = client.query(request).await.unwrap_err();
        assert_eq!((refused.code(), code(refused)), (Code::InvalidArgument, ErrorCode::InvalidArgument));
    }
    let none = client.query_stream(v1::QueryStreamRequest { query: None }).await.unwrap_err();
    assert_eq!(code(none), ErrorCode::InvalidArgument);
    let unknown = client.get_document(v1::GetDocumentRequest { document_id: "none".to_owned() }).await.unwrap_err();
    assert_eq!(code(unknown), ErrorCode::NotFound);
    stack.backends.set(&stack.backends.retrieval, Mood::Fails(ErrorCode::Internal));
    let hidden = client.query(question()).await.unwrap_err();
    assert!(hidden.code() == Code::Internal && !hidden.message().contains("on purpose"), "{hidden}");
}

#[tokio::test]
async fn the_callers_deadline_holds() {
    let stack = Stack::start().await;
    stack.backends.set(&stack.backends.retrieval, Mood::Hangs);
    let mut request = Request::new(question());
    request.metadata_mut().insert("grpc-timeout", "100m".parse().unwrap());
    let late = stack.grpc().query(request).await.unwrap_err();
    assert_eq!(code(late), ErrorCode::DeadlineExceeded);
}

fn upload(header: v1::DocumentHeader, pieces: &[&[u8]]) -> impl futures::Stream<Item = v1::PutDocumentRequest> + use<> {
    let pieces: Vec<_> = pieces.iter().map(|piece| Part::Data(piece.to_vec())).collect();
    stream::iter(
        [Part::Header(header)].into_iter().chain(pieces).map(|part| v1::PutDocumentRequest { part: Some(part) }),
    )
}

fn header(id: &str) -> v1::DocumentHeader {
    v1::DocumentHeader { document_id: id.to_owned(), media_type: "text/plain".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn documents_and_jobs_over_grpc() {
    let stack = Stack::start().await;
    let mut client = stack.grpc();
    let full = v1::DocumentHeader { title: "T".to_owned(), groups: vec!["g".to_owned()], ..header("d") };
    let stored = client.put_document(upload(full, &[b"one ", b"two"])).await.unwrap().into_inner();
    let job = stored.job.unwrap();
    assert!(!stored.unchanged && job.version == 1);
    let kept = stack.catalog.stored("d");
    assert_eq!((kept.body.as_slice(), kept.header.title.as_str()), (&b"one two"[..], "T"));
    assert_eq!(kept.header.groups, ["g"]);

    let read = client.get_document(v1::GetDocumentRequest { document_id: "d".to_owned() }).await.unwrap();
    assert_eq!(read.into_inner().document.unwrap().title, "T");
    let listed = client.list_documents(v1::ListDocumentsRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().documents.len(), 1);
    let by_id = v1::GetJobRequest { job_id: job.job_id.clone() };
    assert_eq!(client.get_job(by_id).await.unwrap().into_inner().job.unwrap(), job);
    let watched = client.watch_job(v1::WatchJobRequest { job_id: job.job_id }).await.unwrap().into_inner();
    let states: Vec<_> = watched.map(|state| state.unwrap().job.unwrap().status()).collect().await;
    assert_eq!(states, crate::ingestion::STATES);

    let delete = |if_version| v1::DeleteDocumentRequest { document_id: "d".to_owned(), if_version };
    assert_eq!(code(client.delete_document(delete(Some(0))).await.unwrap_err()), ErrorCode::InvalidArgument);
    assert_eq!(code(client.delete_document(delete(Some(9))).await.unwrap_err()), ErrorCode::Conflict);
    assert_eq!(client.delete_document(delete(Some(1))).await.unwrap().into_inner().job.unwrap().version, 2);
}

#[tokio::test]
async fn uploads_keep_to_the_rules_of_rest() {
    let stack = Stack::with(|config| config.max_body_bytes = 1000).await;
    let mut client = stack.grpc();
    let by_content = client.put_document(upload(header(""), &[b"abc"])).await.unwrap().into_inner();
    assert_eq!(by_content.job.unwrap().document_id, "6437b3ac38465133ffb63b75273a8db5");
    let only_new = v1::DocumentHeader { if_version: Some(0), ..header("d") };
    client.put_document(upload(only_new.clone(), &[b"1"])).await.unwrap();
    let picture = v1::DocumentHeader { media_type: "image/png".to_owned(), ..header("p") };
    let big = [0_u8; 1001];
    for (parts, expected) in [
        (upload(only_new, &[b"2"]), ErrorCode::Conflict),
        (upload(picture, &[b"x"]), ErrorCode::UnsupportedMediaType),
        (upload(header(" "), &[b"x"]), ErrorCode::InvalidArgument),
        (upload(header("big"), &[&big]), ErrorCode::TooLarge),
    ] {
        assert_eq!(code(client.put_document(parts).await.unwrap_err()), expected);
    }
    let headless = stream::iter([v1::PutDocumentRequest { part: Some(Part::Data(vec![1])) }]);
    assert_eq!(code(client.put_document(headless).await.unwrap_err()), ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn health_and_reflection_are_on_the_same_port() {
    let stack = Stack::start().await;
    json(stack.post("/v1/search", &json!({"query": "a"})).await, 200).await;
    let mut health = HealthClient::new(connect(&stack.url).unwrap());
    let service = "ragstone.v1.RagService".to_owned();
    let mut states = health.watch(HealthCheckRequest { service }).await.unwrap().into_inner();
    while states.message().await.unwrap().unwrap().status().as_str_name() != "SERVING" {}

    let mut reflection = ServerReflectionClient::new(connect(&stack.url).unwrap());
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(stream::iter([list])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(services) = answer else { panic!("{answer:?}") };
    assert!(services.service.iter().any(|service| service.name == "ragstone.v1.RagService"), "{services:?}");
}

#[tokio::test]
async fn rest_speaks_http2_too() {
    let stack = Stack::start().await;
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let response = http2.get(format!("{}/v1/documents", stack.url)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
}

#[tokio::test]
async fn unknown_methods_are_unimplemented() {
    let stack = Stack::start().await;
    let response = stack
        .request(reqwest::Method::POST, "/ragstone.v1.Nothing/Do")
        .header("content-type", "application/grpc")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["grpc-status"], "12");
}
