//! The retrieval service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    ragstone_rpc::run("retrieval", ragstone_retrieval::serve)
}
