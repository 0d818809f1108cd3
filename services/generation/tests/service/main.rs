//! The service over real gRPC, alone and with a language model that behaves and misbehaves.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bench;
mod conversation;
mod hostile;
mod leaks;

use std::time::Duration;

use ragstone_core::ErrorCode;
use ragstone_proto::v1;
use ragstone_testkit::fake_openai::{Behaviour, FakeOpenAi, delta, finish, usage};

use bench::{Bench, PASSAGES, question, read};

#[tokio::test]
async fn without_a_model_the_passages_sentences_are_quoted() {
    let bench = Bench::start(&[]).await;
    let (text, done, _) = bench.ask(question(PASSAGES)).await.unwrap();
    assert!(text.starts_with("The lease of a job lasts thirty seconds. [2]"), "{text}");
    assert_eq!((done.model.as_str(), done.prompt_version.as_str()), ("extractive", "answer/2"));
    assert_eq!(done.degraded, Vec::<String>::new());
    assert_eq!(done.finish(), v1::FinishReason::Stop);
}

#[tokio::test]
async fn a_model_reads_the_prompt_and_its_citations_are_checked() {
    let pieces = ["Thirty seconds [", "2", "]. Or not [", "7]. See a[7]. [2"].map(str::to_owned);
    let server = FakeOpenAi::start([Behaviour::Answer(pieces.to_vec())]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let stop = vec!["THE END".to_owned()];
    let sampling = v1::GenerateRequest { stop, seed: Some(7), ..question(PASSAGES) };
    let asked = v1::GenerateRequest { max_tokens: 33, temperature: Some(1.5), ..sampling };
    let (text, done, _) = bench.ask(asked).await.unwrap();
    assert_eq!(text, "Thirty seconds [2]. Or not. See a[7]. [2");
    assert_eq!((done.model.as_str(), done.degraded.len()), ("m", 0));
    assert_eq!(done.usage.unwrap(), v1::Usage { prompt_tokens: 10, completion_tokens: 4 });
    let body = server.seen().remove(0).body;
    assert_eq!((body["max_tokens"].as_u64(), body["temperature"].as_f64()), (Some(33), Some(1.5)));
    assert_eq!((body["stop"][0].as_str(), body["seed"].as_i64()), (Some("THE END"), Some(7)));
    let user = body["messages"][1]["content"].as_str().unwrap();
    assert!(
        user.contains("The lease of a job lasts") && user.contains(">\nHow long is a lease of a job?\n</question-")
    );
}

#[tokio::test]
async fn a_stop_text_ends_the_answer_before_its_citations_are_checked() {
    let pieces = ["Thirty seconds [2]. STO", "P and [7"].map(str::to_owned);
    let server = FakeOpenAi::start([Behaviour::Stall(pieces.to_vec())]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let asked = v1::GenerateRequest { stop: vec!["STOP".into()], ..question(PASSAGES) };
    let (text, done, _) = bench.ask(asked).await.unwrap();
    assert_eq!(
        (text.as_str(), done.finish(), done.degraded.len()),
        ("Thirty seconds [2]. ", v1::FinishReason::Stop, 0)
    );
    let usage = done.usage.unwrap();
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0, "{usage:?}");
}

#[tokio::test]
async fn an_answer_that_is_cut_off_says_so() {
    let events = vec![delta("So "), finish("length"), usage(1)];
    let server = FakeOpenAi::start([Behaviour::Events(events)]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let (_, done, _) = bench.ask(question(PASSAGES)).await.unwrap();
    assert_eq!(done.finish(), v1::FinishReason::Length);
}

#[tokio::test]
async fn failures_of_models_are_told_and_never_spliced() {
    let broken = FakeOpenAi::start([Behaviour::Cut(vec!["Half [".into()])]).await.unwrap();
    let refusing = FakeOpenAi::start([Behaviour::refuse(401)]).await.unwrap();
    let bench = Bench::start(&[&broken, &refusing]).await;
    let (text, done, restarts) = bench.ask(question(PASSAGES)).await.unwrap();
    assert!(text.starts_with("The lease of a job lasts thirty seconds. [2]"), "{text}");
    assert_eq!(restarts, 1);
    assert_eq!(done.degraded, ["llm.stream_restarted", "generation.extractive"]);
}

#[tokio::test]
async fn without_passages_no_model_is_asked() {
    let server = FakeOpenAi::start([Behaviour::answer("Out of my own head.")]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let (text, done, _) = bench.ask(question(&[])).await.unwrap();
    assert_eq!(text, "The documents do not answer this question.");
    assert_eq!((done.model.as_str(), done.degraded.len(), server.seen().len()), ("extractive", 0, 0));
}

#[tokio::test]
async fn the_callers_deadline_holds() {
    let server = FakeOpenAi::start([Behaviour::Hang]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let stream = bench.stream(question(PASSAGES), Duration::from_millis(600)).await.unwrap();
    let (_, done, _) = read(stream).await.unwrap();
    assert_eq!(done.degraded, ["generation.extractive"]);
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_the_model_within_250_ms() {
    let server = FakeOpenAi::start([Behaviour::Stall(vec!["One ".into()])]).await.unwrap();
    let bench = Bench::start(&[&server]).await;
    let mut stream = bench.stream(question(PASSAGES), Duration::from_secs(10)).await.unwrap();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    tokio::time::timeout(Duration::from_millis(250), server.cancelled(1)).await.unwrap();
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let bench = Bench::start(&[]).await;
    let nameless = v1::GenerationPassage::default();
    for wrong in [
        v1::GenerateRequest { question: " ".into(), ..question(PASSAGES) },
        v1::GenerateRequest { max_tokens: 1_000_000, ..question(PASSAGES) },
        v1::GenerateRequest { temperature: Some(f32::NAN), ..question(PASSAGES) },
        v1::GenerateRequest { temperature: Some(-0.1), ..question(PASSAGES) },
        v1::GenerateRequest { passages: vec![nameless], ..question(PASSAGES) },
        question(&["x"; 101]),
        v1::GenerateRequest { stop: vec!["x".into(); 5], ..question(PASSAGES) },
        v1::GenerateRequest { stop: vec![String::new()], ..question(PASSAGES) },
        v1::GenerateRequest { stop: vec!["x".repeat(65)], ..question(PASSAGES) },
        v1::GenerateRequest { history: vec![v1::Turn::default()], ..question(PASSAGES) },
    ] {
        assert_eq!(bench.ask(wrong).await.unwrap_err().code, ErrorCode::InvalidArgument);
    }
    for (history, question) in [(vec![v1::Turn::default()], "Why?"), (vec![], " \u{200B}")] {
        assert_eq!(bench.rewrite(history, question).await.unwrap_err().code, ErrorCode::InvalidArgument);
    }
}
