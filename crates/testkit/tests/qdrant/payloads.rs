//! Filters over payloads.

use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{
    Condition, CreateFieldIndexCollectionBuilder, FieldType, Filter, PointId, Range, ScrollPointsBuilder, ValuesCount,
};
use serde_json::json;

use crate::{Servers, number, on_any, point, upsert};

async fn matching(servers: &Servers, name: &str, filter: Filter) -> Vec<u64> {
    let request = ScrollPointsBuilder::new(name).filter(filter).limit(100);
    servers.client().scroll(request).await.unwrap().result.into_iter().map(|point| number(point.id)).collect()
}

fn text(field: &str, value: &str) -> Condition {
    Condition::matches(field, value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_select_what_they_say() {
    on_any("filters", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        let points = vec![
            point(1, [1.0; 4], json!({ "s": "a", "n": 1, "b": true, "list": ["x", "y"], "t": "the quick fox" })),
            point(2, [1.0; 4], json!({ "s": "b", "n": 2, "b": false, "list": ["y"], "t": "the slow dog" })),
            point(3, [1.0; 4], json!({ "s": "c", "n": 3, "list": [], "null": null })),
            point(4, [1.0; 4], json!({ "n": 2.5, "people": [{ "name": "p", "age": 3 }, { "name": "q", "age": 9 }] })),
        ];
        upsert(client, &name, points).await;
        let index = CreateFieldIndexCollectionBuilder::new(&name, "t", FieldType::Text).wait(true);
        client.create_field_index(index).await.unwrap();
        let between = |gte, lt| Condition::range("n", Range { gte, lt, ..Range::default() });
        let cases: Vec<(&str, Filter, Vec<u64>)> = vec![
            ("nothing", Filter::default(), vec![1, 2, 3, 4]),
            ("keyword", Filter::must([text("s", "a")]), vec![1]),
            ("keyword in a list", Filter::must([text("list", "y")]), vec![1, 2]),
            ("any keyword", Filter::must([Condition::matches("s", ["a", "c"])]), vec![1, 3]),
            ("no keyword", Filter::must([Condition::matches("s", !MatchValue::from(["a", "c"]))]), vec![2]),
            ("integer", Filter::must([Condition::matches("n", 2)]), vec![2]),
            ("any integer", Filter::must([Condition::matches("n", vec![1, 3])]), vec![1, 3]),
            ("boolean", Filter::must([Condition::matches("b", false)]), vec![2]),
            ("range", Filter::must([between(Some(2.0), Some(3.0))]), vec![2, 4]),
            ("text", Filter::must([Condition::matches_text("t", "quick")]), vec![1]),
            ("must not", Filter::must_not([text("s", "a")]), vec![2, 3, 4]),
            ("should", Filter::should([text("s", "a"), Condition::matches("n", 3)]), vec![1, 3]),
            ("empty", Filter::must([Condition::is_empty("list")]), vec![3, 4]),
            ("null", Filter::must([Condition::is_null("null")]), vec![3]),
            ("ids", Filter::must([Condition::has_id([PointId::from(2), 4.into(), 99.into()])]), vec![2, 4]),
            ("no ids", Filter::must([Condition::has_id(Vec::<PointId>::new())]), vec![]),
            (
                "number of values",
                Filter::must([Condition::values_count("list", ValuesCount { gt: Some(1), ..ValuesCount::default() })]),
                vec![1],
            ),
            (
                "one element with both",
                Filter::must([Condition::nested("people", Filter::must([text("name", "p"), age(9)]))]),
                vec![],
            ),
            (
                "two elements",
                Filter::must([Condition::nested("people", Filter::must([text("name", "q"), age(9)]))]),
                vec![4],
            ),
            (
                "filters in filters",
                Filter::must([
                    Filter::should([text("s", "a"), text("s", "b")]).into(),
                    Filter::must_not([Condition::matches("b", true)]).into(),
                ]),
                vec![2],
            ),
            (
                "at least two",
                Filter::min_should(2, [text("s", "a"), Condition::matches("n", 1), Condition::matches("n", 2)]),
                vec![1],
            ),
        ];
        for (what, filter, expected) in cases {
            assert_eq!(matching(servers, &name, filter).await, expected, "{what}");
        }
    })
    .await;
}

fn age(age: i64) -> Condition {
    Condition::matches("age", age)
}
