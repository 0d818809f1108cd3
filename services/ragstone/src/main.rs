//! The `ragstone` binary: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ragstone_text::sandbox::run_if_requested();
    ragstone::main()
}
