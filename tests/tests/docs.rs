//! What the documentation says is what the code does.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

/// Compares a page with what the code makes of it; `make docs` writes it instead.
fn up_to_date(page: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    if std::env::var_os("RAGSTONE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let line = committed.lines().zip(generated.lines()).position(|(committed, generated)| committed != generated);
    assert!(
        committed == generated,
        "`make docs` renews docs/{page}; it differs from line {}",
        line.unwrap_or_default() + 1
    );
}

#[test]
fn the_configuration_page_is_up_to_date() {
    up_to_date("configuration.md", &ragstone::configuration_reference().unwrap());
}

#[test]
fn the_openapi_document_is_up_to_date() {
    up_to_date("openapi.json", &ragstone_gateway::openapi_document().unwrap());
}

/// The walkthroughs of the architecture page name files: each must exist.
#[test]
fn every_file_the_architecture_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let named: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| {
            let roots = ["crates/", "services/", "proto/", "tests/", "scripts/", "docs/"];
            roots.iter().any(|root| word.starts_with(root)) && !word.contains(['*', '<', ' '])
        })
        .collect();
    assert!(named.len() > 20, "the walkthroughs name their files: {named:?}");
    let missing: Vec<&&str> = named.iter().filter(|name| !root.join(name).exists()).collect();
    assert!(missing.is_empty(), "docs/architecture.md names what does not exist: {missing:?}");
}
