//! No caller ever finds a chunk of another tenant, or one whose groups it shares none of.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ragstone_core::ports::VectorStore;
use ragstone_core::{Access, Filter, GroupAccess, SearchMode};

use crate::contract::{Fixture, documents_found, fresh, point, put, query, tenant};

const TENANTS: [&str; 3] = ["acme", "acme2", "globex"];
const GROUPS: [&str; 4] = ["hr", "it", "legal", "it-admin"];

/// Every subset of the groups, in every tenant.
fn documents() -> Vec<(&'static str, String, BTreeSet<String>)> {
    let subset = |bits: usize| GROUPS.iter().enumerate().filter(move |(n, _)| bits >> n & 1 == 1);
    TENANTS
        .iter()
        .flat_map(|tenant| (0..16).map(move |bits| (*tenant, bits)))
        .map(|(tenant, bits)| (tenant, format!("doc{bits}"), subset(bits).map(|(_, g)| (*g).to_owned()).collect()))
        .collect()
}

pub(crate) async fn tenants_and_groups_never_cross(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    for (tenant, document, groups) in documents() {
        let mut only = point(tenant, &document, 1, 0, "shared words");
        only.groups = groups.into_iter().collect();
        put(&*store, vec![only]).await;
    }
    tokio::task::block_in_place(|| agrees_with_the_documents(&*store));
}

fn agrees_with_the_documents(store: &dyn VectorStore) {
    let runtime = tokio::runtime::Handle::current();
    let groups = prop::option::of(prop::collection::btree_set(prop::sample::select(GROUPS.to_vec()), 0..4));
    let mode = prop::sample::select(vec![SearchMode::Hybrid, SearchMode::Dense, SearchMode::Keyword]);
    // A filter of the caller's own may narrow what it sees, never widen it.
    let filter = prop::sample::select(vec![
        r#"{}"#,
        r#"{"should": [{"key": "document_id", "match": ["doc0", "doc3", "doc15"]}]}"#,
        r#"{"must_not": [{"key": "document_id", "match": "doc1"}]}"#,
    ]);
    let tenants = prop::sample::select(TENANTS.to_vec());
    let mut runner = proptest::test_runner::TestRunner::default();
    let outcome = runner.run(&(tenants, groups, mode, filter), |(name, groups, mode, filter)| {
        let filter: Filter = serde_json::from_str(filter).unwrap();
        let groups: Option<BTreeSet<String>> = groups.map(|set| set.into_iter().map(str::to_owned).collect());
        let mut search = query(name, "shared words", mode, 100);
        let access = groups.clone().map_or(GroupAccess::All, GroupAccess::Groups);
        search.access = Access { tenant: tenant(name), groups: access };
        let only = !filter.should.is_empty();
        let except = !filter.must_not.is_empty();
        search.filter = filter;
        let found = runtime.block_on(documents_found(store, search));
        let mut expected: Vec<String> = documents()
            .into_iter()
            .filter(|(owner, document, needed)| {
                *owner == name
                    && groups.as_ref().is_none_or(|mine| needed.is_empty() || !needed.is_disjoint(mine))
                    && (!only || ["doc0", "doc3", "doc15"].contains(&document.as_str()))
                    && (!except || document != "doc1")
            })
            .map(|(_, document, _)| document)
            .collect();
        expected.sort();
        prop_assert_eq!(found, expected);
        Ok(())
    });
    outcome.unwrap();
}
