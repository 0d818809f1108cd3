//! Implementations of the `Cache` port.

mod memory;

pub use memory::MemoryCache;
