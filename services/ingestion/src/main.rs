//! The ingestion service as a process of its own; also the worker that its extractor starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    ragstone_text::sandbox::run_if_requested();
    ragstone_rpc::run("ingestion", ragstone_ingestion::serve)
}
