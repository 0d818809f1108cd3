//! ragstone-catalog
