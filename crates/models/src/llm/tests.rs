//! Requests, limits and failures, with a made-up engine in place of llama.cpp.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, future::join_all, poll};
use llama_cpp_2::token::LlamaToken;
use ragstone_core::{
    ChatEvent, ChatRequest, Degraded, Error, ErrorCode, FinishReason, Prompt, Result, Usage, ports::ChatModel,
};

use super::{
    chat::{LocalChat, Prompts},
    engine::Engine,
    queue::Queue,
    worker,
};

const PATIENCE: Duration = Duration::from_secs(60);
const CONTEXT: usize = 100;
/// The token that an engine draws for ever.
const ENDLESS: i32 = i32::MAX;

/// It answers with the tokens of its prompt.
struct Script {
    /// Last one first.
    answer: Vec<LlamaToken>,
    answering: bool,
    drawn: Arc<AtomicUsize>,
    pause: Duration,
}

/// A prompt is a list of numbers.
struct Numbers;

impl Prompts for Numbers {
    fn tokens(&self, prompt: &Prompt) -> Vec<LlamaToken> {
        prompt.user.split_whitespace().map(|number| LlamaToken(number.parse().unwrap())).collect()
    }

    fn context_tokens(&self) -> usize {
        CONTEXT
    }
}

/// -1: reading fails; -2: drawing panics; other tokens below 256 are answered as bytes.
impl Engine for Script {
    fn start(&mut self, _: f32) -> Result<()> {
        self.answer.clear();
        self.answering = false;
        Ok(())
    }

    fn read(&mut self, tokens: &[LlamaToken], _: bool) -> Result<()> {
        if tokens.contains(&LlamaToken(-1)) {
            return Err(Error::unavailable("no reading"));
        }
        if !self.answering {
            self.answer.splice(0..0, tokens.iter().rev().copied());
        }
        Ok(())
    }

    fn draw(&mut self) -> Option<LlamaToken> {
        std::thread::sleep(self.pause);
        self.drawn.fetch_add(1, SeqCst);
        self.answering = true;
        match self.answer.pop()? {
            LlamaToken(-2) => panic!("drawing"),
            LlamaToken(ENDLESS) => {
                self.answer.push(LlamaToken(ENDLESS));
                Some(LlamaToken(ENDLESS))
            }
            token => Some(token),
        }
    }

    fn bytes(&self, token: LlamaToken) -> Vec<u8> {
        match token.0 {
            0 => Vec::new(),
            ENDLESS => b"x".to_vec(),
            byte => vec![u8::try_from(byte).unwrap()],
        }
    }
}

struct Rig {
    model: LocalChat,
    drawn: Arc<AtomicUsize>,
    engines: Arc<AtomicUsize>,
}

fn rig(capacity: usize, pause: Duration, timeout: Duration) -> Rig {
    let queue = Arc::new(Queue::new(capacity));
    let (drawn, engines) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (theirs, counter, made) = (queue.clone(), drawn.clone(), engines.clone());
    let thread = std::thread::spawn(move || {
        let engine = || {
            made.fetch_add(1, SeqCst);
            Ok(Script { answer: Vec::new(), answering: false, drawn: counter.clone(), pause })
        };
        worker::work(&theirs, "numbers", engine().unwrap(), engine);
    });
    Rig { model: LocalChat::with(queue, Arc::new(Numbers), timeout, thread), drawn, engines }
}

fn request(prompt: &str, max_tokens: u32) -> ChatRequest {
    let prompt = Prompt { version: "test/1".into(), system: String::new(), user: prompt.into(), ..Prompt::default() };
    ChatRequest { prompt, max_tokens, ..ChatRequest::default() }
}

fn spelled(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte} ")).collect()
}

async fn ask(model: &LocalChat, prompt: &str, max_tokens: u32) -> Vec<Result<ChatEvent>> {
    let stream = model.stream(request(prompt, max_tokens)).await.unwrap();
    tokio::time::timeout(PATIENCE, stream.collect()).await.unwrap()
}

fn text(events: &[Result<ChatEvent>]) -> String {
    let delta = |event: &Result<ChatEvent>| match event {
        Ok(ChatEvent::Delta(text)) => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(delta).collect()
}

fn done(events: &[Result<ChatEvent>]) -> (Usage, FinishReason, Vec<Degraded>) {
    match events.last() {
        Some(Ok(ChatEvent::Done { usage, finish, degraded, model })) if model == "numbers" => {
            (*usage, *finish, degraded.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_comes_in_whole_characters_and_is_counted() {
    let rig = rig(1, Duration::ZERO, PATIENCE);
    let events = ask(&rig.model, &spelled("Grüße 😀"), 80).await;
    assert_eq!(text(&events), "Grüße 😀");
    assert_eq!(events.len(), 7 + 1, "one event for each character: {events:?}");
    let usage = Usage { prompt_tokens: 12, completion_tokens: 12 };
    assert_eq!(done(&events), (usage, FinishReason::Stop, Vec::new()));
}

#[tokio::test]
async fn a_prompt_is_read_in_parts_and_an_answer_ends_at_its_limit() {
    let rig = rig(1, Duration::ZERO, PATIENCE);
    let long = "abcdefghij".repeat(8);
    let events = ask(&rig.model, &spelled(&long), 20).await;
    let (usage, finish, degraded) = done(&events);
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (80, 20));
    assert_eq!((finish, degraded.len()), (FinishReason::Length, 0));
    assert_eq!(text(&events).len(), 20);
    assert_eq!(text(&ask(&rig.model, &spelled("fin"), 20).await), "fin", "the last answer is not forgotten");
}

#[tokio::test]
async fn a_prompt_without_room_is_refused_and_never_cut() {
    let rig = rig(1, Duration::ZERO, PATIENCE);
    let prompt = spelled(&"a".repeat(91));
    assert!(rig.model.stream(request(&prompt, 9)).await.is_ok());
    let Err(error) = rig.model.stream(request(&prompt, 10)).await else { panic!("accepted") };
    assert_eq!(error.code, ErrorCode::TooLarge);
    for named in ["91", "10", "100", "context_tokens", "max_tokens"] {
        assert!(error.message.contains(named), "{}", error.message);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_stops_the_work() {
    let rig = rig(2, Duration::from_millis(1), PATIENCE);
    let mut stream = rig.model.stream(request(&ENDLESS.to_string(), 90)).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(ChatEvent::Delta(_)))));
    drop(stream);
    let left = Instant::now();
    assert_eq!(text(&ask(&rig.model, &spelled("ok"), 9).await), "ok");
    let drawn = rig.drawn.load(SeqCst);
    assert!(drawn < 60 && left.elapsed() < Duration::from_secs(5), "{drawn} tokens, {:?}", left.elapsed());
}

#[tokio::test]
async fn requests_wait_their_turn_up_to_a_bound_and_those_that_left_make_room() {
    let rig = rig(2, Duration::from_millis(20), PATIENCE);
    let endless = request(&ENDLESS.to_string(), 90);
    let mut running = rig.model.stream(endless).await.unwrap();
    assert!(running.next().await.unwrap().is_ok());
    let waiting = rig.model.stream(request(&spelled("b"), 9)).await.unwrap();
    let mut leaving = rig.model.stream(request(&spelled("c"), 9)).await.unwrap();
    assert!(poll!(leaving.next()).is_pending());
    let Err(full) = rig.model.stream(request(&spelled("d"), 9)).await else { panic!("accepted") };
    assert_eq!(full.code, ErrorCode::RateLimited);
    assert!(full.retry_after.is_some());
    drop(leaving);
    let next = rig.model.stream(request(&spelled("e"), 9)).await.unwrap();
    drop(running);
    let answers = join_all([waiting.collect::<Vec<_>>(), next.collect()]).await;
    assert_eq!((text(&answers[0]), text(&answers[1])), ("b".to_owned(), "e".to_owned()));
}

#[tokio::test]
async fn a_failure_or_a_panic_ends_one_request_and_its_engine_only() {
    let rig = rig(1, Duration::ZERO, PATIENCE);
    for (prompt, engines) in [("97 -1", 1), ("97 98 -2", 2)] {
        let events = ask(&rig.model, prompt, 9).await;
        assert_eq!(events.last().unwrap().as_ref().unwrap_err().code, ErrorCode::Unavailable, "{prompt}");
        assert_eq!(rig.engines.load(SeqCst), engines, "{prompt}");
        assert_eq!(text(&ask(&rig.model, &spelled("ok"), 9).await), "ok");
        assert_eq!(rig.engines.load(SeqCst), engines + 1, "{prompt}");
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_ended_and_one_that_has_not_begun_fails() {
    let rig = rig(1, Duration::from_millis(10), Duration::from_millis(100));
    let events = ask(&rig.model, &ENDLESS.to_string(), 90).await;
    let (usage, finish, degraded) = done(&events);
    assert_eq!((finish, degraded), (FinishReason::Length, vec![Degraded::LlmStreamLimit]));
    assert!((1..60).contains(&usage.completion_tokens), "{usage:?}");
    let silent = "0 ".repeat(60);
    let events = ask(&rig.model, &silent, 30).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].as_ref().unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn no_stream_ends_without_an_end_when_the_model_goes() {
    let rig = rig(2, Duration::from_millis(5), PATIENCE);
    let mut running = rig.model.stream(request(&ENDLESS.to_string(), 90)).await.unwrap();
    assert!(running.next().await.unwrap().is_ok());
    let waiting = rig.model.stream(request(&spelled("b"), 9)).await.unwrap();
    drop(rig.model);
    for events in join_all([running.collect::<Vec<_>>(), waiting.collect()]).await {
        assert_eq!(events.last().unwrap().as_ref().unwrap_err().code, ErrorCode::Unavailable);
    }
}
