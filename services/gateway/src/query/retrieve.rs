//! Step 6 of a query: the passages, filtered by what the caller may read.

use std::time::Instant;

use ragstone_core::{Degraded, Error, Hit, Principal, Result, SearchResult};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;

use super::Trail;
use super::embed::Embedded;
use super::input::Search;
use crate::app::App;
use crate::backends::failed;
use crate::documents::broken;

/// Searches within its share of the time. Shards that are missing are said.
///
/// # Errors
/// What the retrieval service says; `Unavailable` when it says nothing.
#[tracing::instrument(name = "retrieve", skip_all, fields(mode = embedded.mode.as_str(), k = search.k))]
pub(crate) async fn retrieve(
    app: &App,
    caller: &Principal,
    search: &Search,
    embedded: Embedded,
    deadline: Deadline,
    trail: &mut Trail,
) -> Result<SearchResult> {
    let started = Instant::now();
    let share = deadline.cap(app.config.search_timeout());
    let message = v1::RetrieveRequest {
        access: Some(caller.access.clone().into()),
        query: search.text.clone(),
        vector: embedded.vector,
        mode: v1::SearchMode::from(embedded.mode).into(),
        k: search.k,
        filter: (!search.filter.is_empty()).then(|| search.filter.clone().into()),
    };
    let mut retrieval = app.backends.retrieval.clone();
    let call = async { retrieval.retrieve(request(message, share)).await.map_err(failed("retrieval")) };
    let outcome = share.run(call).await;
    trail.timings.search = started.elapsed();
    let v1::RetrieveResponse { hits, shards } = outcome?.into_inner();
    let shards = shards.unwrap_or_default().into();
    let hits = hits.into_iter().map(Hit::try_from).collect::<Result<_, Error>>().map_err(broken)?;
    let result = SearchResult { hits, shards };
    if result.shards.is_partial() {
        trail.degrade(Degraded::RetrievalPartial.as_str());
    }
    Ok(result)
}
