//! The layers of docs/architecture.md: a crate depends only on lower layers, services never on services.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Layer of each crate. Crates of one layer do not see each other; only `ragstone` sees services.
const LAYERS: [(&str, u8); 20] = [
    ("ragstone-core", 0),
    ("ragstone-proto", 0),
    ("ragstone-config", 1),
    ("ragstone-telemetry", 1),
    ("ragstone-resilience", 1),
    ("ragstone-auth", 2),
    ("ragstone-cache", 2),
    ("ragstone-vector", 2),
    ("ragstone-catalog", 2),
    ("ragstone-text", 2),
    ("ragstone-models", 2),
    ("ragstone-llm", 2),
    ("ragstone-rpc", 3),
    ("ragstone-gateway", 4),
    ("ragstone-embedding", 4),
    ("ragstone-retrieval", 4),
    ("ragstone-generation", 4),
    ("ragstone-ingestion", 4),
    ("ragstone", 5),
    ("ragstone-tests", 6),
];

/// The one exception within a layer: the wire contract converts to the domain types.
const WITHIN_A_LAYER: (&str, &str) = ("ragstone-proto", "ragstone-core");

/// Heavy or replaceable libraries, each with its only user.
const ONLY_USER: [(&str, &str); 11] = [
    ("llama-cpp-2", "ragstone-models"),
    ("fred", "ragstone-cache"),
    ("qdrant-edge", "ragstone-vector"),
    ("qdrant-client", "ragstone-vector"),
    ("sqlx", "ragstone-catalog"),
    ("object_store", "ragstone-catalog"),
    ("rten", "ragstone-models"),
    ("async-openai", "ragstone-llm"),
    ("moka", "ragstone-cache"),
    ("pdf-extract", "ragstone-text"),
    ("config", "ragstone-config"),
];

/// A second user, for a cache of its own that is never shared.
const ALSO: [(&str, &str); 1] = [("moka", "ragstone-auth")];

/// What tests may use besides: the testkit serves Qdrant's API over Qdrant's engine.
const FOR_TESTS: [&str; 2] = ["qdrant-edge", "qdrant-client"];

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let normal = |package: cargo_metadata::Package| {
        let names = package.dependencies.into_iter().filter(|d| d.kind == DependencyKind::Normal).map(|d| d.name);
        (package.name.to_string(), names.collect())
    };
    metadata.packages.into_iter().map(normal).collect()
}

#[test]
fn crates_depend_on_lower_layers_only() {
    let layers = BTreeMap::from(LAYERS);
    let mut wrong = Vec::new();
    for (package, dependencies) in dependencies() {
        if package == "ragstone-testkit" {
            continue; // for tests only, which the next test makes sure of
        }
        let Some(own) = layers.get(package.as_str()) else {
            wrong.push(format!("{package} has no layer"));
            continue;
        };
        for dependency in dependencies.iter().filter(|name| name.starts_with("ragstone")) {
            let lower = layers.get(dependency.as_str()).is_some_and(|layer| layer < own);
            if !lower && (package.as_str(), dependency.as_str()) != WITHIN_A_LAYER {
                wrong.push(format!("{package} must not depend on {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_testkit_is_for_tests_only() {
    for (package, dependencies) in dependencies() {
        assert!(!dependencies.contains(&"ragstone-testkit".to_owned()), "{package} ships the testkit");
    }
}

#[test]
fn replaceable_libraries_have_one_user() {
    for (package, dependencies) in dependencies() {
        for (library, user) in ONLY_USER {
            let uses = dependencies.iter().any(|name| name == library);
            let for_tests = package == "ragstone-testkit" && FOR_TESTS.contains(&library);
            let also = ALSO.contains(&(library, package.as_str()));
            assert!(
                !uses || package == user || also || for_tests,
                "{package} must not depend on {library}: {user} wraps it"
            );
        }
    }
}
