//! The servers, a stack on them, and what tests ask of it.

use std::collections::BTreeSet;
use std::io::Write as _;

use qdrant_client::Qdrant;
use qdrant_client::qdrant::shard_key::Key;
use qdrant_client::qdrant::{CountPointsBuilder, LocalShardInfo, ShardKey};
use ragstone_testkit::client::Client;
use ragstone_testkit::postgres::PostgresServer;
use ragstone_testkit::process::binary;
use ragstone_testkit::qdrant::{ClusterConfig, QdrantCluster};
use ragstone_testkit::redis::{RedisOptions, RedisServer};
use ragstone_testkit::s3::{BUCKET, REGION, S3Server};
use ragstone_testkit::stack::{Form, Stack};
use serde_json::{Value, json};
use tokio::process::Command;

/// Shards, and replicas of each, from the start.
pub(crate) const SHARDS: usize = 4;
pub(crate) const REPLICAS: usize = 2;

/// Tells also where the test runner keeps the output of tests that pass to itself.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// The variable that names a real Qdrant: its peers' gRPC URLs with commas between them.
const REAL: &str = "RAGSTONE_TEST_QDRANT";

/// Everything that runs.
pub(crate) struct Production {
    pub(crate) stack: Stack,
    /// The peers of the Qdrant that is used.
    pub(crate) urls: Vec<String>,
    /// The alias that searches use.
    pub(crate) collection: String,
    pub(crate) qdrant: QdrantCluster,
    _postgres: PostgresServer,
    pub(crate) redis: RedisServer,
    _s3: S3Server,
}

impl Production {
    /// Starts the servers and prepares a stack that uses them; its processes are not started yet.
    pub(crate) async fn prepare() -> Self {
        let qdrant = QdrantCluster::start(ClusterConfig { peers: SHARDS * REPLICAS, ..ClusterConfig::default() });
        let redis = RedisServer::start(RedisOptions { password: Some("geheim".to_owned()), ..RedisOptions::default() });
        let (qdrant, redis) = (qdrant.await.unwrap(), redis.await.unwrap());
        let (postgres, s3) = (PostgresServer::start().await.unwrap(), S3Server::start().await.unwrap());
        let mut stack = Stack::prepare(Form::FiveProcesses).unwrap();
        let database = postgres.create_database().await.unwrap();
        for (key, value) in [
            ("INGESTION__POSTGRES__URL", postgres.url(&database)),
            ("INGESTION__BLOBS__S3__BUCKET", BUCKET.to_owned()),
            ("INGESTION__BLOBS__S3__REGION", REGION.to_owned()),
            ("INGESTION__BLOBS__S3__ENDPOINT", s3.endpoint.clone()),
            ("INGESTION__BLOBS__S3__ACCESS_KEY_ID", s3.access_key_id.clone()),
            ("INGESTION__BLOBS__S3__SECRET_ACCESS_KEY", s3.secret_access_key.clone()),
            ("INGESTION__BLOBS__S3__ALLOW_HTTP", "true".to_owned()),
            ("INGESTION__LEASE_SECONDS", "4".to_owned()),
            ("EMBEDDING__CACHE__REDIS_URL", format!("redis://127.0.0.1:{}", redis.port)),
            ("EMBEDDING__CACHE__REDIS_PASSWORD", "geheim".to_owned()),
            ("RETRIEVAL__QDRANT__URLS", qdrant.urls().join(",")),
            ("RETRIEVAL__QDRANT__REST_URLS", qdrant.rest_urls().join(",")),
            ("RETRIEVAL__QDRANT__SHARDS", SHARDS.to_string()),
            ("RETRIEVAL__QDRANT__REPLICATION_FACTOR", REPLICAS.to_string()),
            ("RETRIEVAL__QDRANT__WRITE_CONSISTENCY_FACTOR", "1".to_owned()),
        ] {
            stack.env(&format!("RAGSTONE__{key}"), &value);
        }
        let (urls, collection) = (qdrant.urls(), COLLECTION.to_owned());
        Self { stack, urls, collection, qdrant, _postgres: postgres, redis, _s3: s3 }
    }

    /// The same, running.
    pub(crate) async fn start() -> Self {
        let mut production = Self::prepare().await;
        production.stack.run().await.unwrap();
        say(&format!(
            "production: PostgreSQL, Redis, S3 (moto) and Qdrant's API (testkit, {SHARDS} shards × {REPLICAS})"
        ));
        production
    }

    /// The same on a real Qdrant; `None`, and a word about it, where none is named or it has no cluster mode.
    pub(crate) async fn start_on_real_qdrant() -> Option<Self> {
        let Ok(urls) = std::env::var(REAL) else {
            say(&format!("production on a real Qdrant: NOT RUN, {REAL} is not set"));
            return None;
        };
        let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
        if urls.len() < 2 {
            say(&format!("production on a real Qdrant: NOT RUN, {REAL} names one peer, resharding needs a cluster"));
            return None;
        }
        let mut production = Self::prepare().await;
        production.collection = format!("ragstone-test-{}", std::process::id());
        // The other setting would name the stand-in's peers.
        let settings = [("URLS", urls.join(",")), ("REST_URLS", String::new())];
        for (key, value) in settings.into_iter().chain([("COLLECTION_PREFIX", production.collection.clone())]) {
            production.stack.env(&format!("RAGSTONE__RETRIEVAL__QDRANT__{key}"), &value);
        }
        production.urls = urls;
        production.stack.run().await.unwrap();
        let version = qdrant_client(&production.urls[0]).health_check().await.unwrap().version;
        say(&format!(
            "production: PostgreSQL, Redis, S3 (moto) and Qdrant {version} at {}",
            production.urls.join(", ")
        ));
        Some(production)
    }

    /// Removes what a real Qdrant would keep, and stops.
    pub(crate) async fn clean_up(self) {
        let client = qdrant_client(&self.urls[0]);
        self.stack.stop().await.unwrap();
        for collection in client.list_collections().await.unwrap().collections {
            if collection.name.starts_with(&self.collection) {
                client.delete_collection(collection.name).await.unwrap();
            }
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.stack.client()
    }

    /// Runs the command line with the stack's configuration; what it printed, as JSON.
    pub(crate) async fn ragstone(&self, args: &[&str]) -> Value {
        ragstone(&self.stack, args).await
    }
}

/// Runs the command line with a stack's configuration and one more setting, in vain: its exit code and what it said.
pub(crate) async fn refused(stack: &Stack, args: &[&str], (key, value): (&str, &str)) -> (Option<i32>, String) {
    let mut command = command(stack, args);
    let output = command.env(format!("RAGSTONE__{key}"), value).output().await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn command(stack: &Stack, args: &[&str]) -> Command {
    let mut command = Command::new(binary("ragstone").unwrap());
    command.args(args).arg("--json").envs(stack.environment().iter().cloned()).env("RAGSTONE_URL", stack.url());
    command
}

/// Runs the command line with a stack's configuration; what it printed, as JSON.
pub(crate) async fn ragstone(stack: &Stack, args: &[&str]) -> Value {
    let output = command(stack, args).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ragstone {args:?} ended with {}: {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The word that only document `n` has.
pub(crate) fn word(n: usize) -> String {
    let letter = |n: usize| char::from(b"bcdfghklmnprstvz"[n % 16]);
    format!("{}a{}o{}u", letter(n), letter(n / 16), letter(n / 256))
}

/// A short document with a word of its own.
pub(crate) fn text(n: usize) -> String {
    format!("Report {n} tells of the village {}, its river and its mill.", word(n))
}

/// Loads documents `d0` to `d{count}` in one batch and waits until all are searchable.
pub(crate) async fn load(client: &Client, count: usize) {
    let jobs = send(client, count).await;
    for job in jobs {
        assert_eq!(client.finished_job(&job).await.unwrap()["status"], "done");
    }
}

/// Sends the documents; their jobs.
pub(crate) async fn send(client: &Client, count: usize) -> Vec<String> {
    let items: Vec<Value> = (0..count).map(|n| json!({"id": format!("d{n}"), "text": text(n)})).collect();
    let answer = client.post("/v1/documents", &Value::Array(items)).await.unwrap().expect_status(202).unwrap();
    let accepted = answer["items"].as_array().unwrap();
    accepted.iter().map(|item| item["job_id"].as_str().unwrap_or_else(|| panic!("{item}")).to_owned()).collect()
}

/// What a search for document `n` finds.
pub(crate) async fn find(client: &Client, n: usize, mode: &str) -> Value {
    let body = json!({"query": format!("the village {}", word(n)), "k": 5, "mode": mode});
    client.post("/v1/search", &body).await.unwrap().expect_status(200).unwrap()
}

/// Ids of the documents in an answer, in order; none may stand there twice.
pub(crate) fn ids(answer: &Value) -> Vec<String> {
    let hits = answer["hits"].as_array().unwrap();
    let ids: Vec<String> = hits.iter().map(|hit| hit["document_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "a document twice: {answer:#}");
    ids
}

/// Qdrant's own client, on a peer that runs.
pub(crate) fn qdrant_client(url: &str) -> Qdrant {
    Qdrant::from_url(url).skip_compatibility_check().build().unwrap()
}

/// The collection searches use: its alias.
const COLLECTION: &str = "ragstone";

/// Numbers of the peers that hold a replica of this shard.
pub(crate) async fn peers_of_shard(qdrant: &QdrantCluster, shard: &str) -> Vec<usize> {
    let mut peers = Vec::new();
    for (peer, url) in qdrant.urls().iter().enumerate() {
        let info = qdrant_client(url).collection_cluster_info(COLLECTION).await.unwrap();
        let key = |shard: &LocalShardInfo| shard.shard_key.clone().and_then(|key| key.key);
        if info.local_shards.iter().any(|local| key(local) == Some(Key::Keyword(shard.to_owned()))) {
            peers.push(peer);
        }
    }
    peers
}

/// How many points a shard holds.
pub(crate) async fn points_of_shard(production: &Production, shard: &str) -> usize {
    let request = CountPointsBuilder::new(&production.collection)
        .exact(true)
        .shard_key_selector(vec![ShardKey::from(shard.to_owned())]);
    let counted = qdrant_client(&production.urls[0]).count(request).await.unwrap();
    usize::try_from(counted.result.unwrap().count).unwrap()
}
