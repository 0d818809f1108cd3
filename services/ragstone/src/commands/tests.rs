//! Commands against a gateway of the test's own: what they send, print, and end with.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Multipart, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::failure::Exit;
use crate::fake::{exit, nobody, problem, ragstone, serve, until};

/// A gateway that takes documents, and is busy for the first `busy` uploads.
#[derive(Default)]
struct Gateway {
    busy: usize,
    uploads: AtomicUsize,
    documents: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    deleted: Mutex<Vec<String>>,
    /// Told of every document stored and deleted.
    changed: Notify,
}

async fn store(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, mut form: Multipart) -> Response {
    let mut parts = BTreeMap::new();
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.name().unwrap().to_owned();
        if let Some(media_type) = field.content_type() {
            parts.insert("type".to_owned(), media_type.to_owned());
        }
        parts.insert(name, field.text().await.unwrap());
    }
    if gateway.uploads.fetch_add(1, Ordering::SeqCst) < gateway.busy {
        return problem(429, "rate_limited", "later");
    }
    if parts["file"] == "unusable" {
        return problem(422, "unprocessable", "this cannot be read");
    }
    let unchanged = gateway.documents.lock().unwrap().insert(id.clone(), parts.clone()) == Some(parts);
    gateway.changed.notify_one();
    let job = format!("job-of-{id}");
    let answer = json!({"document_id": id, "version": 1, "job_id": job, "status": "queued", "unchanged": unchanged});
    (axum::http::StatusCode::ACCEPTED, Json(answer)).into_response()
}

/// Jobs run for one event, then end; those of documents named `dead…` never succeed.
async fn events(Path(id): Path<String>) -> Response {
    let document = id.strip_prefix("job-of-").unwrap();
    let (last, error) =
        if document.contains("dead") { ("dead", json!("no words in it")) } else { ("done", json!(null)) };
    let event = |status: &str, error: &Value| {
        let job = json!({"job_id": id, "document_id": document, "version": 1, "status": status, "error": error});
        format!("event: job\ndata: {job}\n\n")
    };
    let body = format!(": hello\n\n{}{}", event("running", &json!(null)), event(last, &error));
    ([("content-type", "text/event-stream")], body).into_response()
}

async fn delete(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Json<Value> {
    gateway.deleted.lock().unwrap().push(id.clone());
    gateway.changed.notify_one();
    Json(json!({"document_id": id, "version": 2, "job_id": "j", "status": "queued"}))
}

fn router(gateway: &Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/documents/{id}", put(store).delete(delete))
        .route("/v1/jobs/{id}/events", get(events))
        .with_state(Arc::clone(gateway))
}

fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for (file, content) in files {
        let path = folder.path().join("docs").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let path = folder.path().join("docs").display().to_string();
    (folder, path)
}

#[tokio::test]
async fn a_busy_server_gets_every_document_in_the_end() {
    let gateway = Arc::new(Gateway { busy: 3, ..Gateway::default() });
    let server = serve(router(&gateway)).await;
    let (_folder, path) = folder(&[("a.md", "# A"), ("sub/b c.txt", "B"), ("x.png", ""), ("y.png", "")]);
    let line = ["ingest", &path, "--metadata", "year=2020", "--metadata", "lang=de", "--group", "staff"];
    let (written, end) = ragstone(server, &line).await;
    assert_eq!(exit(&end), Exit::Done);
    assert_eq!(written, "2 accepted, 0 unchanged, 0 failed, 2 skipped (2 .png)\n");
    assert_eq!(gateway.uploads.load(Ordering::SeqCst), 5);
    let documents = gateway.documents.lock().unwrap().clone();
    assert_eq!(documents.keys().collect::<Vec<_>>(), ["docs/a.md", "docs/sub/b c.txt"]);
    let a = &documents["docs/a.md"];
    assert_eq!((a["file"].as_str(), a["type"].as_str()), ("# A", "text/markdown"));
    assert_eq!(serde_json::from_str::<Value>(&a["metadata"]).unwrap(), json!({"year": 2020, "lang": "de"}));
    assert_eq!(a["groups"], r#"["staff"]"#);

    let (again, end) = ragstone(server, &[line.as_slice(), &["--json"]].concat()).await;
    assert_eq!(exit(&end), Exit::Done);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again, json!({"accepted": [], "unchanged": 2, "failed": [], "skipped": {".png": 2}}));
}

#[tokio::test]
async fn a_server_that_stays_busy_is_given_up() {
    let gateway = Arc::new(Gateway { busy: usize::MAX, ..Gateway::default() });
    let server = serve(router(&gateway)).await;
    let (_folder, path) = folder(&[("a.md", "# A")]);
    let (written, end) = ragstone(server, &["ingest", &path]).await;
    assert_eq!(exit(&end), Exit::Failed);
    assert_eq!(written, "0 accepted, 0 unchanged, 1 failed\n");
    assert_eq!(gateway.uploads.load(Ordering::SeqCst), 9, "one try and eight more");
}

#[tokio::test]
async fn waiting_names_the_document_that_failed() {
    let gateway = Arc::new(Gateway::default());
    let server = serve(router(&gateway)).await;
    let (_folder, path) = folder(&[("a.md", "# A"), ("dead.md", "-")]);
    let (written, end) = ragstone(server, &["ingest", &path, "--wait"]).await;
    assert_eq!(written, "1 done, 0 unchanged, 1 failed\n");
    assert_eq!(end.unwrap_err().message, "docs/dead.md was not ingested");
    // Sent again it is unchanged, and as dead as before.
    let (written, end) = ragstone(server, &["ingest", &path, "--wait", "--json"]).await;
    assert_eq!(exit(&end), Exit::Failed);
    let report: Value = serde_json::from_str(&written).unwrap();
    let failed = json!([{"document": "docs/dead.md", "reason": "job job-of-docs/dead.md is dead: no words in it"}]);
    assert_eq!((&report["failed"], &report["unchanged"]), (&failed, &json!(1)));
}

#[tokio::test]
async fn one_bad_document_does_not_stop_the_others() {
    let gateway = Arc::new(Gateway::default());
    let server = serve(router(&gateway)).await;
    let (_folder, path) = folder(&[("a.md", "unusable"), ("b.md", "B")]);
    let (written, end) = ragstone(server, &["ingest", &path]).await;
    assert_eq!(written, "1 accepted, 0 unchanged, 1 failed\n");
    assert_eq!(end.unwrap_err().message, "docs/a.md was not ingested");
}

#[tokio::test]
async fn two_files_that_would_be_one_document_are_refused() {
    let gateway = Arc::new(Gateway::default());
    let server = serve(router(&gateway)).await;
    let ((_one, one), (_two, two)) = (folder(&[("a.md", "1")]), folder(&[("a.md", "2")]));
    assert_eq!(exit(&ragstone(server, &["ingest", &one, &two]).await.1), Exit::Usage);
    assert_eq!(exit(&ragstone(server, &["ingest", &one, &one]).await.1), Exit::Done);
    assert_eq!(exit(&ragstone(server, &["ingest", &one, "--id", "x"]).await.1), Exit::Usage);
    let (file, end) = (format!("{one}/a.md"), Exit::Done);
    assert_eq!(exit(&ragstone(server, &["ingest", &file, "--id", "x/y"]).await.1), end);
    assert!(gateway.documents.lock().unwrap().contains_key("x/y"));
}

#[tokio::test]
async fn exit_codes_tell_what_is_wrong() {
    let answer = |status, code| move || async move { problem(status, code, "because") };
    let server = serve(
        Router::new()
            .route("/v1/documents/401", get(answer(401, "unauthenticated")))
            .route("/v1/documents/403", get(answer(403, "permission_denied")))
            .route("/v1/documents/404", get(answer(404, "not_found")))
            .route("/v1/documents/html", get(|| async { "<html>" })),
    )
    .await;
    for (id, expected) in
        [("401", Exit::Refused), ("403", Exit::Refused), ("404", Exit::Failed), ("html", Exit::Failed)]
    {
        let (written, end) = ragstone(server, &["documents", "get", id]).await;
        assert_eq!((exit(&end), written.as_str()), (expected, ""), "{id}");
    }
    let (_folder, path) = folder(&[("a.md", "A")]);
    for line in [&["documents", "list"][..], &["ask", "x"], &["search", "x"], &["jobs", "dead"], &["ingest", &path]] {
        assert_eq!(exit(&ragstone(nobody().await, line).await.1), Exit::Unreachable, "{line:?}");
    }
    let codes = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Unreachable, Exit::Refused, Exit::Configuration];
    assert_eq!(codes.map(Exit::code), [0, 1, 2, 69, 77, 78]);
}

const ANSWER: &str = r#"{"answer": "It is 7 [1].", "degraded": [], "sources_complete": true, "citations":
    [{"marker": 1, "document_id": "docs/a.md", "chunk_index": 2, "quote": "7\nindeed", "score": 0.5}]}"#;

async fn query(Json(body): Json<Value>) -> Response {
    if body["query"] == "broken" {
        let stream = "event: delta\ndata: {\"text\":\"It\"}\n\nevent: error\ndata: {\"detail\":\"no more\"}\n\n";
        return ([("content-type", "text/event-stream")], stream).into_response();
    }
    if body["query"] == "cut" {
        let stream = "event: delta\ndata: {\"text\":\"It\"}\n\n";
        return ([("content-type", "text/event-stream")], stream).into_response();
    }
    assert_eq!(body["filter"], json!({"must": [{"key": "metadata.lang", "match": "de"}]}));
    if body["stream"] != true {
        return ([("content-type", "application/json")], ANSWER).into_response();
    }
    let done = ANSWER.replace('\n', " ");
    let stream = format!(
        "event: contexts\ndata: []\n\n: beat\n\nevent: delta\ndata: {{\"text\":\"It is \"}}\n\n\
         event: delta\ndata: {{\"text\":\"7 [1].\"}}\n\nevent: done\ndata: {done}\n\n"
    );
    ([("content-type", "text/event-stream")], stream).into_response()
}

#[tokio::test]
async fn an_answer_is_shown_with_its_sources() {
    let server = serve(Router::new().route("/v1/query", post(query))).await;
    let expected = "It is 7 [1].\n\nSources:\n[1] docs/a.md (chunk 2): \"7 indeed\"\n";
    for extra in [&[][..], &["--no-stream"]] {
        let line = [&["ask", "what?", "--filter", "lang=de"], extra].concat();
        let (written, end) = ragstone(server, &line).await;
        assert_eq!((exit(&end), written.as_str()), (Exit::Done, expected));
    }
    let (written, _) = ragstone(server, &["ask", "what?", "--filter", "lang=de", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), serde_json::from_str::<Value>(ANSWER).unwrap());
}

#[tokio::test]
async fn an_answer_that_ends_badly_is_an_error() {
    let server = serve(Router::new().route("/v1/query", post(query))).await;
    let (written, end) = ragstone(server, &["ask", "broken"]).await;
    assert_eq!((written.as_str(), end.unwrap_err().message.as_str()), ("It\n", "no more"));
    assert_eq!(exit(&ragstone(server, &["ask", "cut"]).await.1), Exit::Unreachable);
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    async fn page(Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
        let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
        let to = (from + query["limit"].parse::<usize>().unwrap()).min(250);
        assert_eq!(query["status"], "dead");
        let job = |n: usize| json!({"job_id": n.to_string(), "document_id": "d", "version": 1, "status": "dead"});
        let next = (to < 250).then(|| to.to_string());
        Json(json!({"items": (from..to).map(job).collect::<Vec<_>>(), "next_cursor": next}))
    }
    let server = serve(Router::new().route("/v1/jobs", get(page))).await;
    for (limit, count) in [("1000", 250), ("150", 150), ("7", 7)] {
        let (written, _) = ragstone(server, &["jobs", "dead", "--limit", limit, "--json"]).await;
        let answer: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(answer["items"].as_array().unwrap().len(), count);
        assert_eq!(answer["next_cursor"].is_null(), count == 250);
    }
}

#[tokio::test]
async fn deleting_names_each_job() {
    let gateway = Arc::new(Gateway::default());
    let server = serve(router(&gateway)).await;
    let (written, end) = ragstone(server, &["documents", "delete", "a/b", "c"]).await;
    assert_eq!((exit(&end), written.as_str()), (Exit::Done, "deleting a/b (job j)\ndeleting c (job j)\n"));
    assert_eq!(*gateway.deleted.lock().unwrap(), ["a/b", "c"]);
}

#[tokio::test]
async fn an_evaluation_counts_what_the_server_answers_and_cleans_up() {
    let gateway = Arc::new(Gateway::default());
    let hit = |id| json!({"document_id": id, "chunk_index": 0, "score": 1.0, "content": "x"});
    let found = json!({"hits": [hit("eval/s/0"), hit("eval/s/0"), hit("eval/s/1")]});
    let citation = json!({"marker": 1, "document_id": "eval/s/0", "chunk_index": 0, "quote": "x"});
    let answered = json!({"answer": "It is one [1].", "citations": [citation], "degraded": ["llm.fallback"]});
    let search = post(|Json(body): Json<Value>| async move {
        assert_eq!(body["filter"], json!({"must": [{"key": "metadata.eval", "match": "s"}]}));
        Json(found)
    });
    let router = router(&gateway).route("/v1/search", search).route("/v1/query", post(|| async { Json(answered) }));
    let server = serve(router).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.json").display().to_string();
    let qa = |question, answer| json!({"question": question, "answers": [{"text": answer}]});
    let set = json!({"data": [{"title": "T", "paragraphs": [
        {"context": "One.", "qas": [qa("a?", "One")]}, {"context": "Two.", "qas": [qa("b?", "Two"), qa("c?", "one")]}]}]});
    std::fs::write(&path, set.to_string()).unwrap();

    let (written, end) = ragstone(server, &["eval", &path, "--modes", "dense,keyword", "--json"]).await;
    assert_eq!(exit(&end), Exit::Done);
    let measured: Value = serde_json::from_str(&written).unwrap();
    assert_eq!((&measured["documents"], &measured["questions"]), (&json!(2), &json!(3)));
    let ndcg = measured["retrieval"]["dense"]["ndcg_at_k"].as_f64().unwrap();
    assert!((ndcg - (1.0 + 2.0 / 3_f64.log2()) / 3.0).abs() < 1e-9, "{ndcg}");
    assert_eq!(measured["retrieval"]["keyword"]["recall_at_5"], 1.0);
    let third = 1.0 / 3.0;
    assert_eq!(
        measured["answers"],
        json!({"contains_gold": 2.0 * third, "cited": 1.0, "citation_precision": third, "degraded": {"llm.fallback": 3}})
    );
    let mut deleted = gateway.deleted.lock().unwrap().clone();
    deleted.sort();
    assert_eq!(deleted, ["eval/s/0", "eval/s/1"]);

    let (table, _) = ragstone(server, &["eval", &path, "--keep"]).await;
    assert!(table.starts_with("s: 2 documents, 3 questions\n\nmode    nDCG@10"), "{table}");
    assert_eq!(gateway.deleted.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn ctrl_c_ends_an_ingest_with_a_summary() {
    let interrupt = CancellationToken::new();
    let pressed = interrupt.clone();
    let never = put(move || async move {
        pressed.cancel();
        std::future::pending::<()>().await;
    });
    let server = serve(Router::new().route("/v1/documents/{id}", never)).await;
    let (_folder, path) = folder(&[("a.md", "A"), ("b.md", "B")]);
    let (written, end) = until(interrupt, server, &["ingest", &path]).await;
    assert_eq!((exit(&end), written.as_str()), (Exit::Interrupted, "0 accepted, 0 unchanged, 0 failed\n"));
    assert_eq!(end.unwrap_err().message, "interrupted after 0 of 2 documents");
}

#[tokio::test]
async fn watching_follows_changes_until_ctrl_c() {
    let gateway = Arc::new(Gateway::default());
    let server = serve(router(&gateway)).await;
    let (folder, path) = folder(&[("a.md", "1"), ("b.md", "B")]);
    let interrupt = CancellationToken::new();
    let has = |id: &str, content: &str| {
        gateway.documents.lock().unwrap().get(id).is_some_and(|document| document["file"] == content)
    };
    let user = async {
        while !(has("docs/a.md", "1") && has("docs/b.md", "B")) {
            gateway.changed.notified().await;
        }
        std::fs::write(folder.path().join("docs/a.md"), "2").unwrap();
        std::fs::create_dir(folder.path().join("docs/new")).unwrap();
        std::fs::write(folder.path().join("docs/new/c.md"), "C").unwrap();
        std::fs::write(folder.path().join("docs/.a.md.swp"), "editor's own").unwrap();
        std::fs::remove_file(folder.path().join("docs/b.md")).unwrap();
        while !(has("docs/a.md", "2") && has("docs/new/c.md", "C") && !gateway.deleted.lock().unwrap().is_empty()) {
            gateway.changed.notified().await;
        }
        interrupt.cancel();
    };
    let line = ["ingest", &path, "--watch"];
    let both = async { tokio::join!(until(interrupt.clone(), server, &line), user) };
    let ((written, end), ()) = tokio::time::timeout(std::time::Duration::from_secs(30), both).await.unwrap();
    assert_eq!(exit(&end), Exit::Interrupted);
    assert!(written.starts_with("2 accepted, 0 unchanged, 0 failed\n"), "{written}");
    assert_eq!(*gateway.deleted.lock().unwrap(), ["docs/b.md"]);
    assert_eq!(gateway.documents.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_watched_folder_that_vanishes_keeps_its_documents() {
    let gateway = Arc::new(Gateway::default());
    let server = serve(router(&gateway)).await;
    let (folder, path) = folder(&[("a.md", "1")]);
    let user = async {
        gateway.changed.notified().await;
        std::fs::rename(folder.path().join("docs"), folder.path().join("elsewhere")).unwrap();
    };
    let line = ["ingest", &path, "--watch"];
    let both = async { tokio::join!(ragstone(server, &line), user) };
    let ((_, end), ()) = tokio::time::timeout(std::time::Duration::from_secs(30), both).await.unwrap();
    assert_eq!(exit(&end), Exit::Failed);
    assert!(gateway.deleted.lock().unwrap().is_empty());
}
