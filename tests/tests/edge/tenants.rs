//! Two tenants on one gateway: each tries every id of the other on every route and every gRPC method, and finds nothing, changes
//! nothing.

use ragstone_proto::v1;
use ragstone_testkit::client::Client;
use ragstone_testkit::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::routes::{ROUTES, Route};
use crate::scopes::methods;
use crate::world::{ALL, Grpc, api_key, channel, client, found, grpc, ingest, mcp, say, segment, stack, token};

/// A tenant with something of everything.
struct Tenant {
    client: Client,
    grpc: Grpc,
    document: String,
    job: String,
    query: String,
    key: Value,
    /// A page's cursor.
    cursor: String,
    /// Words that are in its things and nowhere else.
    marks: [String; 4],
}

/// What somebody else must get who tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It does not exist.
    Absent,
    /// Anything that has nothing of the other tenant's.
    Nothing,
    /// A thing of their own, under the same name.
    Own,
}

impl Tenant {
    async fn new(stack: &Stack, channel: &Channel, name: &str) -> Self {
        let token = token(name, &format!("subject-{name}"), &ALL, &[]);
        let (client, grpc) = (client(stack, &token), grpc(channel, &token));
        let marks = ["text", "title", "field", "subject"].map(|kind| format!("{kind}-{name}"));
        let document = format!("document of {name}");
        let body = json!({
            "text": format!("The lighthouse keeper is called {}.", marks[0]),
            "title": marks[1], "metadata": { "field": marks[2], "kind": "report" },
        });
        let job = ingest(&client, &segment(&document), body).await["job_id"].as_str().unwrap().to_owned();
        ingest(&client, "second", json!({ "text": format!("The lighthouse of {} is red.", marks[0]) })).await;
        let question = json!({ "query": "Who is the lighthouse keeper?" });
        let answer = client.post("/v1/query", &question).await.unwrap().expect_status(200).unwrap();
        assert!(answer["answer"].as_str().unwrap().contains(&marks[0]), "{answer}");
        let query = answer["query_id"].as_str().unwrap().to_owned();
        let key = api_key(&client, &json!({ "subject": marks[3], "scopes": ["query"] })).await;
        let page = client.get("/v1/documents?limit=1").await.unwrap().expect_status(200).unwrap();
        let cursor = page["next_cursor"].as_str().unwrap().to_owned();
        Self { client, grpc, document, job, query, key, cursor, marks }
    }

    /// Everything of it that somebody else could have changed.
    async fn state(&self, stack: &Stack) -> Value {
        let id = segment(&self.document);
        let mut state = json!({});
        for path in [
            "/v1/documents".to_owned(),
            format!("/v1/documents/{id}"),
            format!("/v1/documents/{id}/text"),
            format!("/v1/documents/{id}/history"),
            "/v1/jobs".to_owned(),
            "/v1/admin/keys".to_owned(),
        ] {
            state[&path] = self.client.get(&path).await.unwrap().expect_status(200).unwrap();
        }
        // Which of its words the answers are found by, and that its key works, belong to it as well.
        let key = client(stack, self.key["key"].as_str().unwrap());
        state["found"] = json!(found(&key, &json!({ "query": "lighthouse", "mode": "keyword" })).await);
        state["audit"] = self.audit().await;
        state
    }

    /// Its log, once its answers have arrived there and nothing more comes.
    async fn audit(&self) -> Value {
        let mut before = Value::Null;
        for _ in 0..50 {
            let log = self.client.get("/v1/admin/audit").await.unwrap().expect_status(200).unwrap();
            if log == before && log.to_string().contains(&self.query) {
                return log;
            }
            before = log;
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        }
        panic!("the log does not settle: {before}");
    }

    fn is_in(&self, said: &str) -> bool {
        self.marks.iter().any(|mark| said.contains(mark))
    }
}

/// Path, body and expectation of every way to try a route on what belongs to `victim`.
fn attempts(route: &Route, victim: &Tenant) -> Vec<(String, Value, Expected)> {
    use Expected::{Absent, Nothing, Own};
    let (document, job) = (segment(&victim.document), victim.job.as_str());
    let with = |id: &str| route.path.replace("{id}", id).replace("{name}", id);
    let only = json!({ "must": [{ "key": "document_id", "match": victim.document }] });
    let question = "Who is the lighthouse keeper?";
    let chat = json!([{ "role": "user", "content": question }]);
    let own = json!({ "text": "Nothing to see here.", "id": victim.document });
    match (route.method, route.path) {
        ("GET", "/v1/documents") => vec![
            (with(""), Value::Null, Nothing),
            (format!("{}?cursor={}", route.path, segment(&victim.cursor)), Value::Null, Nothing),
        ],
        ("POST", "/v1/documents") => vec![(with(""), own, Own)],
        ("PUT", "/v1/documents/{id}") => vec![(with(&document), own, Own)],
        (_, path) if path.starts_with("/v1/documents/{id}") => vec![(with(&document), Value::Null, Absent)],
        ("GET", "/v1/jobs") => vec![(with(""), Value::Null, Nothing)],
        (_, path) if path.starts_with("/v1/jobs/{id}") => vec![(with(job), Value::Null, Absent)],
        ("POST", "/v1/search") => vec![
            (with(""), json!({ "query": question, "filter": only }), Nothing),
            (with(""), json!({ "query": victim.marks.join(" "), "mode": "keyword", "k": 100 }), Nothing),
            (with(""), json!({ "query": question, "mode": "dense", "k": 100 }), Nothing),
        ],
        ("POST", "/v1/query") => vec![
            (with(""), json!({ "query": question, "filter": only }), Nothing),
            (with(""), json!({ "query": question, "k": 100, "stream": true }), Nothing),
        ],
        ("POST", "/v1/feedback") => vec![(with(""), json!({ "query_id": victim.query, "rating": "down" }), Absent)],
        ("POST", "/v1/chat/completions") => vec![
            (with(""), json!({ "model": "ragstone", "messages": chat, "ragstone": { "filter": only } }), Nothing),
            (with(""), json!({ "model": "ragstone", "messages": chat, "stream": true }), Nothing),
        ],
        ("POST", "/v1/responses") => vec![(with(""), json!({ "model": "ragstone", "input": question }), Nothing)],
        ("POST", "/v1/embeddings") => vec![(with(""), json!({ "model": "ragstone", "input": question }), Nothing)],
        ("GET", "/v1/models") => vec![(with(""), Value::Null, Nothing)],
        ("GET", "/v1/models/{id}") => vec![(with(&document), Value::Null, Absent)],
        ("POST", "/v1/vector_stores/{id}/search") => vec![
            (with(&document), json!({ "query": question }), Absent),
            (with("ragstone"), json!({ "query": question, "max_num_results": 50 }), Nothing),
        ],
        ("DELETE", "/v1/admin/keys/{id}") => vec![(with(victim.key["id"].as_str().unwrap()), Value::Null, Absent)],
        ("POST", "/v1/admin/keys") => vec![
            (with(""), json!({ "subject": "x", "scopes": ["admin"], "tenant": "alpha" }), Nothing),
            (with(""), json!({ "subject": "x", "scopes": ["query"], "all_groups": true }), Nothing),
        ],
        // Indexes and shards belong to the installation; names that are none change nothing there.
        ("POST", "/v1/admin/indexes") => vec![(with(""), json!({ "model": "none" }), Nothing)],
        ("PUT", "/v1/admin/shards") => vec![(with(""), json!({ "shards": [] }), Nothing)],
        (_, path) if path.starts_with("/v1/admin/") => vec![(with("none"), Value::Null, Nothing)],
        ("POST", "/mcp") => Vec::new(), // It has many calls of its own: `try_mcp`.
        ("GET", "/" | "/assets/{name}" | "/openapi.json" | "/docs" | "/docs/{name}" | "/v1/status") => {
            vec![(with(&document), Value::Null, Nothing)]
        }
        (method, path) => panic!("{method} {path} is new: how could another tenant's things be tried there?"),
    }
}

async fn try_routes(thief: &Tenant, victim: &Tenant) -> usize {
    let all = ROUTES.iter().flat_map(|route| attempts(route, victim).into_iter().map(move |attempt| (route, attempt)));
    // Writing a document of one's own comes last: afterwards its name is no foreign one any more.
    let (own, foreign): (Vec<_>, Vec<_>) = all.partition(|(_, (_, _, expected))| *expected == Expected::Own);
    let mut count = 0;
    for (route, (path, body, expected)) in foreign.into_iter().chain(own) {
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        let request = thief.client.http().request(method, thief.client.url(&path));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let said = response.text().await.unwrap();
        let what = format!("{} {path} {body}: {status} {said}", route.method);
        assert!(!victim.is_in(&said), "{what}");
        assert!(status < 500, "{what}");
        match expected {
            Expected::Absent => assert_eq!(status, 404, "{what}"),
            Expected::Nothing => {}
            Expected::Own => {
                assert_eq!(status, 202, "{what}");
                let accepted: Value = serde_json::from_str(&said).unwrap();
                thief.client.finished_job(accepted["job_id"].as_str().unwrap()).await.unwrap();
            }
        }
        count += 1;
    }
    let mine = thief.client.get(&format!("/v1/documents/{}/history", segment(&victim.document))).await.unwrap();
    assert_eq!(mine.body["items"].as_array().unwrap().len(), 1, "{mine:?}");
    count
}

async fn try_mcp(thief: &Tenant, victim: &Tenant) -> usize {
    let uri = format!("ragstone://documents/{}", segment(&victim.document));
    let filter = json!({ "must": [{ "key": "document_id", "match": victim.document }] });
    let question = "Who is the lighthouse keeper?";
    let calls = [
        ("resources/list", json!({})),
        ("resources/list", json!({ "cursor": victim.cursor })),
        ("resources/templates/list", json!({})),
        ("tools/list", json!({})),
        ("tools/call", json!({ "name": "search", "arguments": { "query": question, "k": 100 } })),
        ("tools/call", json!({ "name": "search", "arguments": { "query": question, "filter": filter } })),
        ("tools/call", json!({ "name": "ask", "arguments": { "question": question, "k": 100 } })),
        ("tools/call", json!({ "name": "ask", "arguments": { "question": question, "filter": filter } })),
        ("resources/read", json!({ "uri": uri })),
    ];
    for (method, params) in &calls {
        let answer = mcp(&thief.client, method, params.clone()).await;
        let said = answer.body.to_string();
        assert!(answer.status == 200 && !victim.is_in(&said), "{method} {params}: {said}");
        let absent = answer.body["error"]["data"]["code"] == "not_found";
        assert_eq!(absent, *method == "resources/read", "{method} {params}: {said}");
    }
    calls.len()
}

/// Tries one method; what it says as a text.
async fn try_method(thief: &mut Grpc, victim: &Tenant, method: &str) -> Result<String, Status> {
    let document_id = victim.document.clone();
    let job_id = victim.job.clone();
    let query = v1::QueryRequest { query: "Who is the lighthouse keeper?".to_owned(), k: 100, ..Default::default() };
    let said = match method {
        "Query" => format!("{:?}", thief.query(query).await?),
        "QueryStream" => {
            let mut events = thief.query_stream(v1::QueryStreamRequest { query: Some(query) }).await?.into_inner();
            let mut said = String::new();
            while let Some(event) = events.message().await? {
                said.push_str(&format!("{event:?}"));
            }
            said
        }
        "Search" => {
            let search = v1::SearchRequest { query: victim.marks.join(" "), k: 100, ..Default::default() };
            format!("{:?}", thief.search(search).await?)
        }
        "ListDocuments" => {
            let page = v1::ListDocumentsRequest { cursor: victim.cursor.clone(), ..Default::default() };
            let all = thief.list_documents(v1::ListDocumentsRequest::default()).await?;
            format!("{all:?} {:?}", thief.list_documents(page).await?)
        }
        "GetDocument" => format!("{:?}", thief.get_document(v1::GetDocumentRequest { document_id }).await?),
        "DeleteDocument" => {
            let request = v1::DeleteDocumentRequest { document_id, if_version: None };
            format!("{:?}", thief.delete_document(request).await?)
        }
        "GetJob" => format!("{:?}", thief.get_job(v1::GetJobRequest { job_id }).await?),
        "WatchJob" => {
            let mut states = thief.watch_job(v1::WatchJobRequest { job_id }).await?.into_inner();
            format!("{:?}", states.message().await?)
        }
        "Feedback" => {
            let query_id = victim.query.clone();
            let request = v1::FeedbackRequest { query_id, rating: v1::Rating::Down.into(), comment: String::new() };
            format!("{:?}", thief.feedback(request).await?)
        }
        "PutDocument" => {
            let header = v1::DocumentHeader { document_id, media_type: "text/plain".to_owned(), ..Default::default() };
            let parts = [
                v1::put_document_request::Part::Header(v1::DocumentHeader { if_version: Some(1), ..header }),
                v1::put_document_request::Part::Data(b"Overwritten.".to_vec()),
            ];
            let parts = parts.map(|part| v1::PutDocumentRequest { part: Some(part) });
            format!("{:?}", thief.put_document(futures::stream::iter(parts)).await?)
        }
        other => panic!("{other} is new: how could another tenant's things be tried there?"),
    };
    Ok(said)
}

async fn try_grpc(thief: &Tenant, victim: &Tenant) -> usize {
    let methods = methods();
    for method in &methods {
        let outcome = try_method(&mut thief.grpc.clone(), victim, method).await;
        let expected = match method.as_str() {
            "Query" | "QueryStream" | "Search" | "ListDocuments" => Code::Ok,
            // They have no version 1 of it.
            "PutDocument" => Code::Aborted,
            _ => Code::NotFound,
        };
        let code = outcome.as_ref().map_or_else(Status::code, |_| Code::Ok);
        assert!(!victim.is_in(&format!("{outcome:?}")), "{method}: {outcome:?}");
        assert_eq!(code, expected, "{method}: {outcome:?}");
    }
    methods.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_one_tenant_is_not_there_for_another() {
    let stack = stack(&[]).await;
    let channel = channel(&stack.url()).await;
    let alpha = Tenant::new(&stack, &channel, "alpha").await;
    let beta = Tenant::new(&stack, &channel, "beta").await;
    let mut count = 0;
    for (thief, victim) in [(&beta, &alpha), (&alpha, &beta)] {
        let before = victim.state(&stack).await;
        count += try_grpc(thief, victim).await + try_mcp(thief, victim).await;
        assert_eq!(victim.state(&stack).await, before, "gRPC or MCP changed something");
        count += try_routes(thief, victim).await;
        assert_eq!(victim.state(&stack).await, before, "REST changed something");
    }
    say(&format!("tenants: {count} attempts on {} routes and {} gRPC methods", ROUTES.len(), methods().len()));
    stack.stop().await.unwrap();
}
