//! Scheduling, with a made-up model whose batches start and end when the test says so.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use futures::{future::join_all, poll};
use proptest::prelude::*;
use ragstone_core::ErrorCode;
use rten::ThreadPool;
use tokio::sync::mpsc as tokio_mpsc;

use super::{error::EncodeError, *};

/// A text's tokens are its bytes, its vector is `direction(text)`.
struct Fake {
    /// Where every batch is told when it starts.
    started: tokio_mpsc::UnboundedSender<Vec<String>>,
    /// Each batch waits for a permit, unless this is absent.
    permits: Option<Mutex<mpsc::Receiver<()>>>,
}

impl Encoder for Fake {
    fn tokenise(&self, index: usize, text: &str) -> Result<Vec<u32>, EncodeError> {
        match text {
            "long" => Err(EncodeError::TooLong { index, tokens: 9, limit: 8 }),
            "tokenise panic" => panic!("tokenise"),
            _ => Ok(text.bytes().map(u32::from).collect()),
        }
    }

    fn encode(&self, batch: &[&[u32]], _: &Arc<ThreadPool>) -> Result<Vec<Vec<f32>>, EncodeError> {
        let texts: Vec<String> =
            batch.iter().map(|ids| ids.iter().filter_map(|&id| char::from_u32(id)).collect()).collect();
        self.started.send(texts.clone()).ok();
        if let Some(permits) = &self.permits {
            permits.lock().unwrap().recv().ok();
        }
        assert!(!texts.iter().any(|text| text == "panic"), "encode");
        Ok(texts.iter().map(|text| direction(text)).collect())
    }
}

fn direction(text: &str) -> Vec<f32> {
    let angle = text.bytes().fold(0.0_f32, |sum, byte| sum * 1.3 + f32::from(byte));
    if text == "nan" { vec![f32::NAN, 0.0] } else { vec![angle.cos(), angle.sin()] }
}

struct Rig {
    embedder: LocalEmbedder,
    started: tokio_mpsc::UnboundedReceiver<Vec<String>>,
    permits: mpsc::Sender<()>,
}

/// One worker, one thread for questions; `batch_tokens` of 1 runs every text alone.
fn rig(gated: bool, queue_texts: usize, batch_tokens: usize) -> Rig {
    let (started, receiver) = tokio_mpsc::unbounded_channel();
    let (permits, gate) = mpsc::channel();
    let fake = Fake { started, permits: gated.then(|| Mutex::new(gate)) };
    let info = EmbedderInfo { model: "fake".into(), revision: "1".into(), dimension: 2, max_tokens: 8 };
    let config = EmbedderConfig { threads: 1, queue_texts, batch_tokens };
    let embedder = LocalEmbedder::start(info, Vec::new(), Arc::new(fake), &config).unwrap();
    Rig { embedder, started: receiver, permits }
}

/// Fails instead of hanging when what is awaited never comes.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap()
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[tokio::test]
async fn a_dropped_call_is_taken_out_of_the_queue() {
    let mut rig = rig(true, 4, 1);
    let mut dropped = rig.embedder.embed(texts(&["a1", "a2", "a3"]), EmbedKind::Passage);
    assert!(poll!(&mut dropped).is_pending());
    assert_eq!(soon(rig.started.recv()).await.unwrap(), ["a1"]);
    drop(dropped);
    // Its two places in the queue are free again.
    let mut kept = rig.embedder.embed(texts(&["b1", "b2", "b3", "b4"]), EmbedKind::Passage);
    assert!(poll!(&mut kept).is_pending());
    (0..5).for_each(|_| rig.permits.send(()).unwrap());
    assert_eq!(soon(kept).await.unwrap().len(), 4);
    drop(rig.embedder);
    let mut ran = Vec::new();
    while let Some(batch) = soon(rig.started.recv()).await {
        ran.extend(batch);
    }
    assert_eq!(ran, ["b1", "b2", "b3", "b4"]);
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_come_again() {
    let mut rig = rig(true, 2, 1);
    let mut running = rig.embedder.embed(texts(&["a"]), EmbedKind::Passage);
    assert!(poll!(&mut running).is_pending());
    soon(rig.started.recv()).await.unwrap();
    let mut waiting = rig.embedder.embed(texts(&["b", "c"]), EmbedKind::Passage);
    assert!(poll!(&mut waiting).is_pending());

    let refused = rig.embedder.embed(texts(&["d"]), EmbedKind::Passage).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(refused.retry_after.is_some());
    let never = rig.embedder.embed(texts(&["d", "e", "f"]), EmbedKind::Passage).await.unwrap_err();
    assert_eq!(never.code, ErrorCode::InvalidArgument, "no waiting makes room for more than the queue holds");

    (0..3).for_each(|_| rig.permits.send(()).unwrap());
    assert_eq!(soon(running).await.unwrap(), [direction("a")]);
    assert_eq!(soon(waiting).await.unwrap(), [direction("b"), direction("c")]);
    rig.permits.send(()).unwrap();
    assert_eq!(rig.embedder.embed(texts(&["d"]), EmbedKind::Passage).await.unwrap(), [direction("d")]);
}

#[tokio::test]
async fn questions_do_not_wait_for_passages() {
    let mut rig = rig(true, 100, 1);
    let mut passages = rig.embedder.embed(texts(&["p1", "p2"]), EmbedKind::Passage);
    assert!(poll!(&mut passages).is_pending());
    assert_eq!(soon(rig.started.recv()).await.unwrap(), ["p1"]);
    let mut questions = rig.embedder.embed(texts(&["q1", "q2"]), EmbedKind::Query);
    assert!(poll!(&mut questions).is_pending());
    assert_eq!(soon(rig.started.recv()).await.unwrap(), ["q1"], "the thread for questions takes it at once");
    (0..4).for_each(|_| rig.permits.send(()).unwrap());
    assert_eq!(
        soon(rig.started.recv()).await.unwrap(),
        ["q2"],
        "whoever is free takes the question before the passage"
    );
    assert_eq!(soon(rig.started.recv()).await.unwrap(), ["p2"]);
    assert_eq!(soon(passages).await.unwrap().len() + soon(questions).await.unwrap().len(), 4);
}

#[tokio::test]
async fn callers_that_wait_share_a_batch() {
    let mut rig = rig(true, 100, 100);
    let mut first = rig.embedder.embed(texts(&["a"]), EmbedKind::Passage);
    assert!(poll!(&mut first).is_pending());
    soon(rig.started.recv()).await.unwrap();
    let mut others: Vec<_> = ["b", "c"].map(|word| rig.embedder.embed(texts(&[word]), EmbedKind::Passage)).into();
    for other in &mut others {
        assert!(poll!(other).is_pending());
    }
    (0..2).for_each(|_| rig.permits.send(()).unwrap());
    let answers = soon(join_all(others)).await;
    assert_eq!(soon(rig.started.recv()).await.unwrap(), ["b", "c"]);
    assert_eq!(
        answers.into_iter().flat_map(|answer| answer.unwrap()).collect::<Vec<_>>(),
        [direction("b"), direction("c")]
    );
}

#[tokio::test]
async fn bad_texts_fail_their_own_call_and_the_threads_go_on() {
    let rig = rig(false, 100, 1);
    for (bad, code, says) in [
        ("long", ErrorCode::InvalidArgument, "text 1 has 9 tokens; the model reads at most 8"),
        ("panic", ErrorCode::Internal, "a panic was contained: encode"),
        ("tokenise panic", ErrorCode::Internal, "a panic was contained: tokenise"),
        ("nan", ErrorCode::Internal, "not finite"),
    ] {
        let error = rig.embedder.embed(texts(&["good", bad, "too"]), EmbedKind::Passage).await.unwrap_err();
        assert_eq!(error.code, code, "{bad}");
        assert!(error.chain().contains(says), "{}", error.chain());
        let good = rig.embedder.embed(texts(&["good"]), EmbedKind::Passage).await.unwrap();
        assert_eq!(good, [direction("good")]);
    }
    assert_eq!(rig.embedder.embed(Vec::new(), EmbedKind::Query).await.unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn settings_that_cannot_work_and_unknown_ones_are_refused() {
    assert!(EmbedderConfig::default().validate().is_ok());
    for wrong in [r#"{"queue_texts":0}"#, r#"{"batch_tokens":0}"#, r#"{"threads":1000}"#] {
        assert!(serde_json::from_str::<EmbedderConfig>(wrong).unwrap().validate().is_err(), "{wrong}");
    }
    assert!(serde_json::from_str::<EmbedderConfig>(r#"{"thread":1}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_caller_gets_its_own_vectors_in_order(
        calls in prop::collection::vec(prop::collection::vec("w[a-z]{0,29}", 0..12), 1..30), budget in 1_usize..200,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let answers = runtime.block_on(async {
            let rig = rig(false, 1000, budget);
            let kind = |number| if number % 3 == 0 { EmbedKind::Query } else { EmbedKind::Passage };
            soon(join_all(calls.iter().enumerate().map(|(n, call)| rig.embedder.embed(call.clone(), kind(n))))).await
        });
        for (call, answer) in calls.iter().zip(answers) {
            let wanted: Vec<_> = call.iter().map(|text| direction(text)).collect();
            prop_assert_eq!(answer.unwrap(), wanted);
        }
    }
}
