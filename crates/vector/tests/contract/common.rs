//! Builders that the tests share.

use ragstone_core::ports::{Point, VectorStore};
use ragstone_core::{
    Access, Chunk, DocumentId, Filter, GroupAccess, IndexSpec, Metadata, SearchMode, TenantId, VectorQuery,
};

/// Length of the test vectors.
pub(crate) const DIMENSION: usize = 8;

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(crate) fn document(name: &str) -> DocumentId {
    DocumentId::new(name).unwrap()
}

/// What the tests' index holds.
pub(crate) fn spec() -> IndexSpec {
    IndexSpec::of("model", "test-1", DIMENSION)
}

/// A unit vector that depends on `seed`.
pub(crate) fn vector(seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    (0..DIMENSION)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}

/// A chunk of an English document without groups or metadata.
pub(crate) fn point(tenant_name: &str, document_name: &str, version: u64, index: u32, content: &str) -> Point {
    Point {
        tenant: tenant(tenant_name),
        document_id: document(document_name),
        version,
        chunk: Chunk {
            index,
            content: content.to_owned(),
            heading_path: Vec::new(),
            start: 0,
            end: content.chars().count() as u64,
            tokens: 1,
        },
        title: String::new(),
        metadata: Metadata::new(),
        groups: Vec::new(),
        language: Some("eng".to_owned()),
        injection_score: 0.0,
        vector: vector(u64::from(index) + 1),
    }
}

/// Stores the points of one version and publishes it.
pub(crate) async fn put(store: &dyn VectorStore, points: Vec<Point>) {
    let (tenant, document, version) = (points[0].tenant.clone(), points[0].document_id.clone(), points[0].version);
    let chunks = points.len() as u32;
    store.upsert_staged(points).await.unwrap();
    store.publish(&tenant, &document, version, chunks).await.unwrap();
}

pub(crate) fn everything(tenant_name: &str) -> Access {
    Access { tenant: tenant(tenant_name), groups: GroupAccess::All }
}

pub(crate) fn query(tenant_name: &str, text: &str, mode: SearchMode, k: usize) -> VectorQuery {
    VectorQuery {
        access: everything(tenant_name),
        text: text.to_owned(),
        vector: Some(vector(1)),
        mode,
        k,
        filter: Filter::default(),
    }
}

/// (document, version, chunk) of each hit, best first.
pub(crate) async fn hits(store: &dyn VectorStore, query: VectorQuery) -> Vec<(String, u64, u32)> {
    let found = store.search(query).await.unwrap();
    found.hits.into_iter().map(|hit| (hit.document_id.to_string(), hit.version, hit.chunk_index)).collect()
}

/// The documents found, in order of their names.
pub(crate) async fn documents_found(store: &dyn VectorStore, query: VectorQuery) -> Vec<String> {
    let mut found: Vec<String> = hits(store, query).await.into_iter().map(|hit| hit.0).collect();
    found.sort();
    found
}
