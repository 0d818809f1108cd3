//! The gateway as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    ragstone_rpc::run::<ragstone_gateway::Config, _, _>("gateway", ragstone_gateway::serve)
}
