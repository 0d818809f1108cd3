//! What is refused, and how.

use qdrant_client::qdrant::{
    Condition, Filter, PrefetchQueryBuilder, Query, QueryPointsBuilder, RecommendPointsBuilder, ScrollPointsBuilder,
    UpsertPointsBuilder, VectorInput,
};
use ragstone_testkit::qdrant::{ClusterConfig, QdrantCluster};
use serde_json::json;
use tonic::Code;

use crate::{Servers, connect, on_any, payload, point, refused, upsert};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_vectors_are_refused() {
    on_any("wrong vectors", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        let store = async |vector: &str, values: Vec<f32>| {
            let vectors = std::collections::HashMap::from([(vector.to_owned(), values)]);
            let points = vec![qdrant_client::qdrant::PointStruct::new(1, vectors, payload(json!({})))];
            refused(client.upsert_points(UpsertPointsBuilder::new(&name, points).wait(true)).await)
        };
        let dimension = "Wrong input: Vector dimension error: expected dim: 4, got 3";
        let named = format!("{dimension} for vector 'dense'");
        assert_eq!(store("dense", vec![1.0; 3]).await, (Code::InvalidArgument, named.clone()));
        // Also a client that does not wait hears of it.
        let points = vec![point(1, [1.0; 4], json!({})), dense_of_three(2)];
        let unwaited = client.upsert_points(UpsertPointsBuilder::new(&name, points).wait(false)).await;
        assert_eq!(refused(unwaited), (Code::InvalidArgument, named));
        let (code, text) = store("other", vec![1.0; 4]).await;
        assert_eq!((code, text.contains("Not existing vector name error: other")), (Code::InvalidArgument, true));
        assert_eq!(store("words", vec![1.0; 4]).await.0, Code::InvalidArgument);

        upsert(client, &name, vec![point(1, [1.0; 4], json!({}))]).await;
        let search = async |query: Query, using: &str| {
            refused(client.query(QueryPointsBuilder::new(&name).query(query).using(using).limit(1)).await)
        };
        let dense = || Query::new_nearest(vec![1.0; 3]);
        assert_eq!(search(dense(), "dense").await, (Code::InvalidArgument, dimension.to_owned()));
        let (code, text) = search(dense(), "other").await;
        assert_eq!((code, text.contains("Not existing vector name error: other")), (Code::InvalidArgument, true));
        let sparse = VectorInput::from([(1, 1.0)].as_slice());
        assert_eq!(search(Query::new_nearest(sparse), "dense").await.0, Code::InvalidArgument);
        assert_eq!(search(dense(), "words").await.0, Code::InvalidArgument);
    })
    .await;
}

fn dense_of_three(id: u64) -> qdrant_client::qdrant::PointStruct {
    let vectors = std::collections::HashMap::from([("dense".to_owned(), vec![1.0; 3])]);
    qdrant_client::qdrant::PointStruct::new(id, vectors, payload(json!({})))
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_out_of_range_are_refused() {
    on_any("limits", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        let query = QueryPointsBuilder::new(&name).query(Query::new_nearest(vec![1.0; 4])).using("dense").limit(0);
        let (code, text) = refused(client.query(query).await);
        assert_eq!((code, text.contains("limit: value 0 invalid")), (Code::InvalidArgument, true), "{text}");
        assert_eq!(refused(client.scroll(ScrollPointsBuilder::new(&name).limit(0)).await).0, Code::InvalidArgument);
        let zero = crate::four_dimensions(&servers.name()).shard_number(0);
        assert_eq!(refused(client.create_collection(zero).await).0, Code::InvalidArgument);
        let bad = Filter::must([Condition::matches("a[", true)]);
        let (code, text) = refused(client.scroll(ScrollPointsBuilder::new(&name).filter(bad)).await);
        assert_eq!((code, text.as_str()), (Code::InvalidArgument, "Invalid json path: 'a['"));
    })
    .await;
}

/// Only here: the real server can do these.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_says_so() {
    let cluster = QdrantCluster::start(ClusterConfig::default()).await.unwrap();
    let client = connect(&cluster.url(0));
    client.create_collection(crate::four_dimensions("c")).await.unwrap();
    let prefetch = PrefetchQueryBuilder::default().query(Query::new_nearest(vec![1.0; 4])).using("dense");
    let query = QueryPointsBuilder::new("c").add_prefetch(prefetch).query(Query::new_nearest(vec![1.0; 4]));
    assert_eq!(refused(client.query(query).await).0, Code::Unimplemented);
    let (code, text) = refused(client.recommend(RecommendPointsBuilder::new("c", 1).add_positive(1)).await);
    assert_eq!((code, text.contains("Points/Recommend")), (Code::Unimplemented, true));
    let slice = Filter::must([Condition::slice(2, 0)]);
    assert_eq!(refused(client.scroll(ScrollPointsBuilder::new("c").filter(slice)).await).0, Code::Unimplemented);
    let infinite = qdrant_client::qdrant::Range { lt: Some(f64::INFINITY), ..Default::default() };
    let infinite = Filter::must([Condition::range("n", infinite)]);
    assert_eq!(refused(client.scroll(ScrollPointsBuilder::new("c").filter(infinite)).await).0, Code::Unimplemented);
}
