//! What the contract does not ask: payload indexes that come into use, and readers that know less than writers.

use std::time::{Duration, Instant};

use ragstone_core::SearchMode;
use serde_json::json;

use crate::common::{Server, hits, point, put, query, servers};

#[tokio::test(flavor = "multi_thread")]
async fn filters_mean_the_same_with_and_without_payload_indexes() {
    let documents = [
        json!({"lang": "de", "year": 2020, "tags": ["a", "b"], "draft": true, "nested": {"my key": "x"}}),
        json!({"lang": "en", "year": 2021.5, "score": 2.5, "tags": [], "draft": false}),
        json!({"lang": null, "year": "2020", "tags": "a", "mixed": [1, "a", true, 2.5]}),
        json!({"year": [2019, 2021], "mixed": ["1", false]}),
    ];
    for server in servers("filters").await {
        let store = server.store().await;
        for (n, metadata) in documents.iter().enumerate() {
            let mut only = point("t", &format!("d{n}"), 1, 0, "text");
            only.metadata = metadata.as_object().unwrap().clone();
            put(&*store, vec![only]).await;
        }
        // Twice: an index is made in the background when a field is first named.
        for turn in 0..2 {
            for (condition, expected) in [
                (json!({"key": "metadata.lang", "match": "de"}), vec!["d0"]),
                (json!({"key": "metadata.year", "match": 2020}), vec!["d0"]),
                (json!({"key": "metadata.year", "gte": 2020.5, "lt": 2022}), vec!["d1", "d3"]),
                (json!({"key": "metadata.tags", "match": ["a", "z"]}), vec!["d0", "d2"]),
                (json!({"key": "metadata.draft", "match": true}), vec!["d0"]),
                (json!({"key": "metadata.mixed", "match": 1}), vec!["d2"]),
                (json!({"key": "metadata.mixed", "match": "1"}), vec!["d3"]),
                (json!({"key": "metadata.mixed", "gt": 2}), vec!["d2"]),
                (json!({"key": "metadata.nested.my key", "match": "x"}), vec!["d0"]),
                (json!({"key": "metadata.score", "gt": 1.5}), vec!["d1"]),
                (json!({"key": "metadata.absent", "match": "x"}), vec![]),
            ] {
                let mut search = query("t", "text", SearchMode::Keyword, 10);
                search.filter = serde_json::from_value(json!({"must": [condition.clone()]})).unwrap();
                let mut found: Vec<_> = hits(&*store, search).await.into_iter().map(|hit| hit.0).collect();
                found.sort();
                assert_eq!(found, expected, "turn {turn}: {condition}");
            }
            wait_for_indexes(&server).await;
        }
        server.clean().await;
    }
}

/// Waits until the fields that filters have named are indexed.
async fn wait_for_indexes(server: &Server) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let info = server.client().collection_info(server.collection()).await.unwrap().result.unwrap();
        let fields = ["lang", "year", "tags", "draft", "mixed", "nested.\"my key\"", "absent"];
        let mut missing = fields.iter().filter(|field| !info.payload_schema.contains_key(&format!("metadata.{field}")));
        match missing.next() {
            None => break,
            Some(field) => assert!(Instant::now() < end, "{field} is not indexed: {:?}", info.payload_schema.keys()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_language_is_found_by_a_reader_that_was_there_before() {
    for server in servers("languages").await {
        let store = server.store().await;
        // Another replica of the service, which has seen no text yet.
        let other = server.store().await;
        let mut german = point("t", "d", 1, 0, "Die Häuser stehen am Wasser.");
        german.language = Some("deu".to_owned());
        put(&*store, vec![german]).await;
        assert_eq!(hits(&*other, query("t", "Haus", SearchMode::Keyword, 5)).await.len(), 1);
        assert!(hits(&*other, query("t", "the of and", SearchMode::Keyword, 5)).await.is_empty());
        server.clean().await;
    }
}
