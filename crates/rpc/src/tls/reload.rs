//! Something made of files and made anew when they change; what is broken is reported and not taken over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ragstone_core::Result;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::files::PemFile;

/// How often the files are compared with what was read last. Kubernetes swaps a symlink, which many file watchers miss.
const POLL: Duration = Duration::from_secs(1);

/// What the files make, with the time their certificate ends, in seconds since 1970.
pub(super) struct Made<T> {
    pub(super) value: T,
    pub(super) ends: Option<i64>,
}

type Make<T> = Box<dyn Fn(&[PemFile]) -> Result<Made<T>> + Send + Sync>;

/// How files become something.
pub(crate) struct Recipe<T> {
    /// The section of the configuration, as metrics and log name it.
    pub(super) section: &'static str,
    /// Key and path of each file.
    pub(super) files: Vec<(&'static str, PathBuf)>,
    /// Makes it of the files, in their order.
    pub(super) make: Make<T>,
}

impl<T> Recipe<T> {
    fn read(&self) -> Result<Vec<PemFile>> {
        self.files.iter().map(|(key, path)| PemFile::read(&format!("{}.{key}", self.section), path)).collect()
    }

    /// Makes it once.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the setting.
    pub(crate) fn once(&self) -> Result<T> {
        Ok((self.make)(&self.read()?)?.value)
    }
}

/// The newest usable state of the files; dropping it ends the watching.
pub(crate) struct Reloaded<T> {
    current: watch::Receiver<Arc<T>>,
    watcher: AbortHandle,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Makes it for the first time and keeps it up to date from then on.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the setting.
    pub(crate) fn start(recipe: Recipe<T>) -> Result<Self> {
        let files = recipe.read()?;
        let made = (recipe.make)(&files)?;
        metrics::counter!("rag_tls_reload_failures_total", "section" => recipe.section).increment(0);
        show_end(recipe.section, made.ends);
        let (publish, current) = watch::channel(Arc::new(made.value));
        let watcher = tokio::spawn(follow(Arc::new(recipe), files, publish)).abort_handle();
        Ok(Self { current, watcher })
    }

    /// What the files said last.
    pub(crate) fn current(&self) -> Arc<T> {
        self.current.borrow().clone()
    }
}

impl<T> Drop for Reloaded<T> {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

async fn follow<T: Send + Sync + 'static>(
    recipe: Arc<Recipe<T>>,
    mut tried: Vec<PemFile>,
    publish: watch::Sender<Arc<T>>,
) {
    let mut failing = false;
    let mut seen = None;
    loop {
        tokio::time::sleep(POLL).await;
        let reader = Arc::clone(&recipe);
        let Ok(read) = tokio::task::spawn_blocking(move || reader.read()).await else { return };
        let files = match read {
            Ok(files) => files,
            // Said once, not every second.
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    report(recipe.section, &error);
                }
                continue;
            }
        };
        failing = false;
        if files == tried {
            continue;
        }
        // Certificate and key are two files: they are tried once they have stood still, not between two writes.
        if seen.as_ref() != Some(&files) {
            seen = Some(files);
            continue;
        }
        match (recipe.make)(&files) {
            Ok(made) => {
                show_end(recipe.section, made.ends);
                publish.send_replace(Arc::new(made.value));
                tracing::info!(section = recipe.section, "certificates read again");
            }
            Err(error) => report(recipe.section, &error),
        }
        tried = files;
    }
}

fn report(section: &'static str, error: &ragstone_core::Error) {
    metrics::counter!("rag_tls_reload_failures_total", "section" => section).increment(1);
    tracing::error!(
        section,
        error = error.chain(),
        "changed certificates cannot be used; the earlier ones stay in use"
    );
}

fn show_end(section: &'static str, ends: Option<i64>) {
    if let Some(ends) = ends {
        #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
        metrics::gauge!("rag_tls_certificate_expiry_seconds", "section" => section).set(ends as f64);
    }
}
