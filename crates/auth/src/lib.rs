//! ragstone-auth
