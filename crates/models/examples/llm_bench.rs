//! Measures the local chat model: load time, time to the first token, tokens a second, time until a left request is
//! noticed, and how many of 30 XQuAD questions it answers from their own passage. Pulls the model where it is missing;
//! XQuAD is looked for in `$RAGSTONE_EVAL_DATA/xquad` or `../shared/data/xquad`. Arguments: numbers of threads.
#![expect(clippy::print_stdout, reason = "its output")]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::StreamExt;
use ragstone_core::{ChatEvent, ChatRequest, Prompt, Result, Usage, ports::ChatModel};
use ragstone_models::{LocalChat, LocalChatConfig, ModelStore};

const MODEL: &str = "smollm2-135m-instruct";
const SYSTEM: &str = "You answer questions from the passages you are given, and from nothing else. After every statement \
                      cite the passage it rests on by its number in square brackets, like [1]. Answer briefly.";
const QUESTIONS: usize = 30;
/// How often each time is measured; the median counts.
const RUNS: usize = 5;

#[tokio::main]
async fn main() -> Result<()> {
    let store = ModelStore::open(None, |name| std::env::var_os(name))?;
    let threads: Vec<usize> = std::env::args().skip(1).filter_map(|given| given.parse().ok()).collect();
    let config = LocalChatConfig { model: MODEL.to_owned(), ..LocalChatConfig::default() };
    store.pull(&config.model, None, &()).await?;
    for threads in if threads.is_empty() { vec![0] } else { threads } {
        println!("threads: {threads}");
        let started = Instant::now();
        let model = LocalChat::load(&store, &LocalChatConfig { threads, ..config.clone() }).await?;
        println!("  load, hash checked: {:.0} ms", ms(started.elapsed()));
        speed(&model).await?;
        cancellation(&model).await?;
        quality(&model).await?;
    }
    Ok(())
}

async fn speed(model: &LocalChat) -> Result<()> {
    let passages = paragraphs();
    for passages in [&passages[..1], &passages[..4], &passages[..12]] {
        let mut runs = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            runs.push(run(model, request("Tell me everything about it.", passages, 64)).await?);
        }
        runs.sort_by_key(|run| run.first);
        let Run { first, usage, .. } = runs[RUNS / 2];
        let read = f64::from(usage.prompt_tokens) / first.as_secs_f64();
        let (prompt, first) = (usage.prompt_tokens, ms(first));
        let mut rates: Vec<f64> = runs.iter().map(Run::rate).collect();
        rates.sort_by(f64::total_cmp);
        let write = rates[RUNS / 2];
        println!("  {prompt} prompt tokens: first token after {first:.0} ms ({read:.0}/s), then {write:.0} tokens/s");
    }
    Ok(())
}

/// How much longer a short request takes when one that was reading, or writing, has just left.
async fn cancellation(model: &LocalChat) -> Result<()> {
    let short = || request("Yes?", &[], 1);
    let alone = run(model, short()).await?.whole;
    let passages = paragraphs();
    for (what, stay, passages) in [("reading", 300, &passages[..12]), ("writing", 2000, &passages[..1])] {
        let mut waits = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let mut stream = model.stream(request("Tell me everything.", passages, 1000)).await?;
            // What has arrived until then does not matter.
            let _ = tokio::time::timeout(Duration::from_millis(stay), async { while stream.next().await.is_some() {} })
                .await;
            let left = Instant::now();
            drop(stream);
            run(model, short()).await?;
            waits.push(ms(left.elapsed().saturating_sub(alone)));
        }
        waits.sort_by(f64::total_cmp);
        println!("  left while {what}: noticed after {:.0} ms, at most {:.0}", waits[RUNS / 2], waits[RUNS - 1]);
    }
    Ok(())
}

async fn quality(model: &LocalChat) -> Result<()> {
    let (mut right, mut cited, mut asked) = (0, 0, 0);
    for (passage, question, answers) in questions() {
        let run = run(model, request(&question, &[passage], 96)).await?;
        let said = run.text.to_lowercase();
        right += usize::from(answers.iter().any(|answer| said.contains(&answer.to_lowercase())));
        cited += usize::from(said.contains("[1]"));
        asked += 1;
    }
    println!("  {right} of {asked} answers contain the right one, {cited} cite the passage");
    Ok(())
}

struct Run {
    text: String,
    usage: Usage,
    first: Duration,
    whole: Duration,
}

impl Run {
    /// Tokens a second after the first.
    fn rate(&self) -> f64 {
        f64::from(self.usage.completion_tokens.saturating_sub(1)) / (self.whole - self.first).as_secs_f64()
    }
}

async fn run(model: &LocalChat, request: ChatRequest) -> Result<Run> {
    let started = Instant::now();
    let mut stream = model.stream(request).await?;
    let (mut text, mut usage, mut first) = (String::new(), Usage::default(), None);
    while let Some(event) = stream.next().await {
        first.get_or_insert_with(|| started.elapsed());
        match event? {
            ChatEvent::Delta(delta) => text.push_str(&delta),
            ChatEvent::Done { usage: counted, .. } => usage = counted,
            ChatEvent::Restart { .. } => {}
        }
    }
    Ok(Run { text, usage, first: first.unwrap_or_default(), whole: started.elapsed() })
}

fn request(question: &str, passages: &[String], max_tokens: u32) -> ChatRequest {
    let block = |(at, text): (usize, &String)| format!("<passage-7f3a n=\"{}\">\n{text}\n</passage-7f3a>\n", at + 1);
    let blocks: String = passages.iter().enumerate().map(block).collect();
    let user = format!("{blocks}\nQuestion: {question}");
    let prompt = Prompt { version: "bench/1".to_owned(), system: SYSTEM.to_owned(), user, ..Prompt::default() };
    ChatRequest { question: question.to_owned(), prompt, max_tokens, ..ChatRequest::default() }
}

fn xquad() -> Vec<serde_json::Value> {
    let given = std::env::var_os("RAGSTONE_EVAL_DATA").map(PathBuf::from);
    let data = given.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let Ok(json) = std::fs::read_to_string(data.join("xquad/xquad.en.json")) else { return Vec::new() };
    let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    let paragraphs = |article: &serde_json::Value| article["paragraphs"].as_array().cloned().unwrap_or_default();
    json["data"].as_array().into_iter().flatten().flat_map(paragraphs).collect()
}

/// Twelve passages: XQuAD's first ones or, without XQuAD, a made-up one.
fn paragraphs() -> Vec<String> {
    let xquad = xquad();
    let texts = xquad.iter().filter_map(|paragraph| paragraph["context"].as_str().map(str::to_owned));
    texts.chain(std::iter::repeat("The lighthouse was built in 1826 of brick. ".repeat(16))).take(12).collect()
}

/// Passage, question and right answers, one of each of the first paragraphs.
fn questions() -> Vec<(String, String, Vec<String>)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let one = |paragraph: &serde_json::Value| {
        let asked = &paragraph["qas"][0];
        let answers = asked["answers"].as_array().into_iter().flatten().map(|answer| text(&answer["text"])).collect();
        (text(&paragraph["context"]), text(&asked["question"]), answers)
    };
    xquad().iter().step_by(8).take(QUESTIONS).map(one).collect()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
