//! Filters against a naive evaluator over the documents themselves.

use proptest::prelude::*;
use ragstone_core::ports::VectorStore;
use ragstone_core::{Condition, Filter, INJECTION_SCORE, Metadata, Predicate, Scalar, SearchMode};
use serde_json::{Value, json};

use crate::contract::{Fixture, documents_found, fresh, point, put, query};

fn documents() -> Vec<(String, String, Metadata)> {
    let metadata = [
        json!({"lang": "de", "year": 2020, "score": 0.5, "tags": ["a", "b"], "draft": true}),
        json!({"lang": "en", "year": 2021, "score": -1.5, "tags": [], "draft": false}),
        json!({"lang": "de", "year": 2022, "tags": ["b", "c"], "nested": {"deep": 1, "my key": "x"}}),
        json!({"lang": "DE", "year": "2020", "tags": "a", "nested": {"deep": 2}}),
        json!({"year": [2019, 2021], "score": 2020, "mixed": [1, "a", true, 2.5]}),
        json!({"lang": null, "mixed": ["1", false], "Größe": 3, "nested": {"deep": {"deeper": 1}}}),
        json!({"lang": "", "score": 1e9, "draft": "true", "mixed": 2.5}),
        json!({}),
        json!({"lang": "de", "year": 2020.0, "draft": [true, false], "nested": {"my key": "y"}}),
    ];
    let one = |(n, value): (usize, Value)| {
        let title = ["Handbuch", "Guide", "handbuch"][n % 3].to_owned();
        (format!("doc/{n} ä"), title, value.as_object().unwrap().clone())
    };
    metadata.into_iter().enumerate().map(one).collect()
}

/// Scores such as filters name them, not all of which a float of 32 bits holds exactly.
fn injection_score(id: &str) -> f64 {
    (id.len() + id.bytes().map(usize::from).sum::<usize>()) as f64 % 8.0 / 10.0
}

/// What a key means in a document: its value, or each element where that is an array.
fn values(key: &str, (id, title, metadata): &(String, String, Metadata)) -> Vec<Value> {
    let value = match key.strip_prefix("metadata.") {
        None if key == "title" => Some(json!(title)),
        None if key == INJECTION_SCORE => Some(json!(injection_score(id))),
        None => Some(json!(id)),
        Some(path) => path.split('.').try_fold(Value::Object(metadata.clone()), |value, part| value.get(part).cloned()),
    };
    match value {
        Some(Value::Array(items)) => items,
        Some(value) => vec![value],
        None => Vec::new(),
    }
}

fn holds(condition: &Condition, document: &(String, String, Metadata)) -> bool {
    values(&condition.key, document).iter().any(|value| match &condition.predicate {
        Predicate::AnyOf(wanted) => wanted.iter().any(|wanted| match wanted {
            Scalar::Bool(wanted) => value.as_bool() == Some(*wanted),
            Scalar::Integer(wanted) => value.as_i64() == Some(*wanted),
            Scalar::Text(wanted) => value.as_str() == Some(wanted),
        }),
        Predicate::Range { gte, gt, lte, lt } => value.as_f64().is_some_and(|x| {
            gte.is_none_or(|b| x >= b)
                && gt.is_none_or(|b| x > b)
                && lte.is_none_or(|b| x <= b)
                && lt.is_none_or(|b| x < b)
        }),
    })
}

fn naive(filter: &Filter) -> Vec<String> {
    let passes = |document: &&(String, String, Metadata)| {
        filter.must.iter().all(|c| holds(c, document))
            && !filter.must_not.iter().any(|c| holds(c, document))
            && (filter.should.is_empty() || filter.should.iter().any(|c| holds(c, document)))
    };
    documents().iter().filter(passes).map(|(id, ..)| id.clone()).collect()
}

fn scalars() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any::<bool>().prop_map(Scalar::Bool),
        prop::sample::select(vec![1, 2, 3, 2019, 2020, 2021, 2022]).prop_map(Scalar::Integer),
        prop::sample::select(vec!["de", "en", "", "a", "b", "x", "y", "2020", "true", "Handbuch", "doc/3 ä", "1"])
            .prop_map(|text| Scalar::Text(text.to_owned())),
    ]
}

fn conditions() -> impl Strategy<Value = Condition> {
    let key = prop::sample::select(vec![
        "document_id",
        "title",
        "metadata.lang",
        "metadata.year",
        "metadata.score",
        "metadata.tags",
        "metadata.draft",
        "metadata.mixed",
        "metadata.nested.deep",
        "metadata.nested.my key",
        "metadata.nested.deep.deeper",
        "metadata.Größe",
        "metadata.absent",
        "metadata.nested",
        INJECTION_SCORE,
    ]);
    let bound = || {
        prop::option::of(prop::sample::select(vec![-2.0, 0.0, 0.2, 0.5, 0.7, 1.0, 2.5, 2019.5, 2020.0, 2021.0, 1e9]))
    };
    let range = (bound(), bound(), bound(), bound())
        .prop_filter("needs a bound", |(a, b, c, d)| [a, b, c, d].iter().any(|x| x.is_some()))
        .prop_map(|(gte, gt, lte, lt)| Predicate::Range { gte, gt, lte, lt });
    let any_of = prop::collection::vec(scalars(), 1..4).prop_map(Predicate::AnyOf);
    (key, prop_oneof![2 => any_of, 1 => range])
        .prop_filter("no equality of scores", |(key, predicate)| {
            *key != INJECTION_SCORE || matches!(predicate, Predicate::Range { .. })
        })
        .prop_map(|(key, predicate)| Condition { key: key.to_owned(), predicate })
}

pub(crate) async fn filters_mean_what_the_naive_evaluator_says(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    for (id, title, metadata) in documents() {
        let mut only = point("t", &id, 1, 0, "text");
        (only.title, only.metadata, only.injection_score) = (title, metadata, injection_score(&id) as f32);
        put(&*store, vec![only]).await;
    }
    tokio::task::block_in_place(|| agrees_with_the_evaluator(&*store));
}

fn agrees_with_the_evaluator(store: &dyn VectorStore) {
    let runtime = tokio::runtime::Handle::current();
    let list = || prop::collection::vec(conditions(), 0..3);
    let filters = (list(), list(), list()).prop_map(|(must, must_not, should)| Filter { must, must_not, should });
    let mut runner = proptest::test_runner::TestRunner::default();
    let outcome = runner.run(&filters, |filter| {
        let expected = naive(&filter);
        for mode in [SearchMode::Dense, SearchMode::Keyword] {
            let mut search = query("t", "text", mode, 50);
            search.filter = filter.clone();
            let found = runtime.block_on(documents_found(store, search));
            prop_assert_eq!(&found, &expected, "{:?} {:?}", mode, filter);
        }
        Ok(())
    });
    outcome.unwrap();
}
