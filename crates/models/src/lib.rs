//! ragstone-models
