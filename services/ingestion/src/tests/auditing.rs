//! What administrators do leaves its trace.

use ragstone_core::AuditFilter;
use ragstone_core::ports::Ledger as _;

use super::fixture::{Fixture, asker, tenant};

async fn trace(f: &Fixture) -> Vec<(&'static str, String)> {
    let log = f.catalog.audit(&tenant(), 0, 100, AuditFilter::default()).await.unwrap();
    log.into_iter().map(|entry| (entry.action.as_str(), entry.object_id)).collect()
}

#[tokio::test]
async fn changes_of_indexes_are_noted_and_refused_ones_are_not() {
    let f = Fixture::new().await;
    f.put("d", "words").await;
    f.work().await;
    let written = vec![("document.write", "d".to_owned())];
    assert_eq!(trace(&f).await, written, "the first index makes itself");
    assert!(f.indexes.begin_reindex(&asker(), "m").await.is_err(), "it serves already");
    assert!(f.indexes.reshard(&asker(), &[]).await.is_err());
    assert_eq!(trace(&f).await, written);

    let begun = f.indexes.begin_reindex(&asker(), "n").await.unwrap().index.spec.name;
    // Going on with it is something somebody did, too.
    f.indexes.begin_reindex(&asker(), "n").await.unwrap();
    f.work().await;
    f.indexes.switch(&asker(), Some(begun.clone())).await.unwrap();
    assert!(f.indexes.drop_index(&asker(), &begun).await.is_err(), "it serves");
    f.indexes.reshard(&asker(), &["s0".to_owned(), "s9".to_owned()]).await.unwrap();
    let name = begun.to_string();
    let expected = [
        ("document.write", "d"),
        ("reindex.begin", name.as_str()),
        ("reindex.begin", name.as_str()),
        ("index.switch", name.as_str()),
        ("reshard.begin", "s0 s9"),
    ];
    assert_eq!(trace(&f).await, expected.map(|(action, object)| (action, object.to_owned())));
}
