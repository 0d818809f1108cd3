//! `--watch`: sends files that change and deletes the documents of files that are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use ragstone_core::DocumentId;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::send::Sender;
use crate::Session;
use crate::client::RequestError;
use crate::failure::{Exit, Failure};
use crate::files::{Listing, Root, Source};
use crate::output::note;
use crate::upload::UploadError;

/// A change is acted on when nothing else has changed for this long,
const QUIET: Duration = Duration::from_millis(300);
/// and in any case after this long.
const LONGEST_QUIET: Duration = Duration::from_secs(5);
/// When a server that was gone is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// Collects the paths below the roots that change.
pub(super) struct Watcher {
    changes: Arc<Changes>,
    /// Watches until it is dropped.
    _watcher: RecommendedWatcher,
}

#[derive(Default)]
struct Changes {
    /// Every changed path once: never more than there are files.
    paths: Mutex<BTreeSet<PathBuf>>,
    arrived: Notify,
}

impl Changes {
    fn add(&self, paths: impl IntoIterator<Item = PathBuf>) {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).extend(paths);
        self.arrived.notify_one();
    }

    /// The changed paths, once there are some and it has become quiet.
    async fn next(&self) -> BTreeSet<PathBuf> {
        self.arrived.notified().await;
        let latest = Instant::now() + LONGEST_QUIET;
        while Instant::now() < latest && timeout(QUIET, self.arrived.notified()).await.is_ok() {}
        std::mem::take(&mut *self.paths.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watcher {
    /// Begins to watch `roots`.
    pub(super) fn start(roots: &[Root]) -> Result<Self, Failure> {
        let cannot = |e: notify::Error| {
            Failure::failed(format!("cannot watch: {e}"))
                .advise("Large trees may need a higher fs.inotify.max_user_watches.")
        };
        let changes = Arc::new(Changes::default());
        let (sink, all) = (Arc::clone(&changes), roots.to_vec());
        let on_event = move |event: notify::Result<notify::Event>| match event {
            Ok(event) if event.need_rescan() => sink.add(all.iter().map(|root| root.path.clone())),
            // Reading is no change: acting on it would go round for ever.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
            Ok(event) => sink.add(event.paths.into_iter().filter(|path| root_of(&all, path).is_some())),
            Err(error) => note(&format!("warning: watching: {error}")),
        };
        let mut watcher = notify::recommended_watcher(on_event).map_err(cannot)?;
        for root in roots {
            // Editors replace files: a watch on the file itself would end with the first change.
            let (path, mode) = match root.path.parent() {
                Some(parent) if !root.folder => (parent, RecursiveMode::NonRecursive),
                _ => (root.path.as_path(), RecursiveMode::Recursive),
            };
            watcher.watch(path, mode).map_err(cannot)?;
        }
        Ok(Self { changes, _watcher: watcher })
    }
}

fn root_of<'a>(roots: &'a [Root], path: &Path) -> Option<&'a Root> {
    roots.iter().find(|root| path.starts_with(&root.path))
}

/// Acts on changes until Ctrl-C. `known` are the documents of the files that have been sent.
pub(super) async fn run(
    watcher: Watcher,
    sender: &Sender,
    roots: &[Root],
    mut known: BTreeMap<PathBuf, DocumentId>,
    session: &mut Session,
) -> Result<(), Failure> {
    note("watching for changes; Ctrl-C ends it");
    let interrupt = session.interrupt.clone();
    let work = async {
        loop {
            let paths = watcher.changes.next().await;
            if let Err(error) = act(&paths, sender, roots, &mut known, session).await {
                if error.exit != Exit::Unreachable {
                    return Err(error);
                }
                note(&format!("warning: {}; trying again", error.message));
                tokio::time::sleep(RETRY).await;
                watcher.changes.add(paths);
            }
        }
    };
    tokio::select! {
        result = work => result,
        () = interrupt.cancelled() => Err(Failure::silent(Exit::Interrupted)),
    }
}

/// Brings the server up to date with `paths`.
async fn act(
    paths: &BTreeSet<PathBuf>,
    sender: &Sender,
    roots: &[Root],
    known: &mut BTreeMap<PathBuf, DocumentId>,
    session: &mut Session,
) -> Result<(), Failure> {
    // A folder that was moved away or unmounted is no wish to lose all its documents.
    if let Some(root) = roots.iter().find(|root| root.folder && !root.path.exists()) {
        return Err(Failure::failed(format!("{} is gone; its documents are left as they are", root.path.display())));
    }
    let plan = Plan::new(paths, roots, known);
    for (path, why) in &plan.listing.failed {
        note(&format!("failed: {path}: {why}"));
    }
    for path in plan.removed {
        let Some(id) = known.get(&path) else { continue };
        match sender.client.delete(id).await {
            Ok(_) => session.out.line(&format!("deleted {id}"))?,
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(error) => note(&format!("failed: {id}: {error}")),
        }
        known.remove(&path);
    }
    for source in plan.listing.sources {
        send(&source, sender, session).await?;
        known.insert(source.path, source.id);
    }
    Ok(())
}

async fn send(source: &Source, sender: &Sender, session: &mut Session) -> Result<(), Failure> {
    match sender.send_file(source).await {
        Ok(accepted) if accepted.unchanged => Ok(()),
        Ok(accepted) => session.out.line(&format!("sent {} (version {})", source.id, accepted.version)),
        Err(UploadError::Request(error @ RequestError::Unreachable { .. })) => Err(error.into()),
        Err(error) if error.is_fatal() => Err(error.into()),
        Err(error) => {
            note(&format!("failed: {}: {error}", source.id));
            Ok(())
        }
    }
}

/// What changed paths ask for.
struct Plan {
    /// Files whose documents must go.
    removed: Vec<PathBuf>,
    /// Files to send.
    listing: Listing,
}

impl Plan {
    fn new(paths: &BTreeSet<PathBuf>, roots: &[Root], known: &BTreeMap<PathBuf, DocumentId>) -> Self {
        let mut listing = Listing::default();
        let mut removed = BTreeSet::new();
        for path in paths {
            let gone = known.range::<Path, _>((std::ops::Bound::Included(path.as_path()), std::ops::Bound::Unbounded));
            let below = gone.map(|(file, _)| file).take_while(|file| file.starts_with(path));
            removed.extend(below.filter(|file| !file.exists()).cloned());
            if let Some(root) = root_of(roots, path) {
                root.list(path, &mut listing);
            }
        }
        // A new folder is reported with its files: each is sent once.
        listing.sources.sort_by(|a, b| a.path.cmp(&b.path));
        listing.sources.dedup();
        Self { removed: removed.into_iter().collect(), listing }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn folder(files: &[&str]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join("docs").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let root = Root::new(&folder.path().join("docs"), None).unwrap();
        (folder, root)
    }

    #[test]
    fn a_removed_folder_takes_its_documents_and_no_others() {
        let (_folder, root) = folder(&["sub/a.md", "sub/b.md", "sub.md", "z.md"]);
        let known = ["sub/a.md", "sub/b.md", "sub.md", "z.md"]
            .map(|file| (root.path.join(file), root.id_of(&root.path.join(file)).unwrap()));
        std::fs::remove_dir_all(root.path.join("sub")).unwrap();
        let plan = Plan::new(&[root.path.join("sub")].into(), std::slice::from_ref(&root), &known.into());
        assert_eq!(plan.removed, [root.path.join("sub/a.md"), root.path.join("sub/b.md")]);
        assert!(plan.listing.sources.is_empty());
    }

    #[test]
    fn a_new_folder_and_its_file_are_sent_once() {
        let (_folder, root) = folder(&["new/a.md"]);
        let paths = [root.path.join("new"), root.path.join("new/a.md")].into();
        let plan = Plan::new(&paths, std::slice::from_ref(&root), &BTreeMap::new());
        assert_eq!(plan.listing.sources.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["docs/new/a.md"]);
    }

    #[tokio::test]
    async fn a_write_is_seen_and_reading_is_not() {
        let (_folder, root) = folder(&["a.md", "b.md"]);
        let watcher = Watcher::start(std::slice::from_ref(&root)).unwrap();
        std::fs::read(root.path.join("b.md")).unwrap();
        std::fs::write(root.path.join("a.md"), "changed").unwrap();
        let paths = timeout(Duration::from_secs(10), watcher.changes.next()).await.unwrap();
        assert_eq!(paths, [root.path.join("a.md")].into());
    }
}
