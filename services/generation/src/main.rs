//! The generation service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    ragstone_rpc::run("generation", ragstone_generation::serve)
}
