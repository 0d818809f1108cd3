//! Searches, pages, counts and facets.

use qdrant_client::qdrant::with_payload_selector::SelectorOptions;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateFieldIndexCollectionBuilder, FacetCountsBuilder, FacetHit, FieldType, Filter,
    NamedVectors, PayloadExcludeSelector, PayloadIncludeSelector, PointStruct, Query, QueryBatchPointsBuilder,
    QueryPoints, QueryPointsBuilder, ScoredPoint, ScrollPointsBuilder, SearchPointsBuilder, VectorInput, facet_value,
};
use serde_json::json;

use crate::{Servers, number, on_any, payload, point, refused, upsert};

/// Points whose cosine with (1, 0, 0, 0) falls from 1 with their id.
async fn fan(servers: &Servers) -> String {
    let name = servers.collection().await;
    let points = (1..=8u8).map(|id| {
        let x = 1.0 - f32::from(id - 1) / 10.0;
        let fields = json!({ "id": id, "even": id % 2 == 0, "text": format!("number {id}"), "deep": { "a": id } });
        // Twice as long as a unit vector: the length must not matter.
        point(id.into(), [2.0 * x, 2.0 * (1.0 - x * x).sqrt(), 0.0, 0.0], fields)
    });
    upsert(servers.client(), &name, points.collect()).await;
    name
}

fn nearest(name: &str, limit: u64) -> QueryPointsBuilder {
    QueryPointsBuilder::new(name).query(Query::new_nearest(vec![1.0, 0.0, 0.0, 0.0])).using("dense").limit(limit)
}

async fn query(servers: &Servers, request: impl Into<QueryPoints>) -> Vec<ScoredPoint> {
    servers.client().query(request).await.unwrap().result
}

fn scores(hits: &[ScoredPoint]) -> Vec<(u64, f32)> {
    hits.iter().map(|hit| (number(hit.id.clone()), (hit.score * 1000.0).round() / 1000.0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_points_come_first() {
    on_any("dense search", async |servers: &Servers| {
        let name = fan(servers).await;
        let hits = query(servers, nearest(&name, 3)).await;
        assert_eq!(scores(&hits), [(1, 1.0), (2, 0.9), (3, 0.8)]);
        assert!(hits.iter().all(|hit| hit.payload.is_empty() && hit.vectors.is_none()));

        assert_eq!(scores(&query(servers, nearest(&name, 2).offset(3)).await), [(4, 0.7), (5, 0.6)]);
        assert_eq!(query(servers, nearest(&name, 10).score_threshold(0.75_f32)).await.len(), 3);
        let even = Filter::must([Condition::matches("even", true)]);
        let filtered = query(servers, nearest(&name, 2).filter(even.clone())).await;
        assert_eq!(scores(&filtered), [(2, 0.9), (4, 0.7)]);
        // Ten is what is meant without a limit.
        let unlimited = QueryPoints { limit: None, ..nearest(&name, 1).build() };
        assert_eq!(query(servers, unlimited).await.len(), 8);

        let search = SearchPointsBuilder::new(&name, vec![1.0, 0.0, 0.0, 0.0], 2).vector_name("dense").filter(even);
        let found = servers.client().search_points(search).await.unwrap().result;
        assert_eq!(scores(&found), [(2, 0.9), (4, 0.7)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_as_single_queries_do() {
    on_any("query batch", async |servers: &Servers| {
        let name = fan(servers).await;
        let even = Filter::must([Condition::matches("even", true)]);
        let queries = vec![nearest(&name, 2).build(), nearest(&name, 1).filter(even).build()];
        let batch = QueryBatchPointsBuilder::new(&name, queries);
        let results = servers.client().query_batch(batch).await.unwrap().result;
        let results: Vec<_> = results.iter().map(|result| scores(&result.result)).collect();
        assert_eq!(results, [vec![(1, 1.0), (2, 0.9)], vec![(2, 0.9)]]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_and_vectors_are_selected() {
    on_any("selectors", async |servers: &Servers| {
        let name = fan(servers).await;
        let first = async |selector: SelectorOptions| {
            let hits = query(servers, nearest(&name, 1).with_payload(selector)).await;
            let mut fields: Vec<_> = hits[0].payload.keys().cloned().collect();
            fields.sort();
            fields
        };
        assert_eq!(first(SelectorOptions::Enable(true)).await, ["deep", "even", "id", "text"]);
        let fields = vec!["text".to_owned(), "deep.a".to_owned()];
        assert_eq!(first(SelectorOptions::Include(PayloadIncludeSelector { fields })).await, ["deep", "text"]);
        let fields = vec!["text".to_owned(), "even".to_owned()];
        assert_eq!(first(SelectorOptions::Exclude(PayloadExcludeSelector { fields })).await, ["deep", "id"]);

        let with_vectors = query(servers, nearest(&name, 1).with_vectors(true)).await;
        let vectors = with_vectors[0].vectors.as_ref().unwrap();
        assert!(vectors.get_vector_by_name("dense").is_some() && vectors.get_vector_by_name("words").is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rare_words_weigh_more() {
    on_any("sparse search with IDF", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.name());
        // One shard, so that the numbers of documents are known.
        client.create_collection(crate::four_dimensions(&name).shard_number(1)).await.unwrap();
        let words = |id: u64, words: Vec<(u32, f32)>| {
            PointStruct::new(id, NamedVectors::default().add_vector("words", words), payload(json!({})))
        };
        // Word 7 is in all three, word 9 in one; point 4 has no words at all.
        let points = vec![
            words(1, vec![(7, 1.0), (9, 2.0)]),
            words(2, vec![(7, 1.0)]),
            words(3, vec![(7, 2.0)]),
            point(4, [1.0; 4], json!({})),
        ];
        upsert(client, &name, points).await;
        let sparse = async |words: &[(u32, f32)]| {
            let request = QueryPointsBuilder::new(&name).query(Query::new_nearest(VectorInput::from(words)));
            scores(&query(servers, request.using("words").limit(10)).await)
        };
        let idf = |documents: f32| (((3.0 - documents + 0.5) / (documents + 0.5) + 1.0).ln() * 1000.0).round() / 1000.0;
        let found = sparse(&[(9, 1.0)]).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, 1);
        assert!((found[0].1 - 2.0 * idf(1.0)).abs() < 0.002, "{found:?}");
        let both = sparse(&[(7, 1.0), (9, 1.0)]).await;
        assert_eq!(both.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3, 2]);
        assert!((both[1].1 - 2.0 * idf(3.0)).abs() < 0.002, "{both:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_without_a_gap() {
    on_any("scroll", async |servers: &Servers| {
        let name = fan(servers).await;
        let (mut seen, mut offset) = (Vec::new(), None);
        loop {
            let mut request = ScrollPointsBuilder::new(&name).limit(3);
            if let Some(offset) = offset.take() {
                request = request.offset::<qdrant_client::qdrant::PointId>(offset);
            }
            let page = servers.client().scroll(request).await.unwrap();
            assert!(page.result.len() <= 3);
            // Pages carry the payload unless told otherwise.
            assert!(page.result.iter().all(|p| p.payload["id"].as_integer() == Some(number(p.id.clone()) as i64)));
            seen.extend(page.result.into_iter().map(|p| number(p.id)));
            offset = page.next_page_offset;
            if offset.is_none() {
                break;
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8]);

        let even = Filter::must([Condition::matches("even", true)]);
        let request = ScrollPointsBuilder::new(&name).limit(4).filter(even.clone()).with_payload(false);
        let page = servers.client().scroll(request).await.unwrap();
        assert_eq!(page.result.iter().map(|p| number(p.id.clone())).collect::<Vec<_>>(), [2, 4, 6, 8]);
        assert!(page.next_page_offset.is_none() && page.result.iter().all(|p| p.payload.is_empty()));
        let count = CountPointsBuilder::new(&name).filter(even).exact(true);
        assert_eq!(servers.client().count(count).await.unwrap().result.unwrap().count, 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facets_count_values_over_all_shards() {
    on_any("facet", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        let tenants = ["a", "b", "b", "c", "c", "c"];
        let points =
            (1..).zip(tenants).map(|(id, t)| point(id, [1.0; 4], json!({ "tenant": t, "big": id > 4 }))).collect();
        upsert(client, &name, points).await;
        let facet = || FacetCountsBuilder::new(&name, "tenant").exact(true);
        let (_, text) = refused(client.facet(facet()).await);
        assert!(text.contains("No appropriate index for faceting: `tenant`"), "{text}");

        let index = CreateFieldIndexCollectionBuilder::new(&name, "tenant", FieldType::Keyword).wait(true);
        client.create_field_index(index).await.unwrap();
        assert_eq!(hits(client.facet(facet()).await.unwrap().hits), [("c", 3), ("b", 2), ("a", 1)].map(owned));
        let big = Filter::must([Condition::matches("big", true)]);
        assert_eq!(hits(client.facet(facet().filter(big)).await.unwrap().hits), [("c", 2)].map(owned));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facet_of_one_shard_can_be_cut() {
    on_any("facet limit", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.name());
        client.create_collection(crate::four_dimensions(&name).shard_number(1)).await.unwrap();
        let index = CreateFieldIndexCollectionBuilder::new(&name, "tenant", FieldType::Keyword).wait(true);
        client.create_field_index(index).await.unwrap();
        let points = (1..).zip(["a", "b", "b", "c"]).map(|(id, t)| point(id, [1.0; 4], json!({ "tenant": t })));
        upsert(client, &name, points.collect()).await;
        for exact in [true, false] {
            let facet = FacetCountsBuilder::new(&name, "tenant").exact(exact).limit(2);
            let found = hits(client.facet(facet).await.unwrap().hits);
            // Of equal ones the first in order comes first.
            assert_eq!(found, [("b", 2), ("a", 1)].map(owned), "exact: {exact}");
        }
    })
    .await;
}

fn owned((value, count): (&str, u64)) -> (String, u64) {
    (value.to_owned(), count)
}

fn hits(hits: Vec<FacetHit>) -> Vec<(String, u64)> {
    let value = |hit: FacetHit| match hit.value.and_then(|value| value.variant) {
        Some(facet_value::Variant::StringValue(text)) => (text, hit.count),
        other => panic!("no text: {other:?}"),
    };
    hits.into_iter().map(value).collect()
}
