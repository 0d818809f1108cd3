//! The wire contract: code generated from /proto, and conversions between it and the domain types.

mod audit;
mod caller;
mod convert;
mod document;
mod index;
mod json;
mod search;

pub use audit::{audit_filter, feedback};
pub use caller::{caller, new_key, optional_time, time};
pub use convert::{enum_value, required, uuid_job};
pub use index::index_name;
pub use json::{metadata_from_struct, metadata_to_struct};

/// Generated messages, clients and servers of `ragstone.v1`.
pub mod v1 {
    #![expect(clippy::all, clippy::allow_attributes, reason = "generated; the documentation is in /proto")]
    tonic::include_proto!("ragstone.v1");
}

/// All protos with their imports, as reflection serves them.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ragstone.bin"));
