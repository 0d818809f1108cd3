//! Indexes and their shards to and from the wire.

use ragstone_core::{Error, IndexName, IndexSpec, IndexState, Result, Topology};

use crate::v1;

impl From<IndexSpec> for v1::IndexSpec {
    fn from(spec: IndexSpec) -> Self {
        Self {
            name: spec.name.into(),
            model: spec.model,
            revision: spec.revision,
            dimension: u32::try_from(spec.dimension).unwrap_or(u32::MAX),
        }
    }
}

impl TryFrom<v1::IndexSpec> for IndexSpec {
    type Error = Error;

    fn try_from(spec: v1::IndexSpec) -> Result<Self> {
        if spec.dimension == 0 {
            return Err(Error::invalid("field 'dimension' is missing"));
        }
        let name = IndexName::new(spec.name)?;
        Ok(Self { name, model: spec.model, revision: spec.revision, dimension: spec.dimension as usize })
    }
}

impl From<Topology> for v1::Topology {
    fn from(topology: Topology) -> Self {
        Self { shards: topology.shards, moving_to: topology.moving_to.unwrap_or_default() }
    }
}

impl From<v1::Topology> for Topology {
    fn from(topology: v1::Topology) -> Self {
        let moving_to = Some(topology.moving_to).filter(|shards| !shards.is_empty());
        Self { shards: topology.shards, moving_to }
    }
}

impl From<IndexState> for v1::IndexState {
    fn from(state: IndexState) -> Self {
        match state {
            IndexState::Building => Self::Building,
            IndexState::Serving => Self::Serving,
            IndexState::Standby => Self::Standby,
        }
    }
}

/// The name in a field that names an index; `None` where it is empty: the one that serves.
///
/// # Errors
/// `InvalidArgument` for what is no name.
pub fn index_name(field: String) -> Result<Option<IndexName>> {
    if field.is_empty() { Ok(None) } else { IndexName::new(field).map(Some) }
}
