//! ragstone-tests
