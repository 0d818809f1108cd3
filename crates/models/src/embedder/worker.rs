//! The threads that tokenise and run batches.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use rten::ThreadPool;

use super::{
    error::EncodeError,
    network::Encoder,
    queue::{Item, Queue, Request, Task},
};

struct Worker {
    queue: Arc<Queue>,
    encoder: Arc<dyn Encoder>,
    only_questions: bool,
    /// For when other batches run: splitting one batch over threads costs more than running two side by side.
    narrow: Arc<ThreadPool>,
    /// All processors for a batch that runs alone.
    wide: Arc<ThreadPool>,
    dimension: usize,
}

/// Starts `threads` workers and one more that serves only questions.
pub(super) fn start_all(
    queue: &Arc<Queue>,
    encoder: &Arc<dyn Encoder>,
    threads: usize,
    dimension: usize,
) -> io::Result<()> {
    let wide = Arc::new(ThreadPool::with_num_threads(threads));
    for number in 0..=threads {
        let worker = Worker {
            queue: queue.clone(),
            encoder: encoder.clone(),
            only_questions: number == threads,
            narrow: Arc::new(ThreadPool::with_num_threads(1)),
            wide: wide.clone(),
            dimension,
        };
        std::thread::Builder::new().name(format!("embed-{number}")).spawn(move || worker.work())?;
    }
    Ok(())
}

impl Worker {
    fn work(&self) {
        while let Some(task) = self.queue.next(self.only_questions) {
            match task {
                Task::Tokenise(request) => self.tokenise(&request),
                Task::Run { items, alone } => self.run(items, alone),
            }
        }
    }

    fn tokenise(&self, request: &Arc<Request>) {
        let all = || request.texts.iter().enumerate().map(|(index, text)| self.encoder.tokenise(index, text)).collect();
        match contained(all) {
            Ok(ids) => self.queue.ready(request, ids),
            Err(error) => self.fail(request, &error),
        }
    }

    fn run(&self, items: Vec<Item>, alone: bool) {
        let span = tracing::debug_span!("embed_batch", texts = items.len());
        for item in &items {
            span.follows_from(&item.request.span);
        }
        let _entered = span.enter();
        metrics::histogram!("rag_embedding_batch_size").record(items.len() as f64);
        let started = Instant::now();
        let batch: Vec<&[u32]> = items.iter().map(|item| item.ids.as_slice()).collect();
        let pool = if alone { &self.wide } else { &self.narrow };
        let result = contained(|| self.encoder.encode(&batch, pool));
        self.queue.finished(items.len(), started.elapsed());
        match result {
            Ok(vectors) => {
                for (item, vector) in items.iter().zip(vectors) {
                    match self.validate(&vector) {
                        Ok(()) => item.request.fill(item.index, vector),
                        Err(error) => self.fail(&item.request, &error),
                    }
                }
            }
            Err(error) => items.iter().for_each(|item| self.fail(&item.request, &error)),
        }
    }

    fn validate(&self, vector: &[f32]) -> Result<(), EncodeError> {
        let length: f32 = vector.iter().map(|value| value * value).sum();
        // Also false for a vector with a value that is not a number.
        if vector.len() == self.dimension && (length - 1.0).abs() < 1e-3 {
            return Ok(());
        }
        metrics::counter!("rag_errors_total", "type" => "embedding_invalid").increment(1);
        Err(EncodeError::Invalid)
    }

    fn fail(&self, request: &Arc<Request>, error: &EncodeError) {
        self.queue.fail(request, error.reply());
    }
}

/// Runs `work` and turns a panic in it into an error, so that one bad input cannot end the thread.
fn contained<T>(work: impl FnOnce() -> Result<T, EncodeError>) -> Result<T, EncodeError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = message(panic.as_ref());
        tracing::error!(message, "the embedding model panicked");
        Err(EncodeError::Panic(message))
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
