//! The embedding service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    ragstone_rpc::run("embedding", ragstone_embedding::serve)
}
