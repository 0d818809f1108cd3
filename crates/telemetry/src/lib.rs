//! ragstone-telemetry
