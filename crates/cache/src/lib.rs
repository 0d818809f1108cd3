//! ragstone-cache
