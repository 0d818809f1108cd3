//! Brings in the rows of a backup, all or none.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use ragstone_core::ports::{Record, VersionText};
use ragstone_core::{Chunk, DocumentId, Error, Result, TenantId};
use serde_json::{Map, Value};
use sqlx::{QueryBuilder, Row as _};

use super::Store;
use super::dialect::{Connection, Db, Sharing, advance_sequences, insert_chunks, lock_indexes, stored};
use super::end::end;
use super::failure::Failure;
use super::rows::{from_int, prose, to_int};
use crate::tables::{self, Kind, Table};

/// Rows that go in with one statement.
const BATCH: usize = 100;

type Fields = Map<String, Value>;

pub(super) async fn import(store: &Store, mut records: BoxStream<'_, Result<Record>>) -> Result<u64, Failure> {
    let mut tx = store.begin_long().await?;
    let outcome = import_in(store, &mut tx, &mut records).await;
    end(tx, outcome).await
}

async fn import_in(
    store: &Store,
    tx: &mut Connection,
    records: &mut BoxStream<'_, Result<Record>>,
) -> Result<u64, Failure> {
    // Two at once would both find it empty.
    lock_indexes(tx, Sharing::Alone).await?;
    refuse_unless_empty(tx).await?;
    let (mut count, mut batch) = (0, None::<(&'static Table, Vec<Fields>)>);
    while let Some(record) = records.next().await {
        let record = record?;
        let table = tables::find(&record.table)
            .ok_or_else(|| Error::invalid(format!("a backup has no table '{}'", record.table)))?;
        check(table, &record.row)?;
        count += 1;
        match &mut batch {
            Some((of, rows)) if of.name == table.name && rows.len() < BATCH => rows.push(record.row),
            _ => {
                if let Some((of, rows)) = batch.replace((table, vec![record.row])) {
                    insert(store, tx, of, rows).await?;
                }
            }
        }
    }
    if let Some((of, rows)) = batch {
        insert(store, tx, of, rows).await?;
    }
    advance_sequences(tx).await?;
    Ok(count)
}

async fn refuse_unless_empty(tx: &mut Connection) -> Result<(), Failure> {
    let filled: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM tenants) OR EXISTS (SELECT 1 FROM documents) OR EXISTS (SELECT 1 FROM indexes) \
         OR EXISTS (SELECT 1 FROM api_keys) OR EXISTS (SELECT 1 FROM audit_heads)",
    )
    .fetch_one(tx)
    .await?;
    if filled {
        return Err(Error::conflict("the catalog is not empty: a backup is brought into an empty one").into());
    }
    Ok(())
}

/// Whether the row has the table's columns, each with a value of its kind.
fn check(table: &Table, row: &Fields) -> Result<()> {
    let wrong = |what: &str| Error::invalid(format!("a row of '{}' has {what}", table.name));
    if let Some(name) = row.keys().find(|name| table.columns.iter().all(|(known, _)| known != name)) {
        return Err(wrong(&format!("the unknown column '{name}'")));
    }
    for (name, kind) in table.columns {
        let value = row.get(*name).ok_or_else(|| wrong(&format!("no column '{name}'")))?;
        let named = |fits: &fn(&str) -> bool| value.as_str().is_some_and(fits);
        let fits = match kind {
            Kind::Text | Kind::Prose => value.is_string(),
            Kind::OptionalText | Kind::OptionalProse => value.is_string() || value.is_null(),
            Kind::Name(check) => named(check),
            Kind::OptionalName(check) => value.is_null() || named(check),
            Kind::Integer => value.is_i64(),
            Kind::OptionalInteger => value.is_i64() || value.is_null(),
            Kind::Real => value.is_number(),
            Kind::Flag => value.is_boolean(),
        };
        if !fits {
            return Err(wrong(&format!("an unusable value of '{name}'")));
        }
    }
    Ok(())
}

async fn insert(store: &Store, tx: &mut Connection, table: &Table, rows: Vec<Fields>) -> Result<(), Failure> {
    let inserted =
        if table.name == "chunks" { insert_texts(store, tx, rows).await } else { insert_rows(tx, table, rows).await };
    inserted.map_err(|failure| match failure {
        // A row that refers to nothing, or that is there twice.
        Failure::Sql(error)
            if error.as_database_error().is_some_and(|e| !matches!(e.kind(), sqlx::error::ErrorKind::Other)) =>
        {
            Error::invalid(format!("a row of '{}' does not fit the others", table.name)).with_source(error).into()
        }
        other => other,
    })
}

async fn insert_rows(tx: &mut Connection, table: &Table, rows: Vec<Fields>) -> Result<(), Failure> {
    let mut query: QueryBuilder<Db> = QueryBuilder::new("INSERT INTO ");
    query.push(table.name).push(" (");
    let mut columns = query.separated(", ");
    for (name, _) in table.columns {
        columns.push(name);
    }
    query.push(") ");
    query.push_values(rows, |mut values, mut row| {
        for (name, kind) in table.columns {
            let value = row.remove(*name).unwrap_or_default();
            let text = |value: &Value| value.as_str().map(str::to_owned);
            match kind {
                Kind::Text | Kind::Name(_) | Kind::OptionalText | Kind::OptionalName(_) => {
                    values.push_bind(text(&value))
                }
                Kind::Prose | Kind::OptionalProse => {
                    values.push_bind(value.as_str().map(|text| stored(text).into_owned()))
                }
                Kind::Integer | Kind::OptionalInteger => values.push_bind(value.as_i64()),
                #[expect(clippy::cast_possible_truncation, reason = "it was an f32 when it was exported")]
                Kind::Real => values.push_bind(value.as_f64().unwrap_or_default() as f32),
                Kind::Flag => values.push_bind(value.as_bool().unwrap_or_default()),
            };
        }
    });
    query.build().execute(tx).await?;
    Ok(())
}

/// Chunks go in with what keyword search needs, which is made from them and from their version's title and language.
async fn insert_texts(store: &Store, tx: &mut Connection, rows: Vec<Fields>) -> Result<(), Failure> {
    let mut texts: Vec<((TenantId, DocumentId, u64), Vec<Chunk>)> = Vec::new();
    for row in &rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| from_int(row.get(name).and_then(Value::as_i64).unwrap_or_default());
        let small = |name: &str| u32::try_from(number(name)).unwrap_or(u32::MAX);
        let version = (TenantId::new(text("tenant"))?, DocumentId::new(text("document_id"))?, number("version"));
        let chunk = Chunk {
            index: small("chunk_index"),
            content: text("content").to_owned(),
            heading_path: serde_json::from_str(text("heading_path"))?,
            start: number("start_char"),
            end: number("end_char"),
            tokens: small("tokens"),
        };
        match texts.last_mut() {
            Some((of, chunks)) if *of == version => chunks.push(chunk),
            _ => texts.push((version, vec![chunk])),
        }
    }
    for ((tenant, document, version), chunks) in texts {
        let row =
            sqlx::query("SELECT title, language FROM versions WHERE tenant = $1 AND document_id = $2 AND version = $3")
                .bind(tenant.as_str())
                .bind(document.as_str())
                .bind(to_int(version))
                .fetch_optional(&mut *tx)
                .await?
                .ok_or_else(|| Error::invalid("a row of 'chunks' does not fit the others"))?;
        let text = VersionText { title: prose(&row, "title")?, language: row.try_get("language")?, chunks };
        insert_chunks(store, tx, (&tenant, &document, version), &text).await?;
    }
    Ok(())
}
