//! The smallest program that can be its own extraction worker, for tests and for hosts that cannot re-execute themselves.

fn main() {
    ragstone_text::sandbox::run_if_requested();
    eprintln!("this program is started by Ragstone to parse one document");
    std::process::exit(2);
}
