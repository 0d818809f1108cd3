//! A chunk: the unit that is embedded, searched and cited.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DocumentId, TenantId};

/// One piece of a document's extracted text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Position in the document, from 0.
    pub index: u32,
    /// The text itself, exactly as in the document.
    pub content: String,
    /// The headings above it, outermost first.
    pub heading_path: Vec<String>,
    /// Where it begins in the extracted text, in characters (Unicode scalar values).
    pub start: u64,
    /// Where it ends (exclusive), in characters.
    pub end: u64,
    /// Its length in the embedding model's tokens, special tokens not counted.
    pub tokens: u32,
}

/// The namespace of all point ids; fixed for ever, as stored points carry ids made from it.
const POINT_NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_0b1e_7c1a_4e0a_9c53_52a4_9d3b_7e11);

/// The vector store's id of a chunk: UUIDv5 of tenant, document, version and chunk index, so that storing twice
/// changes nothing. Parts are length-prefixed, so no two tuples collide by concatenation.
#[must_use]
pub fn point_id(tenant: &TenantId, document: &DocumentId, version: u64, chunk: u32) -> Uuid {
    let mut name = Vec::with_capacity(tenant.as_str().len() + document.as_str().len() + 28);
    for part in [tenant.as_str().as_bytes(), document.as_str().as_bytes()] {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    name.extend_from_slice(&version.to_be_bytes());
    name.extend_from_slice(&chunk.to_be_bytes());
    Uuid::new_v5(&POINT_NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn point_ids_are_stable_and_distinct() {
        let id = |t: &str, d: &str, v, c| point_id(&TenantId::new(t).unwrap(), &DocumentId::new(d).unwrap(), v, c);
        assert_eq!(id("t", "d", 1, 0), id("t", "d", 1, 0));
        assert_eq!(id("t", "d", 1, 0).to_string(), "de251ec7-67ae-5a9d-8457-0f87062fc6ab");
        assert_ne!(id("t", "d", 1, 0), id("t", "d", 1, 1));
        assert_ne!(id("t", "d", 1, 0), id("t", "d", 2, 0));
        assert_ne!(id("ab", "c", 1, 0), id("a", "bc", 1, 0));
    }
}
