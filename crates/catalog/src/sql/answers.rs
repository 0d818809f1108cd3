//! Which documents answers have read.

use std::collections::{BTreeMap, HashSet};

use ragstone_core::{Answered, AuditAction, Error, Result, TenantId};
use sqlx::QueryBuilder;

use super::Store;
use super::audit::{self, Note};
use super::dialect::{Connection, Db, original, stored};
use super::end::end;
use super::failure::Failure;
use crate::clock::to_millis;

/// The most answers of a call, and the most documents of an answer.
const MAX_ANSWERS: usize = 1_000;
const MAX_DOCUMENTS: usize = 1_000;
/// The longest query id, and the longest list of codes, in bytes.
const MAX_ID: usize = 128;
const MAX_DETAIL: usize = 4_096;

pub(super) async fn record(store: &Store, answers: Vec<Answered>) -> Result<u32, Failure> {
    check(&answers)?;
    // By tenant in one order, so that two who do this never wait for each other in a circle.
    let mut by_tenant = BTreeMap::<TenantId, Vec<Answered>>::new();
    for answer in answers {
        by_tenant.entry(answer.caller.tenant().clone()).or_default().push(answer);
    }
    let mut tx = store.begin().await?;
    let outcome = record_in(store, &mut tx, by_tenant).await;
    end(tx, outcome).await
}

fn check(answers: &[Answered]) -> Result<()> {
    if answers.len() > MAX_ANSWERS {
        return Err(Error::invalid(format!("{} answers are more than {MAX_ANSWERS}", answers.len())));
    }
    for answer in answers {
        if !(1..=MAX_ID).contains(&answer.query_id.len()) {
            return Err(Error::invalid(format!("a query id has 1 to {MAX_ID} bytes")));
        }
        if answer.documents.len() > MAX_DOCUMENTS {
            return Err(Error::invalid(format!("{} documents are more than {MAX_DOCUMENTS}", answer.documents.len())));
        }
        if answer.degraded.iter().map(String::len).sum::<usize>() > MAX_DETAIL {
            return Err(Error::invalid("the degraded codes are too long"));
        }
    }
    Ok(())
}

async fn record_in(
    store: &Store,
    tx: &mut Connection,
    by_tenant: BTreeMap<TenantId, Vec<Answered>>,
) -> Result<u32, Failure> {
    let now = store.now(tx).await?;
    let mut recorded = 0;
    for (tenant, answers) in by_tenant {
        let head = audit::hold(tx, &tenant).await?;
        let mut known = known(tx, &tenant, &answers).await?;
        // The same twice in one call is once, too.
        let new = answers.into_iter().filter(|answer| known.insert(answer.query_id.clone()));
        let notes: Vec<Note> = new.map(|answer| note(answer, now)).collect();
        recorded += u32::try_from(notes.len()).unwrap_or(u32::MAX);
        if !notes.is_empty() {
            audit::append_after(tx, &tenant, head, &notes).await?;
        }
    }
    Ok(recorded)
}

/// Which of these are in the log already: a call that got no answer is sent again.
async fn known(tx: &mut Connection, tenant: &TenantId, answers: &[Answered]) -> Result<HashSet<String>, Failure> {
    let mut query: QueryBuilder<Db> = QueryBuilder::new("SELECT query_id FROM audit_log WHERE tenant = ");
    query.push_bind(tenant.as_str().to_owned()).push(" AND query_id IS NOT NULL AND query_id IN (");
    let mut list = query.separated(", ");
    for answer in answers {
        list.push_bind(stored(&answer.query_id).into_owned());
    }
    list.push_unseparated(")");
    let known = query.build_query_scalar::<String>().fetch_all(tx).await?;
    Ok(known.into_iter().map(original).collect())
}

fn note(answer: Answered, now: i64) -> Note {
    let at = answer.at.map_or(now, to_millis);
    Note {
        documents: answer.documents,
        detail: answer.degraded.join(" "),
        query_id: Some(answer.query_id.clone()),
        ..Note::new(AuditAction::Answer, &answer.caller, &answer.query_id, at)
    }
}
