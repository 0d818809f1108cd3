//! ragstone-generation
