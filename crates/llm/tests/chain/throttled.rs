//! Limits on this side: a provider at its limit is passed over, waited for only when no other answers, and paid for right.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ragstone_core::ports::ChatModel as _;
use ragstone_core::{ChatEvent, Degraded, ErrorCode};
use ragstone_llm::{ChainPolicy, ChatChain, Provider, ProviderConfig};
use ragstone_resilience::Deadline;
use ragstone_testkit::fake_openai::{Behaviour, FakeOpenAi};

use crate::StandIn;
use crate::common::{all, config, pieces, request, text};

type Change = fn(&mut ProviderConfig);

/// A chain with a model for each behaviour, limited by its change, and the stand-in.
async fn chain<const N: usize>(models: [(Behaviour, Change); N]) -> (Vec<FakeOpenAi>, ChatChain) {
    let (mut servers, mut providers) = (Vec::new(), Vec::new());
    for (place, (behaviour, change)) in models.into_iter().enumerate() {
        let server = FakeOpenAi::start([behaviour]).await.unwrap();
        providers.push(Provider::open(config(&server, &format!("m{place}"), change)).unwrap());
        servers.push(server);
    }
    let policy = ChainPolicy { backoff: Duration::from_millis(5), ..ChainPolicy::default() };
    (servers, ChatChain::new(providers, Some(Arc::new(StandIn)), policy))
}

async fn ask(chain: &ChatChain, wait: Duration) -> (String, Vec<Degraded>) {
    let events = all(Ok(chain.answer(request(), Some(Deadline::after(wait))))).await.unwrap();
    let Some(ChatEvent::Done { degraded, .. }) = events.last() else { unreachable!("{events:?}") };
    (text(&events), degraded.clone())
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn at_its_limit_a_provider_is_passed_over_and_not_asked() {
    let one_a_minute: Change = |config| config.requests_per_minute = 1;
    let models = [(Behaviour::answer("first"), one_a_minute), (Behaviour::answer("second"), (|_| {}) as Change)];
    let (servers, chain) = chain(models).await;
    assert_eq!(ask(&chain, LONG).await, ("first".into(), vec![]));
    assert_eq!(ask(&chain, LONG).await, ("second".into(), vec![Degraded::LlmThrottled]));
    assert_eq!((servers[0].seen().len(), servers[1].seen().len()), (1, 1));
}

#[tokio::test]
async fn tokens_are_estimated_before_and_corrected_after() {
    // A request is estimated at 4 + 20 tokens and takes 10 + 1: five fit into what two estimates would fill.
    let tokens: Change = |config| config.tokens_per_minute = 60;
    let (servers, chain) = chain([(Behaviour::answer("fine"), tokens)]).await;
    for _ in 0..4 {
        assert_eq!(ask(&chain, LONG).await, ("fine".into(), vec![]));
    }
    let (answer, degraded) = ask(&chain, Duration::from_secs(2)).await;
    assert_eq!((answer.as_str(), degraded), ("quoted", vec![Degraded::GenerationExtractive]));
    assert_eq!(servers[0].seen().len(), 4);
}

#[tokio::test]
async fn with_no_other_free_it_is_waited_for_within_the_deadline() {
    // One a second once sixty are gone.
    let sixty: Change = |config| config.requests_per_minute = 60;
    let models = [(Behaviour::answer("first"), sixty), (Behaviour::refuse(401), (|_| {}) as Change)];
    let (servers, chain) = chain(models).await;
    for _ in 0..60 {
        assert_eq!(ask(&chain, LONG).await.0, "first");
    }
    let start = Instant::now();
    assert_eq!(ask(&chain, LONG).await, ("first".into(), vec![]), "the preferred model's answer is no lesser one");
    assert!(start.elapsed() > Duration::from_millis(100), "{:?}", start.elapsed());
    assert_eq!((servers[0].seen().len(), servers[1].seen().len()), (61, 1));
    // No time for that wait: the stand-in.
    let start = Instant::now();
    assert_eq!(ask(&chain, Duration::from_millis(300)).await.1, [Degraded::GenerationExtractive]);
    assert!(start.elapsed() < Duration::from_millis(300));
    assert_eq!(servers[0].seen().len(), 61);
}

#[tokio::test]
async fn a_free_provider_is_asked_rather_than_a_short_wait_taken() {
    let sixty: Change = |config| config.requests_per_minute = 60;
    let models = [(Behaviour::answer("first"), sixty), (Behaviour::answer("second"), (|_| {}) as Change)];
    let (servers, chain) = chain(models).await;
    for _ in 0..60 {
        assert_eq!(ask(&chain, LONG).await.0, "first");
    }
    assert_eq!(ask(&chain, LONG).await, ("second".into(), vec![Degraded::LlmThrottled]));
    assert_eq!((servers[0].seen().len(), servers[1].seen().len()), (60, 1));
}

#[tokio::test]
async fn without_a_stand_in_the_time_to_wait_is_told() {
    let server = FakeOpenAi::start([Behaviour::answer("first")]).await.unwrap();
    let provider = Provider::open(config(&server, "m", |config| config.requests_per_minute = 1)).unwrap();
    let chain = ChatChain::new(vec![provider], None, ChainPolicy::default());
    all(chain.stream(request()).await).await.unwrap();
    let error = all(chain.stream(request()).await).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.retry_after.unwrap() > Duration::from_secs(50), "{error:?}");
}

#[tokio::test]
async fn a_failed_request_gives_its_tokens_back() {
    let tokens: Change = |config| config.tokens_per_minute = 30;
    let (servers, chain) = chain([(Behaviour::refuse(401), tokens)]).await;
    ask(&chain, LONG).await;
    servers[0].script([Behaviour::answer("fine")]);
    assert_eq!(ask(&chain, LONG).await.0, "fine");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_estimated() {
    let tokens: Change = |config| config.tokens_per_minute = 30;
    let (servers, chain) = chain([(Behaviour::Cut(pieces(&["half "])), tokens)]).await;
    let (answer, degraded) = ask(&chain, LONG).await;
    assert_eq!((answer.as_str(), degraded[0]), ("quoted", Degraded::LlmStreamRestarted));
    servers[0].script([Behaviour::answer("fine")]);
    // Six of the thirty are gone, 24 are left: enough for one more request as it is estimated.
    assert_eq!(ask(&chain, LONG).await.0, "fine");
}
