//! ragstone-rpc
