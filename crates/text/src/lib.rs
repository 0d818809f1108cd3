//! ragstone-text
