//! ragstone-ingestion
