//! Rate limits of three gateways with one Redis: together they let in what the limit says, and without Redis each its share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use ragstone_core::Scope;
use ragstone_proto::v1;
use ragstone_testkit::client::Client;
use ragstone_testkit::redis::{RedisOptions, RedisServer};
use ragstone_testkit::stack::{Form, Stack};
use serde_json::{Value, json};

use crate::world::{channel, grpc, say, token};

/// Queries an hour: one comes back every 6 seconds.
const LIMIT: usize = 600;
const GATEWAYS: [&str; 3] = ["gateway", "gateway-2", "gateway-3"];
/// Requests to each gateway, and how many of them at once.
const TRIES: usize = 300;
const AT_ONCE: usize = 8;

async fn start(redis: &RedisServer) -> Stack {
    let mut stack = Stack::prepare(Form::FiveProcesses).unwrap();
    stack.require_authentication();
    for (key, value) in [
        ("QUERIES_PER_HOUR", LIMIT.to_string()),
        ("REPLICAS", "3".to_owned()),
        ("REDIS__URL", format!("redis://127.0.0.1:{}", redis.port)),
        // A busy machine is no fault.
        ("REDIS__COMMAND_TIMEOUT_MS", "5000".to_owned()),
    ] {
        stack.env(&format!("RAGSTONE__GATEWAY__LIMITS__{key}"), &value);
    }
    stack.run().await.unwrap();
    for name in &GATEWAYS[1..] {
        stack.replica("gateway", name).await.unwrap();
    }
    stack
}

fn at(stack: &Stack, gateway: &str, subject: &str) -> Client {
    Client::new(&stack.service_url(gateway)).with_token(&token("acme", subject, &[Scope::Query], &[])).unwrap()
}

async fn search(client: &Client) -> reqwest::Response {
    let body = json!({ "query": "lantern", "mode": "keyword" });
    client.http().post(client.url("/v1/search")).json(&body).send().await.unwrap()
}

/// Asks one gateway many times; how often it was let in, and what a refusal looks like.
async fn hammer(client: Client, local: bool) -> usize {
    let (admitted, client) = (AtomicUsize::new(0), &client);
    let tries = futures::stream::iter(0..TRIES).map(|_| async {
        let response = search(client).await;
        let headers = response.headers().clone();
        assert_eq!(headers["ratelimit-policy"], format!("\"queries\";q={LIMIT};w=3600"), "{response:?}");
        assert!(headers["ratelimit"].to_str().unwrap().starts_with("\"queries\";r="), "{response:?}");
        match response.status().as_u16() {
            200 => {
                admitted.fetch_add(1, Ordering::Relaxed);
                let body: Value = response.json().await.unwrap();
                assert_eq!(body["degraded"], if local { json!(["ratelimit.local"]) } else { json!([]) }, "{body}");
            }
            429 => {
                let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=18).contains(&wait), "{wait}");
                assert_eq!(response.headers()["content-type"], "application/problem+json");
            }
            other => panic!("{other}: {}", response.text().await.unwrap()),
        }
    });
    tries.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    admitted.into_inner()
}

/// What `time` gives back of a limit.
fn come_back(limit: usize, time: Duration) -> usize {
    usize::try_from(time.as_millis()).unwrap() * limit / 3_600_000
}

async fn refused_over_grpc(stack: &Stack) {
    let channel = channel(&stack.service_url("gateway-2")).await;
    let mut ada = grpc(&channel, &token("acme", "ada", &[Scope::Query], &[]));
    let request = v1::SearchRequest { query: "lantern".to_owned(), ..v1::SearchRequest::default() };
    let refused = ada.search(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    for header in ["ratelimit", "ratelimit-policy"] {
        assert!(refused.metadata().contains_key(header), "{header}: {refused:?}");
    }
    assert!(String::from_utf8_lossy(refused.details()).contains("google.rpc.RetryInfo"), "{refused:?}");
    let mut bob = grpc(&channel, &token("acme", "bob", &[Scope::Query], &[]));
    let answer = bob.search(request).await.unwrap();
    assert!(answer.metadata().contains_key("ratelimit"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_let_in_exactly_the_limit_together() {
    let mut redis = RedisServer::start(RedisOptions::default()).await.unwrap();
    let stack = start(&redis).await;
    let begun = Instant::now();
    let all = GATEWAYS.map(|gateway| hammer(at(&stack, gateway, "ada"), false));
    let each = futures::future::join_all(all).await;
    let (admitted, back) = (each.iter().sum::<usize>(), come_back(LIMIT, begun.elapsed()));
    say(&format!("limits: {admitted} of {} let in ({each:?}), the limit is {LIMIT} and {back} came back", TRIES * 3));
    let most = LIMIT + back + 1;
    assert!((LIMIT..=most).contains(&admitted), "{admitted} is not within {LIMIT} and {most}");
    assert!(back <= LIMIT / 100 + 6, "too slow to say anything: {back} came back");
    refused_over_grpc(&stack).await;
    // OpenAI's clients get their own form of it.
    let chat = json!({ "model": "ragstone", "messages": [{ "role": "user", "content": "x" }] });
    let ada = at(&stack, "gateway-3", "ada");
    let refused = ada.post("/v1/chat/completions", &chat).await.unwrap().expect_status(429).unwrap();
    assert_eq!(refused["error"]["code"], "rate_limit_exceeded");

    redis.kill().await.unwrap();
    let begun = Instant::now();
    let admitted = hammer(at(&stack, "gateway-2", "carol"), true).await;
    let (share, back) = (LIMIT / 3, come_back(LIMIT / 3, begun.elapsed()));
    say(&format!(
        "limits: without Redis one of 3 gateways let {admitted} in, its share is {share} and {back} came back"
    ));
    assert!((share..=share + back + 1).contains(&admitted), "{admitted} is not the share {share}");
    let answer = at(&stack, "gateway-3", "dan").post("/v1/query", &json!({ "query": "Where is the lantern?" })).await;
    let degraded = answer.unwrap().expect_status(200).unwrap()["degraded"].clone();
    assert!(degraded.as_array().unwrap().contains(&json!("ratelimit.local")), "{degraded}");
}
