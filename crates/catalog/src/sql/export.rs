//! Every row, as one moment shows them.

use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _, TryStreamExt as _, stream};
use ragstone_core::ports::Record;
use ragstone_core::{JobStatus, Result};
use serde_json::{Map, Value};
use sqlx::{QueryBuilder, Row as _};

use super::Store;
use super::dialect::{Connection, Db, Row, original};
use super::failure::Failure;
use crate::tables::{Kind, TABLES, Table};

/// Rows read ahead of the reader.
const AHEAD: usize = 64;

type Sender = mpsc::Sender<Result<Record>>;

pub(super) fn export(store: &Store) -> BoxStream<'_, Result<Record>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    // The reading runs within the stream: who drops the stream ends it.
    let reading = read_all(store, sender).into_stream().filter_map(async |()| None);
    stream::select(reading, receiver).boxed()
}

async fn read_all(store: &Store, mut sender: Sender) {
    if let Err(failure) = read_tables(store, &mut sender).await {
        // Nobody listens any more: then nobody needs to know.
        let _ = sender.send(Err(failure.into())).await;
    }
}

async fn read_tables(store: &Store, sender: &mut Sender) -> Result<(), Failure> {
    let mut tx = store.long_snapshot().await?;
    for table in &TABLES {
        read_table(&mut tx, table, sender).await?;
    }
    Ok(())
}

async fn read_table(tx: &mut Connection, table: &'static Table, sender: &mut Sender) -> Result<(), Failure> {
    let mut query: QueryBuilder<Db> = QueryBuilder::new("SELECT ");
    let mut columns = query.separated(", ");
    for (name, _) in table.columns {
        columns.push(name);
    }
    query.push(" FROM ").push(table.name).push(" ORDER BY ").push(table.order);
    let mut rows = query.build().fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let mut record = Record { table: table.name.to_owned(), row: fields(table, &row)? };
        if table.name == "jobs" {
            give_back(&mut record.row);
        }
        if sender.send(Ok(record)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn fields(table: &Table, row: &Row) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    for (name, kind) in table.columns {
        let value = match kind {
            Kind::Text | Kind::Name(_) => Value::from(row.try_get::<String, _>(name)?),
            Kind::OptionalText | Kind::OptionalName(_) => Value::from(row.try_get::<Option<String>, _>(name)?),
            Kind::Prose => Value::from(original(row.try_get(name)?)),
            Kind::OptionalProse => Value::from(row.try_get::<Option<String>, _>(name)?.map(original)),
            Kind::Integer => Value::from(row.try_get::<i64, _>(name)?),
            Kind::OptionalInteger => Value::from(row.try_get::<Option<i64>, _>(name)?),
            Kind::Real => Value::from(f64::from(row.try_get::<f32, _>(name)?)),
            Kind::Flag => Value::from(row.try_get::<bool, _>(name)?),
        };
        fields.insert((*name).to_owned(), value);
    }
    Ok(fields)
}

/// A lease does not outlive the catalog it was given by: what runs here waits there, in the middle of its stage and with
/// this try not counted.
fn give_back(job: &mut Map<String, Value>) {
    if job.get("status").and_then(Value::as_str) != Some(JobStatus::Running.as_str()) {
        return;
    }
    let attempts = job.get("attempts").and_then(Value::as_i64).unwrap_or_default();
    let since = job.get("updated_at").cloned().unwrap_or_default();
    for (name, value) in [
        ("status", JobStatus::Queued.as_str().into()),
        ("worker", Value::Null),
        ("interrupted", true.into()),
        ("attempts", (attempts - 1).max(0).into()),
        ("wake_at", since),
    ] {
        job.insert(name.to_owned(), value);
    }
}
