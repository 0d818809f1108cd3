//! ragstone-testkit
