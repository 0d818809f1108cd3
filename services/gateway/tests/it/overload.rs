//! Many callers at once, and more than that.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::backends::Step;
use crate::stack::{Stack, json, problem, telemetry};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_get_their_own_answers() {
    let stack = Stack::start().await;
    let calls = (0..200).map(|n| {
        let stack = &stack;
        async move {
            if n % 2 == 0 {
                let answer = json(stack.post("/v1/query", &json!({"query": format!("question {n}")})).await, 200).await;
                answer["query_id"].as_str().unwrap().to_owned()
            } else {
                let body = format!("document {n} ").repeat(1000);
                let stored = json(stack.put(&format!("d{n}"), "text/plain", body.clone()).await, 202).await;
                assert_eq!(stack.catalog.stored(&format!("d{n}")).body, body.as_bytes());
                stored["job_id"].as_str().unwrap().to_owned()
            }
        }
    });
    let mut ids = join_all(calls).await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

#[tokio::test]
async fn beyond_its_limit_the_gateway_sheds_and_recovers() {
    let stack = Stack::with(|config| config.max_concurrency = 1).await;
    stack.backends.set(&stack.backends.script, vec![Step::Hang]);
    let body = json!({"query": "a", "stream": true});
    // The first caller's stream is open and holds the only slot.
    let open = stack.post("/v1/query", &body).await;
    assert_eq!(open.status(), 200);
    problem(stack.get("/v1/documents").await, 503, "unavailable").await;
    let refused = stack.grpc().get_job(ragstone_proto::v1::GetJobRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert!(telemetry().metrics().render().contains("rag_shed_total{reason=\"concurrency\"}"));
    drop(open);
    stack.backends.cancelled.notified().await;
    // The slot comes back with the end of the response's body, which the server notices about then.
    while stack.get("/v1/documents").await.status() != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_slow_uploader_does_not_hold_its_place_for_ever() {
    let stack = Stack::with(|config| config.upload_timeout_ms = 100).await;
    let endless = reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    problem(stack.put("slow", "text/plain", endless).await, 503, "deadline_exceeded").await;
    let request = stack.request(Method::GET, "/v1/documents/slow").send().await.unwrap();
    problem(request, 404, "not_found").await;
}
