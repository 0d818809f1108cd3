//! One provider against a server that behaves and misbehaves: every answer is whole, limited and marked so, or an error.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{all, client, first, pieces, request, text};
use ragstone_core::ports::ChatModel;
use ragstone_core::{ChatEvent, ChatRequest, Degraded, ErrorCode, FinishReason, Usage};
use ragstone_testkit::fake_openai::{Behaviour, FakeOpenAi, delta, finish, usage};
use serde_json::json;

async fn serve(script: impl IntoIterator<Item = Behaviour>) -> (FakeOpenAi, Arc<dyn ChatModel>) {
    let server = FakeOpenAi::start(script).await.unwrap();
    let model = client(&server, "fake", |_| {});
    (server, model)
}

#[tokio::test]
async fn an_answer_streams_with_its_end_and_its_cost() {
    let (server, model) = serve([Behaviour::answer("It is so [1].")]).await;
    let events = all(model.stream(request()).await).await.unwrap();
    assert_eq!(text(&events), "It is so [1].");
    let done = ChatEvent::Done {
        model: "fake-model".into(),
        usage: Usage { prompt_tokens: 10, completion_tokens: 4 },
        finish: FinishReason::Stop,
        degraded: vec![],
    };
    assert_eq!(events.last().unwrap(), &done);
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].headers["authorization"], "Bearer sk-test");
    let expected = json!({
        "model": "fake-model", "temperature": 0.5, "max_tokens": 20, "stream": true,
        "stream_options": {"include_usage": true},
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "Why?"}],
    });
    assert_eq!(seen[0].body, expected);
}

#[tokio::test]
async fn stop_texts_and_seeds_are_passed_on() {
    let (server, model) = serve([Behaviour::answer("fine")]).await;
    let asked = ChatRequest { stop: vec!["\n\n".into(), "END".into()], seed: Some(-7), ..request() };
    all(model.stream(asked).await).await.unwrap();
    let body = server.seen().remove(0).body;
    assert_eq!((&body["stop"], &body["seed"]), (&json!(["\n\n", "END"]), &json!(-7)));
}

#[tokio::test]
async fn what_a_server_does_not_count_is_estimated() {
    let counts = |prompt: u32, written: u32| {
        let counts = json!({"prompt_tokens": prompt, "completion_tokens": written});
        Behaviour::Events(vec![delta("twelve bytes"), finish("stop"), json!({"choices": [], "usage": counts})])
    };
    // "be brief" and "Why?" are twelve bytes too: three tokens each.
    for (behaviour, expected) in [(counts(0, 0), (3, 3)), (counts(7, 0), (7, 3)), (counts(0, 5), (3, 5))] {
        let (_server, model) = serve([behaviour]).await;
        let events = all(model.stream(request()).await).await.unwrap();
        let Some(ChatEvent::Done { usage, .. }) = events.last() else { unreachable!("{events:?}") };
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), expected);
    }
}

#[tokio::test]
async fn zeros_before_the_end_are_no_counts() {
    let zeros = json!({"prompt_tokens": 0, "completion_tokens": 0});
    let early = json!({"choices": [{"index": 0, "delta": {"content": "so"}}], "usage": zeros});
    let (_server, model) = serve([Behaviour::Events(vec![early, finish("stop"), usage(4)])]).await;
    let events = all(model.stream(request()).await).await.unwrap();
    let Some(ChatEvent::Done { usage, .. }) = events.last() else { unreachable!("{events:?}") };
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (10, 4));
}

#[tokio::test]
async fn refusals_say_whether_another_try_may_help() {
    let refuse = |status, retry_after, kind: &str| Behaviour::Refuse { status, retry_after, kind: kind.to_owned() };
    for (behaviour, code, wait) in [
        (refuse(429, Some(7), "rate_limit"), ErrorCode::RateLimited, Some(7)),
        (refuse(429, None, "insufficient_quota"), ErrorCode::Internal, None),
        (refuse(503, Some(2), "busy"), ErrorCode::Unavailable, Some(2)),
        (refuse(500, None, "bug"), ErrorCode::Unavailable, None),
        (refuse(401, None, "invalid_api_key"), ErrorCode::Internal, None),
        (refuse(404, None, "model_not_found"), ErrorCode::Internal, None),
        (Behaviour::WholeJson("text".into()), ErrorCode::Unavailable, None),
        (Behaviour::Empty, ErrorCode::Unavailable, None),
        (Behaviour::Malformed(vec![]), ErrorCode::Unavailable, None),
        (Behaviour::ErrorEvent(vec![]), ErrorCode::Unavailable, None),
        (Behaviour::Cut(vec![]), ErrorCode::Unavailable, None),
        (Behaviour::Stop(vec![]), ErrorCode::Unavailable, None),
        (Behaviour::Hang, ErrorCode::Unavailable, None),
        (Behaviour::Late(Duration::from_secs(30), Box::new(Behaviour::answer("late"))), ErrorCode::Unavailable, None),
    ] {
        let told = format!("{behaviour:?}");
        let (server, model) = serve([behaviour]).await;
        let error = all(model.stream(request()).await).await.unwrap_err();
        assert_eq!((error.code, error.retry_after), (code, wait.map(Duration::from_secs)), "{told}: {error:?}");
        assert_eq!(server.seen().len(), 1, "{told}: the client retried by itself");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let (server, model) = serve([]).await;
    drop(server);
    assert_eq!(all(model.stream(request()).await).await.unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_after_its_text() {
    for behaviour in [
        Behaviour::Cut(pieces(&["half "])),
        Behaviour::Stop(pieces(&["half "])),
        Behaviour::Malformed(pieces(&["half "])),
        Behaviour::ErrorEvent(pieces(&["half "])),
    ] {
        let (_server, model) = serve([behaviour]).await;
        let mut stream = model.stream(request()).await.unwrap();
        assert_eq!(first(&mut stream).await, ChatEvent::Delta("half ".into()));
        assert_eq!(all(Ok(stream)).await.unwrap_err().code, ErrorCode::Unavailable);
    }
}

#[tokio::test]
async fn limits_end_an_answer_and_say_so() {
    let endless = || Behaviour::Endless("word ".into(), Duration::from_millis(1));
    let server = FakeOpenAi::start([endless()]).await.unwrap();
    let tokens = client(&server, "tokens", |_| {});
    let bytes = client(&server, "bytes", |config| config.max_answer_bytes = 12);
    let total = client(&server, "total", |config| config.total_timeout_ms = 100);
    let mut long = request();
    long.max_tokens = 1_000_000;
    for (place, (model, request)) in [(tokens, request()), (bytes, long.clone()), (total, long)].into_iter().enumerate()
    {
        let name = model.name().to_owned();
        let events = all(model.stream(request).await).await.unwrap();
        let ChatEvent::Done { finish, degraded, .. } = events.last().unwrap() else { unreachable!("{events:?}") };
        assert_eq!((*finish, degraded.as_slice()), (FinishReason::Length, &[Degraded::LlmStreamLimit][..]), "{name}");
        match name.as_str() {
            "tokens" => assert_eq!(text(&events).split_whitespace().count(), 20),
            "bytes" => assert_eq!(text(&events), "word word wo"),
            _ => assert!(text(&events).starts_with("word ")),
        }
        server.cancelled(place + 1).await;
    }
}

#[tokio::test]
async fn silence_midway_ends_an_answer() {
    let (server, model) = serve([Behaviour::Stall(pieces(&["one ", "two "]))]).await;
    let events = all(model.stream(request()).await).await.unwrap();
    assert_eq!(text(&events), "one two ");
    let ChatEvent::Done { finish, usage, .. } = events.last().unwrap() else { unreachable!() };
    assert_eq!((*finish, usage.completion_tokens), (FinishReason::Length, 2));
    server.cancelled(1).await;
}

#[tokio::test]
async fn odd_but_whole_answers_are_taken() {
    let (one, two) = (delta("one"), delta(" two"));
    for events in [
        vec![one.clone(), two.clone(), finish("stop"), finish("stop"), delta("three"), usage(2)],
        vec![json!({}), json!({"choices": []}), one.clone(), two.clone(), finish("stop")],
        vec![json!({"choices": [{"delta": {"content": "one two"}, "finish_reason": "stop"}], "extra": 1})],
        vec![json!({"choices": [{"delta": {"role": "assistant", "content": null}}]}), one, two, finish("stop")],
    ] {
        let (_server, model) = serve([Behaviour::Events(events)]).await;
        let events = all(model.stream(request()).await).await.unwrap();
        assert_eq!(text(&events), "one two");
        assert!(matches!(events.last(), Some(ChatEvent::Done { finish: FinishReason::Stop, .. })), "{events:?}");
    }
}

#[tokio::test]
async fn a_flood_without_text_is_cut_off() {
    let junk = json!({"choices": [], "junk": "x".repeat(100_000)});
    let server = FakeOpenAi::start([Behaviour::Events(vec![delta("one"), junk, delta("two"), finish("stop")])]).await;
    let server = server.unwrap();
    let all_of_it = client(&server, "large", |_| {}).stream(request()).await;
    assert_eq!(text(&all(all_of_it).await.unwrap()), "onetwo");
    let cut = client(&server, "small", |config| config.max_answer_bytes = 500).stream(request()).await;
    assert_eq!(all(cut).await.unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn the_models_own_limit_is_no_degradation() {
    let (_server, model) = serve([Behaviour::Events(vec![delta("one"), finish("length"), usage(1)])]).await;
    let events = all(model.stream(request()).await).await.unwrap();
    let ChatEvent::Done { finish, degraded, .. } = events.last().unwrap() else { unreachable!() };
    assert_eq!((*finish, degraded.len()), (FinishReason::Length, 0));
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_the_request_within_250_ms() {
    let limit = Duration::from_millis(250);
    let (server, model) = serve([Behaviour::Stall(pieces(&["one "])), Behaviour::Hang]).await;
    let mut stream = model.stream(request()).await.unwrap();
    first(&mut stream).await;
    drop(stream);
    tokio::time::timeout(limit, server.cancelled(1)).await.unwrap();

    let mut asking = Box::pin(model.stream(request()));
    // Polled until the server has the request, then dropped.
    while server.seen().len() < 2 {
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut asking).await.is_err());
    }
    drop(asking);
    tokio::time::timeout(limit, server.cancelled(2)).await.unwrap();
}
