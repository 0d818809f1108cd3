//! ragstone-vector
