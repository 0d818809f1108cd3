//! ragstone-retrieval
