//! Step 6 of a query: the passages, filtered by what the caller may read.

use std::time::Instant;

use ragstone_core::{Degraded, Error, ErrorCode, Hit, Principal, Result, SearchMode, SearchResult, ShardReport};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;

use super::Trail;
use super::embed::{Embedded, embed};
use super::input::Search;
use crate::app::App;
use crate::backends::failed;
use crate::documents::broken;
use crate::serving;

/// Searches within its share of the time. Shards that are missing are said. While the vector store is gone, the
/// catalog's texts are searched by their words.
///
/// # Errors
/// What the retrieval service says, when the catalog cannot help either; `Unavailable` when it says nothing.
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
    let mut outcome = ask(app, caller, search, &embedded, deadline).await;
    let gone = |outcome: &Result<SearchResult>| outcome.as_ref().is_err_and(|e| e.code == ErrorCode::NotFound);
    // The index of this model is gone: another one serves by now.
    if gone(&outcome) && learn(app, deadline).await {
        let embedded = embed(app, search, deadline, trail).await?;
        outcome = ask(app, caller, search, &embedded, deadline).await;
    }
    // The embedding service has another revision of the model than any index: its vectors are of no use.
    if gone(&outcome) {
        if embedded.mode == SearchMode::Dense {
            return Err(Error::unavailable("no index holds vectors of the embedding model; hybrid search may do"));
        }
        trail.degrade(Degraded::EmbedLexicalOnly.as_str());
        outcome = ask(app, caller, search, &Embedded::keywords(), deadline).await;
    }
    let result = match outcome {
        Err(error) if is_gone(error.code) => by_words(app, caller, search, deadline, trail, error).await,
        outcome => outcome,
    };
    trail.timings.search = started.elapsed();
    let result = result?;
    if result.shards.is_partial() {
        trail.degrade(Degraded::RetrievalPartial.as_str());
    }
    Ok(result)
}

/// Whether another place to search may help.
fn is_gone(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Unavailable | ErrorCode::DeadlineExceeded | ErrorCode::Internal)
}

async fn ask(
    app: &App,
    caller: &Principal,
    search: &Search,
    embedded: &Embedded,
    deadline: Deadline,
) -> Result<SearchResult> {
    let share = deadline.cap(app.config.search_timeout());
    let message = v1::RetrieveRequest {
        access: Some(caller.access.clone().into()),
        query: search.text.clone(),
        vector: embedded.vector.clone(),
        mode: v1::SearchMode::from(embedded.mode).into(),
        k: search.k,
        filter: (!search.filter.is_empty()).then(|| search.filter.clone().into()),
        index: embedded.index.clone(),
    };
    let mut retrieval = app.backends.retrieval.clone();
    let call = async { retrieval.retrieve(request(message, share)).await.map_err(failed("retrieval")) };
    let v1::RetrieveResponse { hits, shards, serving } = share.run(call).await?.into_inner();
    if let Some(serving) = serving {
        app.serving.learn(serving.try_into().map_err(broken)?);
    }
    Ok(SearchResult { hits: decoded(hits)?, shards: shards.unwrap_or_default().into() })
}

fn decoded(hits: Vec<v1::Hit>) -> Result<Vec<Hit>> {
    hits.into_iter().map(Hit::try_from).collect::<Result<_, Error>>().map_err(broken)
}

/// Asks which index serves. Whether that is news; not when nobody can tell.
async fn learn(app: &App, deadline: Deadline) -> bool {
    let told = serving::ask(app, deadline.cap(app.config.search_timeout())).await;
    told.is_ok_and(|serving| serving.is_some_and(|spec| app.serving.learn(spec)))
}

/// The catalog's chunk texts by their words, instead of the vector store that failed with `gone`.
async fn by_words(
    app: &App,
    caller: &Principal,
    search: &Search,
    deadline: Deadline,
    trail: &mut Trail,
    gone: Error,
) -> Result<SearchResult> {
    let share = deadline.cap(app.config.search_timeout());
    let message = v1::SearchChunksRequest {
        access: Some(caller.access.clone().into()),
        query: search.text.clone(),
        k: search.k,
        filter: (!search.filter.is_empty()).then(|| search.filter.clone().into()),
    };
    let mut ingestion = app.backends.ingestion.clone();
    let call = async { ingestion.search_chunks(request(message, share)).await.map_err(failed("ingestion")) };
    match share.run(call).await {
        Ok(answer) => {
            tracing::warn!(error = gone.chain(), "the vector store is gone, the catalog's texts were searched");
            trail.degrade(Degraded::RetrievalKeywordFallback.as_str());
            Ok(SearchResult { hits: decoded(answer.into_inner().hits)?, shards: ShardReport::default() })
        }
        Err(error) => {
            tracing::warn!(error = error.chain(), "the catalog cannot be searched either");
            Err(gone)
        }
    }
}
