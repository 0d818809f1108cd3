//! ragstone-resilience
