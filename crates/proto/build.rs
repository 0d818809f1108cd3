//! Generates the gRPC code from /proto in pure Rust: protox parses, no installed protoc is needed.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = ["common", "embedding", "retrieval", "generation", "ingestion", "access", "gateway"]
        .map(|name| format!("ragstone/v1/{name}.proto"));
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    // For reflection; encoded by protox itself, so that nothing is lost on the way.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("ragstone.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
