//! What a restored index holds, compared with what the catalog says is live.

use std::collections::HashMap;

use ragstone_core::ports::LiveDocument;
use ragstone_core::{DocumentId, TenantId};

use crate::payload::{Label, State};

/// Enough of a hash that no two versions are ever taken for one.
const KEY: usize = 16;

/// The versions of documents in an index: a few bytes each, as there may be millions.
#[derive(Debug, Default)]
pub struct Stock {
    versions: HashMap<[u8; KEY], Held>,
    points: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Held {
    /// Chunks that searches see.
    live: u32,
    /// Chunks that the version has.
    chunks: u32,
    /// It is what the catalog says.
    right: bool,
}

impl Stock {
    /// Counts a point in.
    pub(crate) fn add(&mut self, label: Option<&Label>) {
        self.points += 1;
        if let Some(label) = label {
            let held = self.versions.entry(key(&label.tenant, &label.document_id, label.version)).or_default();
            if label.state == State::Live {
                held.live += 1;
                held.chunks = label.chunks.and_then(|chunks| u32::try_from(chunks).ok()).unwrap_or_default();
            }
        }
    }

    /// Documents among `live` that the index does not hold, or not whole, in the version that is live; what it holds of the
    /// others is right. An index may have more chunks than the catalog: those too long for its model were cut once more.
    #[must_use]
    pub fn missing(&mut self, live: Vec<LiveDocument>) -> Vec<(TenantId, DocumentId)> {
        let missing = |document: &LiveDocument| {
            let held = self.versions.get_mut(&key(document.tenant.as_str(), document.id.as_str(), document.version));
            let whole = held.filter(|held| held.live == held.chunks && held.chunks >= document.chunks);
            whole.map(|held| held.right = true).is_none()
        };
        live.into_iter().filter(missing).map(|document| (document.tenant, document.id)).collect()
    }

    /// How many documents are right.
    #[must_use]
    pub fn right(&self) -> u64 {
        self.versions.values().filter(|held| held.right).count() as u64
    }

    /// How many versions of documents the catalog does not say are live, or that are not whole.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.versions.len() as u64 - self.right()
    }

    /// Whether there is a point that is not part of what is right.
    pub(crate) fn has_stray_points(&self) -> bool {
        let right = self.versions.values().filter(|held| held.right);
        right.map(|held| u64::from(held.live)).sum::<u64>() < self.points
    }

    /// Whether a point is part of what is right.
    pub(crate) fn is_right(&self, label: &Label) -> bool {
        let held = self.versions.get(&key(&label.tenant, &label.document_id, label.version));
        label.state == State::Live && held.is_some_and(|held| held.right)
    }
}

fn key(tenant: &str, document: &str, version: u64) -> [u8; KEY] {
    let mut hasher = blake3::Hasher::new();
    // With its length, so that no two pairs of names run together alike.
    hasher.update(&(tenant.len() as u64).to_le_bytes()).update(tenant.as_bytes()).update(document.as_bytes());
    hasher.update(&version.to_le_bytes());
    let mut key = [0; KEY];
    hasher.finalize_xof().fill(&mut key);
    key
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn label(document: &str, version: u64, chunk_index: u32, state: State, chunks: u64) -> Label {
        let (tenant, document_id) = ("t".to_owned(), document.to_owned());
        Label { tenant, document_id, version, chunk_index, state, chunks: Some(chunks) }
    }

    fn live(document: &str, version: u64, chunks: u32) -> LiveDocument {
        LiveDocument { tenant: TenantId::new("t").unwrap(), id: DocumentId::new(document).unwrap(), version, chunks }
    }

    #[test]
    fn only_whole_live_versions_are_right() {
        let mut stock = Stock::default();
        let points = [
            label("same", 1, 0, State::Live, 2),
            label("same", 1, 1, State::Live, 2),
            label("cut more finely", 1, 0, State::Live, 2),
            label("cut more finely", 1, 1, State::Live, 2),
            label("older", 1, 0, State::Live, 1),
            label("newer", 2, 0, State::Live, 1),
            label("deleted", 1, 0, State::Live, 1),
            label("incomplete", 1, 0, State::Live, 2),
            label("shorter", 1, 0, State::Live, 1),
            label("staged", 1, 0, State::Staged, 1),
        ];
        points.iter().for_each(|point| stock.add(Some(point)));
        stock.add(None);
        let catalog = [
            ("same", 1, 2),
            ("cut more finely", 1, 1),
            ("older", 2, 1),
            ("newer", 1, 1),
            ("incomplete", 1, 2),
            ("shorter", 1, 2),
            ("staged", 1, 1),
            ("never there", 1, 1),
        ];
        let missing = stock.missing(catalog.map(|(document, version, chunks)| live(document, version, chunks)).into());
        let missing: Vec<_> = missing.iter().map(|(_, document)| document.as_str()).collect();
        assert_eq!(missing, ["older", "newer", "incomplete", "shorter", "staged", "never there"]);
        assert_eq!((stock.right(), stock.strays(), stock.has_stray_points()), (2, 6, true));
        let kept: Vec<_> =
            points.iter().filter(|point| stock.is_right(point)).map(|p| p.document_id.as_str()).collect();
        assert_eq!(kept, ["same", "same", "cut more finely", "cut more finely"]);
    }

    #[test]
    fn nothing_is_stray_where_all_is_right() {
        let mut stock = Stock::default();
        stock.add(Some(&label("d", 3, 0, State::Live, 1)));
        assert!(stock.missing(vec![live("d", 3, 1)]).is_empty());
        assert!(!stock.has_stray_points());
        stock.add(Some(&label("d", 3, 1, State::Staged, 1)));
        assert!(stock.has_stray_points());
    }
}
