//! Changes of points.

use qdrant_client::qdrant::points_update_operation::{self, Operation, PointStructList};
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, DeletePointsBuilder, Filter, GetPointsBuilder, PointId, PointStruct, PointsIdsList,
    PointsUpdateOperation, Range, SetPayloadPointsBuilder, UpdateBatchPointsBuilder, UpdateMode, UpdateStatus,
    UpsertPointsBuilder,
};
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

use crate::{Servers, number, on_any, payload, point, refused, upsert};

#[tokio::test(flavor = "multi_thread")]
async fn points_come_back_as_they_were_stored() {
    on_any("upsert and get", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        let uuid = Uuid::new_v4().to_string();
        let fields = json!({ "text": "Grüße", "n": -3, "x": 0.5, "yes": true, "none": null, "list": [1, "a"],
            "deep": { "a": { "b": [true] } } });
        let vectors = qdrant_client::qdrant::NamedVectors::default()
            .add_vector("dense", vec![3.0, 0.0, 4.0, 0.0])
            .add_vector("words", vec![(7, 0.5), (2, 1.5)]);
        let stored = PointStruct::new(uuid.clone(), vectors, payload(fields.clone()));
        let request = UpsertPointsBuilder::new(&name, vec![stored]).wait(true);
        let result = client.upsert_points(request).await.unwrap().result.unwrap();
        assert_eq!(result.status(), UpdateStatus::Completed);

        let ids: Vec<PointId> = vec![uuid.clone().into(), 5.into()];
        let get = GetPointsBuilder::new(&name, ids.clone()).with_payload(true).with_vectors(true);
        let mut found = client.get_points(get).await.unwrap().result;
        assert_eq!(found.len(), 1);
        let found = found.remove(0);
        assert_eq!(found.id.unwrap(), uuid.into());
        assert_eq!(serde_json::to_value(&found.payload).unwrap(), fields);
        let vectors = found.vectors.unwrap();
        // Of cosine vectors only the direction is kept.
        assert_eq!(
            format!("{:?}", vectors.get_vector_by_name("dense").unwrap()),
            "Dense(DenseVector { data: [0.6, 0.0, 0.8, 0.0] })"
        );
        let words = format!("{:?}", vectors.get_vector_by_name("words").unwrap());
        assert!(words.contains("values: [1.5, 0.5]") && words.contains("indices: [2, 7]"), "{words}");

        // Without asking there is neither.
        let bare = client.get_points(GetPointsBuilder::new(&name, ids)).await.unwrap().result.remove(0);
        assert!(bare.payload.is_empty() && bare.vectors.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_filter_spares_what_does_not_match() {
    on_any("conditional upsert", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        upsert(client, &name, vec![point(1, [1.0; 4], json!({ "v": 1 })), point(2, [1.0; 4], json!({ "v": 5 }))]).await;
        let older = Filter::must([Condition::range("v", Range { lt: Some(3.0), ..Range::default() })]);
        let points: Vec<_> = (1..=3).map(|id| point(id, [1.0; 4], json!({ "v": 3 }))).collect();
        let request = UpsertPointsBuilder::new(&name, points).update_filter(older).wait(true);
        client.upsert_points(request).await.unwrap();
        // 1 matched, 2 did not, 3 is new.
        assert_eq!(versions(servers, &name).await, [(1, 3), (2, 5), (3, 3)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_inserts_only_or_updates_only() {
    on_any("update modes", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        upsert(client, &name, vec![point(1, [1.0; 4], json!({ "v": 1 }))]).await;
        // The first makes only point 2, the second changes only point 1.
        for (mode, v, expected) in
            [(UpdateMode::InsertOnly, 2, [(1, 1), (2, 2)]), (UpdateMode::UpdateOnly, 3, [(1, 3), (2, 2)])]
        {
            let points = vec![point(1, [1.0; 4], json!({ "v": v })), point(v, [1.0; 4], json!({ "v": v }))];
            let request = UpsertPointsBuilder::new(&name, points).update_mode(mode).wait(true);
            client.upsert_points(request).await.unwrap();
            assert_eq!(versions(servers, &name).await, expected);
        }
    })
    .await;
}

async fn versions(servers: &Servers, name: &str) -> Vec<(u64, i64)> {
    let request = qdrant_client::qdrant::ScrollPointsBuilder::new(name).limit(100);
    let points = servers.client().scroll(request).await.unwrap().result;
    points.into_iter().map(|p| (number(p.id), p.payload["v"].as_integer().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_deleted_by_id_and_by_filter() {
    on_any("delete", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        let points = (1..=6).map(|id| point(id, [1.0; 4], json!({ "v": id, "odd": id % 2 == 1 }))).collect();
        upsert(client, &name, points).await;
        // An id that does not exist does no harm.
        let ids = PointsIdsList { ids: vec![1.into(), 99.into()] };
        client.delete_points(DeletePointsBuilder::new(&name).points(ids).wait(true)).await.unwrap();
        assert_eq!(versions(servers, &name).await.len(), 5);
        let odd = Filter::must([Condition::matches("odd", true)]);
        client.delete_points(DeletePointsBuilder::new(&name).points(odd).wait(true)).await.unwrap();
        assert_eq!(versions(servers, &name).await, [(2, 2), (4, 4), (6, 6)]);
        let (code, _) = refused(client.delete_points(DeletePointsBuilder::new(&name).wait(true)).await);
        assert_eq!(code, Code::InvalidArgument);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_fields_are_set_by_id_and_by_filter() {
    on_any("set payload", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        let points = (1..=4).map(|id| point(id, [1.0; 4], json!({ "v": id, "state": "staged" }))).collect();
        upsert(client, &name, points).await;
        let live = || SetPayloadPointsBuilder::new(&name, payload(json!({ "state": "live" }))).wait(true);
        let ids = PointsIdsList { ids: vec![1.into(), 2.into()] };
        client.set_payload(live().points_selector(ids)).await.unwrap();
        assert_eq!(count(servers, &name, "live").await, 2);
        // The other fields stay.
        assert_eq!(versions(servers, &name).await, [(1, 1), (2, 2), (3, 3), (4, 4)]);
        let staged = Filter::must([Condition::matches("state", "staged".to_owned())]);
        client.set_payload(live().points_selector(staged)).await.unwrap();
        assert_eq!(count(servers, &name, "live").await, 4);

        let ids = PointsIdsList { ids: vec![99.into()] };
        let (code, text) = refused(client.set_payload(live().points_selector(ids)).await);
        assert_eq!((code, text.contains("No point with id 99 found")), (Code::NotFound, true), "{text}");
        // Nobody hears of it who does not wait.
        let ids = PointsIdsList { ids: vec![99.into()] };
        let result = client.set_payload(live().wait(false).points_selector(ids)).await.unwrap().result.unwrap();
        assert_eq!(result.status(), UpdateStatus::Acknowledged);

        let one = SetPayloadPointsBuilder::new(&name, payload(json!({ "v": 7 }))).wait(true);
        client.overwrite_payload(one.points_selector(PointsIdsList { ids: vec![1.into()] })).await.unwrap();
        assert_eq!(count(servers, &name, "live").await, 3);
        assert_eq!(versions(servers, &name).await[0], (1, 7));
    })
    .await;
}

async fn count(servers: &Servers, name: &str, state: &str) -> u64 {
    let filter = Filter::must([Condition::matches("state", state.to_owned())]);
    let request = CountPointsBuilder::new(name).filter(filter).exact(true);
    servers.client().count(request).await.unwrap().result.unwrap().count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_carried_out_in_order() {
    on_any("update batch", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        let upsert = |id, v| {
            let points = vec![point(id, [1.0; 4], json!({ "v": v, "state": "staged" }))];
            operation(Operation::Upsert(PointStructList { points, ..PointStructList::default() }))
        };
        let ids = |id: u64| Some(qdrant_client::qdrant::PointsSelector::from(vec![PointId::from(id)]));
        let set = operation(Operation::SetPayload(points_update_operation::SetPayload {
            payload: payload(json!({ "state": "live" })).into(),
            points_selector: ids(1),
            ..Default::default()
        }));
        let delete = |id| {
            operation(Operation::DeletePoints(points_update_operation::DeletePoints {
                points: ids(id),
                shard_key_selector: None,
            }))
        };
        let batch = vec![upsert(1, 1), upsert(2, 2), set.clone(), delete(2), upsert(3, 3)];
        let results = client.update_points_batch(UpdateBatchPointsBuilder::new(&name, batch).wait(true)).await.unwrap();
        assert_eq!(results.result.len(), 5);
        assert_eq!(versions(servers, &name).await, [(1, 1), (3, 3)]);
        assert_eq!(count(servers, &name, "live").await, 1);

        // The first that fails ends it; what was done before stays.
        let batch = vec![delete(1), set, delete(3)];
        let (code, _) =
            refused(client.update_points_batch(UpdateBatchPointsBuilder::new(&name, batch).wait(true)).await);
        assert_eq!(code, Code::NotFound);
        assert_eq!(versions(servers, &name).await, [(3, 3)]);
    })
    .await;
}

fn operation(operation: Operation) -> PointsUpdateOperation {
    PointsUpdateOperation { operation: Some(operation) }
}
