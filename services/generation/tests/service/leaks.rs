//! A model that writes out its instructions: the caller never hears of it.

use std::time::Duration;

use ragstone_proto::v1::generate_response::Event;
use ragstone_testkit::fake_openai::{Behaviour, FakeOpenAi};
use serde_json::Value;

use crate::bench::{Bench, PASSAGES, question, user};

fn system(body: &Value) -> &str {
    body["messages"][0]["content"].as_str().unwrap()
}

fn canary(body: &Value) -> String {
    let (_, after) = system(body).split_once("The code ").unwrap();
    after.split(' ').next().unwrap().to_owned()
}

fn nonce(body: &Value) -> String {
    let (_, after) = system(body).split_once("<turn-").unwrap();
    after.split(' ').next().unwrap().to_owned()
}

fn split(code: &str) -> Vec<String> {
    let (first, second) = code.split_at(13);
    ["Of course: ", first, second, " it is."].map(str::to_owned).to_vec()
}

/// Everything that a caller hears, whether it holds or not.
async fn heard(server: &FakeOpenAi) -> Vec<Event> {
    let bench = Bench::start(&[server]).await;
    let mut stream = bench.stream(question(PASSAGES), Duration::from_secs(10)).await.unwrap();
    let mut events = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        events.push(response.event.unwrap());
    }
    events
}

#[tokio::test]
async fn secrets_are_taken_back_before_they_are_heard() {
    let tells: [fn(&Value) -> Vec<String>; 6] = [
        |body| split(&canary(body)),
        |body| split(&nonce(body)),
        |body| canary(body).chars().map(String::from).collect(),
        |body| vec![format!("Of course: {}", canary(body).to_uppercase())],
        |body| canary(body).chars().map(|c| format!("{c} ")).collect(),
        |body| system(body).split_inclusive(' ').map(str::to_owned).collect(),
    ];
    for tell in tells {
        let server = FakeOpenAi::start([Behaviour::Reads(tell)]).await.unwrap();
        let events = heard(&server).await;
        let body = server.seen().remove(0).body;
        let all: String = format!("{events:?}").to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        for secret in [canary(&body), nonce(&body)] {
            assert_eq!(secret.len(), 32);
            assert!(!all.contains(&secret[..8]), "{events:?}");
        }
        let restarts: Vec<&str> = events
            .iter()
            .filter_map(|event| match event {
                Event::Restart(restart) => Some(restart.degraded.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(restarts, ["guard.canary"]);
        let Some(Event::Done(done)) = events.last() else { unreachable!("{events:?}") };
        let after = events.iter().skip_while(|event| !matches!(event, Event::Restart(_)));
        let quoted: String = after
            .map(|event| match event {
                Event::Delta(delta) => delta.text.as_str(),
                _ => "",
            })
            .collect();
        assert!(quoted.starts_with("The lease of a job lasts thirty seconds. [2]"), "{quoted}");
        assert_eq!(done.degraded, ["guard.canary", "generation.extractive"]);
    }
}

#[tokio::test]
async fn another_model_may_answer_instead() {
    let leaking = FakeOpenAi::start([Behaviour::Reads(|body| split(&canary(body)))]).await.unwrap();
    let fine = FakeOpenAi::start([Behaviour::answer("Thirty seconds [2].")]).await.unwrap();
    let bench = Bench::start(&[&leaking, &fine]).await;
    let (text, done, restarts) = bench.ask(question(PASSAGES)).await.unwrap();
    assert_eq!((text.as_str(), restarts), ("Thirty seconds [2].", 1));
    assert_eq!(done.degraded, ["guard.canary"]);
}

#[tokio::test]
async fn a_rewritten_question_holds_no_secret() {
    let server = FakeOpenAi::start([Behaviour::Reads(|body| split(&canary(body)))]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let rewritten = bench.rewrite(vec![user("How tall is the Eiffel Tower?")], "When was it built?").await.unwrap();
    assert_eq!(rewritten.question, "When was it built? tall Eiffel Tower");
    assert_eq!(rewritten.degraded, ["query.rewrite_skipped"]);
}
