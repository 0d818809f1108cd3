//! ragstone-embedding
