//! ragstone-config
