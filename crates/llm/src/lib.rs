//! ragstone-llm
