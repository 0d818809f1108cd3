//! The chain of models: who answers when one fails, what is said about it, and that nothing is ever spliced.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod throttled;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::{all, client, first, pieces, request, text};
use futures::{StreamExt, stream};
use ragstone_core::ports::ChatModel;
use ragstone_core::{ChatEvent, ChatRequest, ChatStream, Degraded, ErrorCode, FinishReason, Result, Usage};
use ragstone_llm::{ChainPolicy, ChatChain};
use ragstone_resilience::Deadline;
use ragstone_testkit::fake_openai::{Behaviour, FakeOpenAi};

/// Answers "quoted" at once, as the extractive answerer does.
pub(crate) struct StandIn;

#[async_trait]
impl ChatModel for StandIn {
    fn name(&self) -> &str {
        "stand-in"
    }

    async fn stream(&self, _request: ChatRequest) -> Result<ChatStream> {
        let (model, usage, finish) = ("stand-in".to_owned(), Usage::default(), FinishReason::Stop);
        let done = ChatEvent::Done { model, usage, finish, degraded: vec![] };
        Ok(stream::iter([Ok(ChatEvent::Delta("quoted".into())), Ok(done)]).boxed())
    }
}

struct Bench {
    servers: Vec<FakeOpenAi>,
    chain: ChatChain,
}

/// A chain with a model for each script, and the stand-in.
async fn bench<const N: usize>(scripts: [Vec<Behaviour>; N]) -> Bench {
    let mut servers = Vec::new();
    let mut models = Vec::new();
    for (place, script) in scripts.into_iter().enumerate() {
        let server = FakeOpenAi::start(script).await.unwrap();
        models.push(client(&server, &format!("m{place}"), |_| {}).into());
        servers.push(server);
    }
    let policy = ChainPolicy { backoff: Duration::from_millis(5), ..ChainPolicy::default() };
    Bench { servers, chain: ChatChain::new(models, Some(Arc::new(StandIn)), policy) }
}

impl Bench {
    async fn ask(&self) -> Vec<ChatEvent> {
        all(self.chain.stream(request()).await).await.unwrap()
    }

    fn asked(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.seen().len()).collect()
    }
}

fn end(events: &[ChatEvent]) -> (&str, &[Degraded]) {
    let Some(ChatEvent::Done { model, degraded, .. }) = events.last() else { unreachable!("{events:?}") };
    (model, degraded)
}

#[tokio::test]
async fn the_first_model_answers_when_it_can() {
    let bench = bench([vec![Behaviour::answer("fine")], vec![Behaviour::answer("other")]]).await;
    let events = bench.ask().await;
    assert_eq!((text(&events).as_str(), end(&events)), ("fine", ("m0-model", &[][..])));
    assert_eq!(bench.asked(), [1, 0]);
}

#[tokio::test]
async fn one_retry_then_the_next_model() {
    let bench = bench([vec![Behaviour::refuse(500)], vec![Behaviour::answer("other")]]).await;
    let events = bench.ask().await;
    assert_eq!((text(&events).as_str(), end(&events)), ("other", ("m1-model", &[Degraded::LlmFallback][..])));
    assert_eq!(bench.asked(), [2, 1]);

    bench.servers[0].script([Behaviour::Empty, Behaviour::answer("second try")]);
    let events = bench.ask().await;
    assert_eq!((text(&events).as_str(), end(&events)), ("second try", ("m0-model", &[][..])));
}

#[tokio::test]
async fn what_cannot_help_is_not_tried_again() {
    let wrong_key = Behaviour::Refuse { status: 401, retry_after: None, kind: "invalid_api_key".into() };
    let throttled = Behaviour::Refuse { status: 429, retry_after: Some(3600), kind: "rate".into() };
    for (behaviour, code) in [(wrong_key, Degraded::LlmFallback), (throttled, Degraded::LlmThrottled)] {
        let bench = bench([vec![behaviour], vec![Behaviour::answer("other")]]).await;
        assert_eq!(end(&bench.ask().await).1, [code]);
        assert_eq!(bench.asked(), [1, 1]);
    }
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_kept() {
    let throttled = || Behaviour::Refuse { status: 429, retry_after: Some(1), kind: "rate".into() };
    let patient = bench([vec![throttled(), Behaviour::answer("fine")]]).await;
    let start = Instant::now();
    let events = patient.ask().await;
    assert_eq!((text(&events).as_str(), end(&events)), ("fine", ("m0-model", &[][..])));
    assert!(start.elapsed() >= Duration::from_secs(1));

    // No time for that wait: straight to the next.
    let hurried = bench([vec![throttled(), Behaviour::answer("fine")]]).await;
    let deadline = Deadline::after(Duration::from_millis(800));
    let events = all(Ok(hurried.chain.answer(request(), Some(deadline)))).await.unwrap();
    assert_eq!((text(&events).as_str(), end(&events).1), ("quoted", &[Degraded::GenerationExtractive][..]));
}

#[tokio::test]
async fn a_model_that_breaks_off_is_replaced_from_scratch() {
    for broken in [Behaviour::Cut(pieces(&["half "])), Behaviour::Malformed(pieces(&["half "]))] {
        let bench = bench([vec![broken], vec![Behaviour::answer("whole")]]).await;
        let events = bench.ask().await;
        assert_eq!(events[0], ChatEvent::Delta("half ".into()));
        assert_eq!(events[1], ChatEvent::Restart { degraded: Degraded::LlmStreamRestarted });
        assert_eq!((text(&events).as_str(), end(&events).1), ("whole", &[Degraded::LlmStreamRestarted][..]));
        assert_eq!(bench.asked(), [1, 1], "no second try after the first token");
    }
}

#[tokio::test]
async fn a_model_that_tells_a_secret_is_replaced_from_scratch() {
    const SECRET: &str = "0d1c2b3a49586776";
    for told in [&["half ", "It is 0d1c", "2b3a4958", "6776."][..], &["half ", "0D1C-2B3A-4958", "-6776"]] {
        let bench = bench([vec![Behaviour::Answer(pieces(told))], vec![Behaviour::answer("0d1c is fine")]]).await;
        let mut asked = request();
        asked.prompt.secrets = vec!["another".into(), SECRET.into()];
        let events = all(Ok(bench.chain.answer(asked, None))).await.unwrap();
        assert_eq!(events[0], ChatEvent::Delta("half ".into()));
        let heard: String = events.iter().map(|event| format!("{event:?}")).collect();
        assert!(!heard.contains("2b3a") && !heard.contains("2B3A"), "{heard}");
        assert!(events.contains(&ChatEvent::Restart { degraded: Degraded::GuardCanary }), "{heard}");
        assert_eq!((text(&events).as_str(), end(&events).1), ("0d1c is fine", &[Degraded::GuardCanary][..]));
    }
}

#[tokio::test]
async fn a_secret_told_by_the_last_model_is_no_answer() {
    let server = FakeOpenAi::start([Behaviour::answer("It is 0d1c2b3a")]).await.unwrap();
    let chain = ChatChain::new(vec![client(&server, "m", |_| {}).into()], None, ChainPolicy::default());
    let mut asked = request();
    asked.prompt.secrets = vec!["0d1c2b3a".into()];
    assert_eq!(all(Ok(chain.answer(asked, None))).await.unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn an_answer_ends_at_a_stop_text_though_the_server_goes_on() {
    let on = Behaviour::Stall(pieces(&["One. E", "N", "D and more "]));
    let bench = bench([vec![on]]).await;
    let asked = ChatRequest { stop: vec!["END".into()], ..request() };
    let events = all(Ok(bench.chain.answer(asked, None))).await.unwrap();
    let Some(ChatEvent::Done { usage, finish, degraded, .. }) = events.last() else { unreachable!("{events:?}") };
    assert_eq!((text(&events).as_str(), *finish, degraded.len()), ("One. ", FinishReason::Stop, 0));
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0, "{usage:?}");
    bench.servers[0].cancelled(1).await;
}

#[tokio::test]
async fn when_no_model_answers_the_stand_in_does_and_says_so() {
    let bench = bench([vec![Behaviour::refuse(500)], vec![Behaviour::Cut(pieces(&["half "]))]]).await;
    let events = bench.ask().await;
    assert_eq!(text(&events), "quoted");
    let marks = [Degraded::LlmFallback, Degraded::LlmStreamRestarted, Degraded::GenerationExtractive];
    assert_eq!(end(&events), ("stand-in", &marks[..]));
}

#[tokio::test]
async fn alone_the_stand_in_is_what_was_configured() {
    let events = bench([]).await.ask().await;
    assert_eq!((text(&events).as_str(), end(&events)), ("quoted", ("stand-in", &[][..])));
}

#[tokio::test]
async fn without_a_stand_in_the_last_failure_is_told() {
    let server =
        FakeOpenAi::start([Behaviour::Refuse { status: 429, retry_after: Some(9), kind: "rate".into() }]).await;
    let chain = ChatChain::new(vec![client(&server.unwrap(), "m", |_| {}).into()], None, ChainPolicy::default());
    let error = all(chain.stream(request()).await).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);

    let server = FakeOpenAi::start([Behaviour::Cut(pieces(&["half "]))]).await.unwrap();
    let chain = ChatChain::new(vec![client(&server, "m", |_| {}).into()], None, ChainPolicy::default());
    let mut stream = chain.answer(request(), None);
    assert_eq!(first(&mut stream).await, ChatEvent::Delta("half ".into()));
    assert_eq!(stream.next().await.unwrap().unwrap_err().code, ErrorCode::Unavailable);
    assert!(stream.next().await.is_none());

    let nobody = ChatChain::new(vec![], None, ChainPolicy::default());
    assert_eq!(all(nobody.stream(request()).await).await.unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_model_that_hangs_leaves_time_for_the_next() {
    let bench = bench([vec![Behaviour::Hang]]).await;
    let (start, wait) = (Instant::now(), Duration::from_millis(300));
    let events = all(Ok(bench.chain.answer(request(), Some(Deadline::after(wait))))).await.unwrap();
    assert!(start.elapsed() < wait, "{:?}", start.elapsed());
    assert_eq!((text(&events).as_str(), end(&events).1), ("quoted", &[Degraded::GenerationExtractive][..]));
    bench.servers[0].cancelled(1).await;
}

#[tokio::test]
async fn an_answer_is_ended_before_the_deadline_not_lost() {
    let bench = bench([vec![Behaviour::Stall(pieces(&["so far "]))]]).await;
    let deadline = Deadline::after(Duration::from_millis(200));
    let events = all(Ok(bench.chain.answer(request(), Some(deadline)))).await.unwrap();
    assert_eq!((text(&events).as_str(), end(&events).1), ("so far ", &[Degraded::LlmStreamLimit][..]));
    assert!(deadline.remaining() > Duration::ZERO);
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_the_model() {
    let bench = bench([vec![Behaviour::Endless("on ".into(), Duration::from_millis(1))]]).await;
    let mut stream = bench.chain.answer(request(), None);
    first(&mut stream).await;
    drop(stream);
    tokio::time::timeout(Duration::from_millis(250), bench.servers[0].cancelled(1)).await.unwrap();
    assert_eq!(bench.asked(), [1]);
}
