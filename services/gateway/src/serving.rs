//! Which model questions are embedded with: that of the index which serves, as the retrieval service last told it.

use std::sync::{PoisonError, RwLock};

use ragstone_core::IndexSpec;

/// The index that serves, as far as this gateway knows. Each search names the index its vector was made for, so that one
/// that is behind finds the earlier index, not nonsense, and learns of the new one by the answer.
#[derive(Debug, Default)]
pub(crate) struct Serving(RwLock<Option<IndexSpec>>);

impl Serving {
    /// The model to embed with; empty, which means the embedding service's default, until an index is known.
    pub(crate) fn model(&self) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|spec| spec.model.clone()).unwrap_or_default()
    }

    /// Remembers the index that serves. Whether that is another one than before.
    pub(crate) fn learn(&self, spec: IndexSpec) -> bool {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&spec) {
            return false;
        }
        tracing::info!(index = %spec.name, model = spec.model, "questions are embedded with this model from now on");
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(spec);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_word_counts() {
        let serving = Serving::default();
        assert_eq!(serving.model(), "");
        assert!(serving.learn(IndexSpec::of("a", "1", 2)));
        assert!(!serving.learn(IndexSpec::of("a", "1", 2)));
        assert!(serving.learn(IndexSpec::of("b", "1", 2)));
        assert_eq!(serving.model(), "b");
    }
}
