//! Collections and aliases.

use std::time::Duration;

use qdrant_client::qdrant::alias_operations::Action;
use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    AliasOperations, ChangeAliases, CollectionParamsDiffBuilder, CountPointsBuilder, CreateAlias, CreateAliasBuilder,
    CreateFieldIndexCollectionBuilder, CreateSnapshotRequest, DeleteAlias, Distance, FieldType,
    KeywordIndexParamsBuilder, Modifier, PayloadSchemaType, RenameAliasBuilder, UpdateCollectionBuilder,
};
use serde_json::json;
use tonic::Code;

use crate::{Servers, fields, four_dimensions, on_any, point, refused, upsert};

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_described_as_it_was_created() {
    on_any("describe", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.name());
        let metadata = fields(json!({ "model": "m", "revision": 3, "list": [1, "a", null] }));
        let create = four_dimensions(&name).metadata(metadata).write_consistency_factor(1).shard_number(2);
        assert!(client.create_collection(create.clone()).await.unwrap().result);
        assert!(client.collection_exists(&name).await.unwrap());
        let listed = client.list_collections().await.unwrap().collections;
        assert!(listed.iter().any(|collection| collection.name == name));

        let config = client.collection_info(&name).await.unwrap().result.unwrap().config.unwrap();
        let params = config.params.unwrap();
        assert_eq!((params.shard_number, params.write_consistency_factor), (2, Some(1)));
        let Some(Config::ParamsMap(vectors)) = params.vectors_config.unwrap().config else { panic!() };
        assert_eq!(vectors.map["dense"].size, 4);
        assert_eq!(vectors.map["dense"].distance(), Distance::Cosine);
        let sparse = params.sparse_vectors_config.unwrap();
        assert_eq!(sparse.map["words"].modifier(), Modifier::Idf);
        assert_eq!(config.metadata["model"].as_str().unwrap(), "m");
        assert_eq!(config.metadata["list"].as_list().unwrap().len(), 3);

        let (code, text) = refused(client.create_collection(create).await);
        assert_eq!((code, text), (Code::AlreadyExists, format!("Wrong input: Collection `{name}` already exists!")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_factors_can_be_changed() {
    on_any("update collection", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.name());
        let create = four_dimensions(&name).metadata(fields(json!({ "kept": 1, "changed": 1, "removed": 1 })));
        client.create_collection(create).await.unwrap();
        let change = fields(json!({ "changed": 2, "removed": null }));
        let params = CollectionParamsDiffBuilder::default().write_consistency_factor(1);
        client.update_collection(UpdateCollectionBuilder::new(&name).metadata(change).params(params)).await.unwrap();
        // The description comes from a shard, on a peer of a real cluster that may learn of the change a little later.
        for attempt in 0.. {
            let config = client.collection_info(&name).await.unwrap().result.unwrap().config.unwrap();
            let number = |key: &str| config.metadata.get(key).and_then(|value| value.as_integer());
            let numbers = [number("kept"), number("changed"), number("removed")];
            if numbers == [Some(1), Some(2), None] && !config.metadata.contains_key("removed") {
                break;
            }
            assert!(attempt < 100, "{numbers:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_collection_is_named() {
    on_any("missing collection", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.name());
        let expected = (Code::NotFound, format!("Not found: Collection `{name}` doesn't exist!"));
        assert!(!client.collection_exists(&name).await.unwrap());
        assert_eq!(refused(client.collection_info(&name).await), expected);
        assert_eq!(refused(client.count(CountPointsBuilder::new(&name)).await), expected);
        assert_eq!(refused(client.create_alias(CreateAliasBuilder::new(&name, "ragstone-a")).await), expected);
        assert!(!client.delete_collection(&name).await.unwrap().result);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_switches_in_one_step() {
    on_any("aliases", async |servers: &Servers| {
        let client = servers.client();
        let (old, new) = (servers.collection().await, servers.collection().await);
        let (alias, renamed) = (format!("{old}-alias"), format!("{old}-renamed"));
        upsert(client, &old, vec![point(1, [1.0; 4], json!({}))]).await;
        client.create_alias(CreateAliasBuilder::new(&old, &alias)).await.unwrap();
        assert!(client.collection_exists(&alias).await.unwrap());
        assert_eq!(points(servers, &alias).await, 1);

        // Also writes go through the alias.
        upsert(client, &alias, vec![point(2, [1.0; 4], json!({}))]).await;
        assert_eq!(points(servers, &old).await, 2);

        let delete = Action::DeleteAlias(DeleteAlias { alias_name: alias.clone() });
        let create = |collection: &str| {
            Action::CreateAlias(CreateAlias { collection_name: collection.to_owned(), alias_name: alias.clone() })
        };
        change(servers, vec![delete, create(&new)]).await.unwrap();
        assert_eq!(points(servers, &alias).await, 0);
        let of_new = client.list_collection_aliases(&new).await.unwrap().aliases;
        assert_eq!(of_new.iter().map(|a| a.alias_name.as_str()).collect::<Vec<_>>(), [alias.as_str()]);
        assert!(client.list_collection_aliases(&old).await.unwrap().aliases.is_empty());

        client.rename_alias(RenameAliasBuilder::new(&alias, &renamed)).await.unwrap();
        let all = client.list_aliases().await.unwrap().aliases;
        assert!(all.iter().any(|a| a.alias_name == renamed && a.collection_name == new));
        let (code, _) = refused(client.rename_alias(RenameAliasBuilder::new(&alias, "ragstone-x")).await);
        assert_eq!(code, Code::NotFound);

        // A name is a collection or an alias, never both.
        let (code, _) = refused(client.create_alias(CreateAliasBuilder::new(&old, &new)).await);
        assert_eq!(code, Code::AlreadyExists);
        let (code, _) = refused(client.create_collection(four_dimensions(&renamed)).await);
        assert_eq!(code, Code::InvalidArgument);

        // Aliases go with their collection.
        client.delete_collection(&new).await.unwrap();
        let all = client.list_aliases().await.unwrap().aliases;
        assert!(!all.iter().any(|a| a.alias_name == renamed));
    })
    .await;
}

async fn points(servers: &Servers, collection: &str) -> u64 {
    let count = CountPointsBuilder::new(collection).exact(true);
    servers.client().count(count).await.unwrap().result.unwrap().count
}

async fn change(servers: &Servers, actions: Vec<Action>) -> Result<(), tonic::Status> {
    let actions = actions.into_iter().map(|action| AliasOperations { action: Some(action) }).collect();
    let request = ChangeAliases { actions, timeout: None };
    // The client does one action at a time only.
    let mut client = CollectionsClient::connect(servers.urls[0].clone()).await.unwrap();
    client.update_aliases(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_of_fields_are_described() {
    on_any("field indexes", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        upsert(client, &name, vec![point(1, [1.0; 4], json!({ "tenant": "a" })), point(2, [1.0; 4], json!({}))]).await;
        let tenant = KeywordIndexParamsBuilder::default().is_tenant(true);
        let create = CreateFieldIndexCollectionBuilder::new(&name, "tenant", FieldType::Keyword);
        client.create_field_index(create.field_index_params(tenant).wait(true)).await.unwrap();
        for (field, kind) in [("n", FieldType::Integer), ("b", FieldType::Bool), ("t", FieldType::Text)] {
            let create = CreateFieldIndexCollectionBuilder::new(&name, field, kind).wait(true);
            client.create_field_index(create).await.unwrap();
        }
        let schema = client.collection_info(&name).await.unwrap().result.unwrap().payload_schema;
        let kinds = |field: &str| schema[field].data_type();
        assert_eq!(kinds("tenant"), PayloadSchemaType::Keyword);
        assert_eq!(kinds("n"), PayloadSchemaType::Integer);
        assert_eq!(kinds("b"), PayloadSchemaType::Bool);
        assert_eq!(kinds("t"), PayloadSchemaType::Text);
        assert_eq!(schema["tenant"].points, Some(1));
        assert!(format!("{:?}", schema["tenant"].params).contains("is_tenant: Some(true)"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_made_listed_and_deleted() {
    on_any("snapshots", async |servers: &Servers| {
        let (client, name) = (servers.client(), servers.collection().await);
        upsert(client, &name, vec![point(1, [1.0; 4], json!({}))]).await;
        let made = client.create_snapshot(CreateSnapshotRequest { collection_name: name.clone() }).await.unwrap();
        let made = made.snapshot_description.unwrap();
        assert!(made.size > 0);
        let listed = client.list_snapshots(&name).await.unwrap().snapshot_descriptions;
        assert_eq!(listed.iter().map(|s| &s.name).collect::<Vec<_>>(), [&made.name]);
        let delete = qdrant_client::qdrant::DeleteSnapshotRequestBuilder::new(&name, &made.name);
        client.delete_snapshot(delete.clone()).await.unwrap();
        assert!(client.list_snapshots(&name).await.unwrap().snapshot_descriptions.is_empty());
        assert_eq!(refused(client.delete_snapshot(delete).await).0, Code::NotFound);
        // The collection goes on.
        upsert(client, &name, vec![point(2, [1.0; 4], json!({}))]).await;
        assert_eq!(points(servers, &name).await, 2);
    })
    .await;
}
