//! From messages to what the store takes: every field checked, whatever is missing named.

use ragstone_core::ports::Point;
use ragstone_core::{Chunk, DocumentId, Error, Result, SearchMode, TenantId, VectorQuery};
use ragstone_proto::{enum_value, metadata_from_struct, required, v1};

/// The most hits of one search.
const MAX_K: u32 = 100;
/// The most chunks of one write.
const MAX_CHUNKS: usize = 100;

pub(crate) fn ids(tenant: String, document: String) -> Result<(TenantId, DocumentId)> {
    Ok((TenantId::new(tenant)?, DocumentId::new(document)?))
}

pub(crate) fn vector_query(request: v1::RetrieveRequest) -> Result<VectorQuery> {
    let mode: SearchMode = enum_value::<v1::SearchMode>(request.mode, "mode")?.into();
    if request.k == 0 || request.k > MAX_K {
        return Err(Error::invalid(format!("k must be 1 to {MAX_K}, not {}", request.k)));
    }
    if request.vector.is_empty() && mode != SearchMode::Keyword {
        return Err(Error::invalid(format!("field 'vector' is missing for a {} search", mode.as_str())));
    }
    Ok(VectorQuery {
        access: required(request.access, "access")?.try_into()?,
        text: request.query,
        vector: Some(request.vector).filter(|vector| !vector.is_empty()),
        mode,
        k: request.k as usize,
        filter: request.filter.unwrap_or_default().try_into()?,
    })
}

pub(crate) fn points(request: v1::StageChunksRequest) -> Result<Vec<Point>> {
    let (tenant, document_id) = ids(request.tenant, request.document_id)?;
    if request.version == 0 {
        return Err(Error::invalid("field 'version' is missing"));
    }
    if request.chunks.is_empty() || request.chunks.len() > MAX_CHUNKS {
        let count = request.chunks.len();
        return Err(Error::invalid(format!("1 to {MAX_CHUNKS} chunks can be stored at once, not {count}")));
    }
    let metadata = request.metadata.map(metadata_from_struct).unwrap_or_default();
    let language = Some(request.language).filter(|language| !language.is_empty());
    let point = |chunk: v1::StagedChunk| Point {
        tenant: tenant.clone(),
        document_id: document_id.clone(),
        version: request.version,
        chunk: Chunk {
            index: chunk.index,
            content: chunk.content,
            heading_path: chunk.heading_path,
            start: chunk.start,
            end: chunk.end,
            tokens: chunk.tokens,
        },
        title: request.title.clone(),
        metadata: metadata.clone(),
        groups: request.groups.clone(),
        language: language.clone(),
        // What is no number could never be filtered away.
        injection_score: if chunk.injection_score.is_finite() { chunk.injection_score } else { 1.0 },
        vector: chunk.vector,
    };
    Ok(request.chunks.into_iter().map(point).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn search() -> v1::RetrieveRequest {
        let access = v1::Access { tenant: "t".into(), all_groups: true, groups: vec![] };
        v1::RetrieveRequest { access: Some(access), query: "q".into(), vector: vec![1.0], k: 5, ..Default::default() }
    }

    #[test]
    fn a_whole_search_is_understood() {
        let query = vector_query(search()).unwrap();
        assert_eq!((query.k, query.mode, query.vector), (5, SearchMode::Hybrid, Some(vec![1.0])));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (request, says) in [
            (v1::RetrieveRequest { access: None, ..search() }, "access"),
            (v1::RetrieveRequest { k: 0, ..search() }, "k must"),
            (v1::RetrieveRequest { k: 101, ..search() }, "k must"),
            (v1::RetrieveRequest { vector: vec![], ..search() }, "vector"),
            (v1::RetrieveRequest { mode: 9, ..search() }, "mode"),
        ] {
            assert!(vector_query(request).unwrap_err().message.contains(says), "{says}");
        }
        let write = v1::StageChunksRequest { tenant: "t".into(), document_id: "d".into(), ..Default::default() };
        assert!(points(write.clone()).unwrap_err().message.contains("version"));
        assert!(points(v1::StageChunksRequest { version: 1, ..write }).unwrap_err().message.contains("chunks"));
    }
}
