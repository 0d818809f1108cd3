//! What llama.cpp says while it loads a model: kept as the reason of a failure instead of a hundred lines in the log.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Runs `work` on this thread; its warnings and errors, and those of llama.cpp under it, are returned, one a line.
pub(super) fn listen<T>(work: impl FnOnce() -> T) -> (T, String) {
    let heard = Heard::default();
    let result = tracing::subscriber::with_default(heard.clone(), work);
    let mut lines = std::mem::take(&mut *heard.0.lock().unwrap_or_else(PoisonError::into_inner));
    lines.dedup();
    (result, lines.join("\n"))
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value.trim());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.push_str(format!("{value:?}").trim());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_and_errors_are_kept_in_order() {
        let (result, heard) = listen(|| {
            tracing::error!("first {}", 1);
            tracing::info!("loud");
            let _span = tracing::info_span!("span").entered();
            tracing::warn!(message = "second\n");
            tracing::warn!(message = "second\n");
            7
        });
        assert_eq!((result, heard.as_str()), (7, "first 1\nsecond"));
    }
}
