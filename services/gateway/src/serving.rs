//! Which model questions are embedded with: that of the index which serves, as the retrieval service last told it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use ragstone_core::{IndexSpec, Result};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;
use tokio::sync::Mutex;

use crate::app::App;
use crate::backends::failed;
use crate::documents::broken;

/// The index that serves, as far as this gateway knows. Each search names the index its vector was made for, so that one
/// that is behind finds the earlier index, not nonsense, and learns of the new one by the answer.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    known: RwLock<Option<IndexSpec>>,
    /// Held by the question that asks for all of those that come meanwhile.
    asking: Mutex<()>,
    /// How often was asked.
    asked: AtomicU64,
}

impl Serving {
    /// The model to embed with; empty, which means the embedding service's default, while no index is known.
    pub(crate) fn model(&self) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|spec| spec.model.clone()).unwrap_or_default()
    }

    /// The same. While no index is known, `ask` is asked for it first, once for all questions that come meanwhile.
    pub(crate) async fn model_or_ask(&self, ask: impl Future<Output = Result<Option<IndexSpec>>>) -> String {
        let before = self.asked.load(Ordering::Acquire);
        if self.is_known() {
            return self.model();
        }
        let _alone = self.asking.lock().await;
        // What somebody else was told meanwhile counts here too, also when it was nothing.
        if !self.is_known() && self.asked.load(Ordering::Acquire) == before {
            match ask.await {
                Ok(Some(spec)) => _ = self.learn(spec),
                Ok(None) => tracing::debug!("no index serves yet"),
                Err(error) => tracing::debug!(error = error.chain(), "which index serves is not known"),
            }
            self.asked.fetch_add(1, Ordering::Release);
        }
        self.model()
    }

    fn is_known(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Remembers the index that serves. Whether that is another one than before.
    pub(crate) fn learn(&self, spec: IndexSpec) -> bool {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&spec) {
            return false;
        }
        tracing::info!(index = %spec.name, model = spec.model, "questions are embedded with this model from now on");
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(spec);
        true
    }
}

/// Asks the retrieval service which index serves; `None`: none does yet.
///
/// # Errors
/// What the retrieval service says, or `DeadlineExceeded`.
pub(crate) async fn ask(app: &App, deadline: Deadline) -> Result<Option<IndexSpec>> {
    let mut indexes = app.backends.indexes.clone();
    let message = v1::ScanIndexesRequest { count: false, index: String::new() };
    let call = async { indexes.scan_indexes(request(message, deadline)).await.map_err(failed("retrieval")) };
    let indexes = deadline.run(call).await?.into_inner().indexes;
    let serving = indexes.into_iter().find(|entry| entry.serving).and_then(|entry| entry.spec);
    serving.map(|spec| spec.try_into().map_err(broken)).transpose()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "tests")]
    use futures::future::join_all;
    use ragstone_core::Error;

    use super::*;

    async fn nobody() -> Result<Option<IndexSpec>> {
        panic!("what is known is not asked for")
    }

    #[tokio::test]
    async fn the_newest_word_counts() {
        let serving = Serving::default();
        assert_eq!(serving.model(), "");
        assert!(serving.learn(IndexSpec::of("a", "1", 2)));
        assert!(!serving.learn(IndexSpec::of("a", "1", 2)));
        assert!(serving.learn(IndexSpec::of("b", "1", 2)));
        assert_eq!(serving.model_or_ask(nobody()).await, "b");
    }

    #[tokio::test]
    async fn the_first_questions_ask_together() {
        let (serving, asked) = (Serving::default(), AtomicU64::new(0));
        let ask = async |answer| {
            asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            answer
        };
        let answers = join_all((0..8).map(|_| serving.model_or_ask(ask(Err(Error::unavailable("away")))))).await;
        assert_eq!((answers, asked.load(Ordering::SeqCst)), (vec![String::new(); 8], 1), "a failure is shared too");
        assert_eq!(serving.model_or_ask(ask(Ok(None))).await, "", "there is no index yet");
        let spec = || IndexSpec::of("a", "1", 2);
        let answers = join_all((0..8).map(|_| serving.model_or_ask(ask(Ok(Some(spec())))))).await;
        assert_eq!((answers, asked.load(Ordering::SeqCst)), (vec!["a".to_owned(); 8], 3));
        assert_eq!(serving.model_or_ask(nobody()).await, "a");
    }

    #[tokio::test]
    async fn a_question_that_goes_away_holds_nobody_up() {
        let serving = Serving::default();
        let hangs = serving.model_or_ask(std::future::pending());
        assert!(futures::poll!(Box::pin(hangs)).is_pending());
        assert_eq!(serving.model_or_ask(async { Ok(Some(IndexSpec::of("a", "1", 2))) }).await, "a");
    }
}
