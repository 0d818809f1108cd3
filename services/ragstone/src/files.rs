//! Which files are documents: walking folders, document ids, content types.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use ragstone_core::DocumentId;
use ragstone_text::media_type_for_path;
use walkdir::{DirEntry, WalkDir};

use crate::failure::Failure;

/// A path that was named on the command line, canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root {
    /// The folder or file.
    pub(crate) path: PathBuf,
    /// What the ids of its documents begin with; for a single file its whole id.
    pub(crate) name: String,
    /// Whether it is a folder.
    pub(crate) folder: bool,
    /// The content type of a single file, where the user said it.
    pub(crate) media_type: Option<String>,
}

/// A file to ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) id: DocumentId,
    pub(crate) media_type: String,
}

/// What was found under the roots.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files to ingest, in a stable order.
    pub(crate) sources: Vec<Source>,
    /// How many files were left out, by extension (`.png`; empty for none).
    pub(crate) skipped: BTreeMap<String, usize>,
    /// What could not be read or named, and why.
    pub(crate) failed: Vec<(String, String)>,
}

impl Root {
    /// The root at `path`. Its ids begin with its last component, `docs` for `./x/docs/`, unless `id` is given.
    pub(crate) fn new(path: &Path, id: Option<&DocumentId>) -> Result<Self, Failure> {
        let cannot = |why: String| Failure::failed(format!("cannot read {}: {why}", path.display()));
        let canonical = path.canonicalize().map_err(|e| cannot(e.to_string()))?;
        let folder = canonical.is_dir();
        let name = match id {
            Some(id) => id.to_string(),
            None => name_of(path, &canonical).map_err(cannot)?,
        };
        Ok(Self { path: canonical, name, folder, media_type: None })
    }

    /// The id of the document at `path`, which is the root or below it.
    pub(crate) fn id_of(&self, path: &Path) -> Result<DocumentId, String> {
        let below = path.strip_prefix(&self.path).map_err(|_| "it is not below the folder".to_owned())?;
        let mut id = self.name.clone();
        for component in below.components() {
            let name = component.as_os_str().to_str().ok_or("its name is not UTF-8")?;
            id.push('/');
            id.push_str(name);
        }
        DocumentId::new(id).map_err(|e| e.message)
    }

    /// Lists what is to be ingested at `path`, which is the root or below it. Hidden files and folders are left
    /// out, links are not followed.
    pub(crate) fn list(&self, path: &Path, listing: &mut Listing) {
        let hidden_above = path.strip_prefix(&self.path).is_ok_and(|below| below.iter().any(is_hidden));
        if hidden_above {
            return;
        }
        let visible = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry.file_name());
        for entry in WalkDir::new(path).sort_by_file_name().into_iter().filter_entry(visible) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => self.add(entry.path(), listing),
                Ok(_) => {}
                Err(error) if error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(path).display().to_string();
                    listing.failed.push((path, error.to_string()));
                }
            }
        }
    }

    fn add(&self, path: &Path, listing: &mut Listing) {
        match (self.media_type_of(path), self.id_of(path)) {
            (Ok(Some(media_type)), Ok(id)) => listing.sources.push(Source { path: path.to_owned(), id, media_type }),
            (Ok(None), _) => {
                let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy().to_lowercase()));
                *listing.skipped.entry(extension.unwrap_or_default()).or_default() += 1;
            }
            (Err(why), _) | (_, Err(why)) => listing.failed.push((path.display().to_string(), why)),
        }
    }

    /// The content type of the file at `path`; `None` where it is none of the documents of a folder.
    fn media_type_of(&self, path: &Path) -> Result<Option<String>, String> {
        let read = || std::fs::read(path).map_err(|e| e.to_string());
        match (&self.media_type, media_type_for_path(path)) {
            (Some(said), _) => Ok(Some(said.clone())),
            // Most JSON files are no documents: settings, package lists, data.
            (None, Some(JSON)) if self.folder => Ok(is_document(&read()?).then(|| JSON.to_owned())),
            (None, Some(known)) => Ok(Some(known.to_owned())),
            (None, None) if self.folder => Ok(None),
            (None, None) => sniff(&read()?).map(|known| Some(known.to_owned())).ok_or_else(|| UNKNOWN_TYPE.to_owned()),
        }
    }
}

/// The name as it was typed, also when it is a link; `.` and `..` have none of their own.
fn name_of(path: &Path, canonical: &Path) -> Result<String, String> {
    let name = match path.components().next_back() {
        Some(Component::Normal(name)) => Some(name),
        _ => canonical.file_name(),
    };
    let name = name.ok_or("the root of the file system has no name to make ids from")?;
    name.to_str().map(str::to_owned).ok_or_else(|| "its name is not UTF-8; give an id with --id".to_owned())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().first() == Some(&b'.')
}

const JSON: &str = "application/json";
const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// Said where nothing tells what a file is.
pub(crate) const UNKNOWN_TYPE: &str = "it is neither text nor a known format; name it with --content-type";

/// The content type that `content` looks like; `None` when it is neither a known format nor text.
pub(crate) fn sniff(content: &[u8]) -> Option<&'static str> {
    if content.starts_with(b"%PDF-") {
        return Some("application/pdf");
    }
    if content.starts_with(b"PK\x03\x04") {
        return Some(DOCX);
    }
    let text = std::str::from_utf8(content).ok()?.trim_start_matches('\u{feff}').trim_start();
    let begins = |tag: &str| text.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag));
    if begins("<!doctype html") || begins("<html") {
        return Some("text/html");
    }
    Some(if is_document(content) { JSON } else { "text/plain" })
}

/// Whether `content` is a document in JSON: an object with a text.
fn is_document(content: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(content).is_ok_and(|value| value["text"].is_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "docs/a.md",
            "docs/sub/Größe (2).TXT",
            "docs/.git/b.md",
            "docs/.hidden.md",
            "docs/c.png",
            "docs/d",
            "docs/p.json",
            "docs/t.json",
        ] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, if file.ends_with("t.json") { r#"{"text":"x"}"# } else { "7" }).unwrap();
        }
        folder
    }

    fn list(path: &Path) -> Listing {
        let root = Root::new(path, None).unwrap();
        let mut listing = Listing::default();
        root.list(&root.path, &mut listing);
        listing
    }

    #[test]
    fn ids_begin_with_the_folder_and_hidden_files_stay_out() {
        let folder = tree();
        for path in [folder.path().join("docs"), folder.path().join("docs/"), folder.path().join("docs/sub/..")] {
            let listing = list(&path);
            let found: Vec<_> = listing.sources.iter().map(|s| (s.id.as_str(), s.media_type.as_str())).collect();
            assert_eq!(
                found,
                [("docs/a.md", "text/markdown"), ("docs/sub/Größe (2).TXT", "text/plain"), ("docs/t.json", JSON)]
            );
            let skipped = [("", 1), (".json", 1), (".png", 1)].map(|(extension, n)| (extension.to_owned(), n));
            assert_eq!(listing.skipped, BTreeMap::from(skipped));
            assert!(listing.failed.is_empty());
        }
    }

    #[test]
    fn a_single_file_is_taken_by_what_it_holds() {
        let folder = tree();
        let listing = list(&folder.path().join("docs/d"));
        assert_eq!((listing.sources[0].id.as_str(), &*listing.sources[0].media_type), ("d", "text/plain"));
        assert!(Root::new(&folder.path().join("missing"), None).unwrap_err().message.contains("missing"));
    }

    #[test]
    fn a_change_below_a_hidden_folder_is_not_listed() {
        let folder = tree();
        let root = Root::new(&folder.path().join("docs"), None).unwrap();
        let mut listing = Listing::default();
        root.list(&root.path.join(".git/b.md"), &mut listing);
        assert!(listing.sources.is_empty());
        root.list(&root.path.join("a.md"), &mut listing);
        assert_eq!(listing.sources[0].id.as_str(), "docs/a.md");
    }

    #[test]
    fn content_tells_its_type() {
        for (content, expected) in [
            (&b"%PDF-1.7"[..], Some("application/pdf")),
            (b"PK\x03\x04..", Some(DOCX)),
            (b"\n<!DOCTYPE HTML><p>", Some("text/html")),
            (br#"{"text": "a"}"#, Some("application/json")),
            (br#"{"a": 1}"#, Some("text/plain")),
            ("Grüße".as_bytes(), Some("text/plain")),
            (b"\xff\xfe\x00", None),
        ] {
            assert_eq!(sniff(content), expected, "{content:?}");
        }
    }
}
