//! ragstone-gateway
