//! Step 7 of a query: the best of a longer list, as a model that reads question and passage together ranks them.

use std::borrow::Cow;

use ragstone_core::{Degraded, Error, Hit, Result};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use ragstone_rpc::request;

use super::Trail;
use super::input::Search;
use crate::Config;
use crate::app::App;
use crate::backends::failed;

/// What is searched so that there is something to choose from: more hits than asked for, where they will be reranked.
pub(crate) fn candidates<'a>(search: &'a Search, config: &Config) -> Cow<'a, Search> {
    if !search.rerank {
        return Cow::Borrowed(search);
    }
    let wanted = search.k.saturating_mul(config.rerank_factor).min(config.rerank_max_candidates).max(search.k);
    Cow::Owned(Search { k: wanted, ..search.clone() })
}

/// The best hits in the reranker's order and with its scores, where reranking was asked for. When it fails or is late, the
/// search's own order stands, and that is said.
#[tracing::instrument(name = "rerank", skip_all, fields(candidates = hits.len()))]
pub(crate) async fn rerank(
    app: &App,
    search: &Search,
    mut hits: Vec<Hit>,
    deadline: Deadline,
    trail: &mut Trail,
) -> Vec<Hit> {
    if search.rerank && !hits.is_empty() {
        let share = deadline.cap(app.config.rerank_timeout());
        match share.run(scores(app, search, &hits, share)).await {
            Ok(scores) => order(&mut hits, &scores),
            Err(error) => {
                tracing::debug!(error = error.chain(), "the passages were not reranked");
                trail.degrade(Degraded::RerankSkipped.as_str());
            }
        }
    }
    hits.truncate(search.k as usize);
    hits
}

async fn scores(app: &App, search: &Search, hits: &[Hit], deadline: Deadline) -> Result<Vec<f32>> {
    let passages = hits.iter().map(|hit| hit.content.clone()).collect();
    let message = v1::RerankRequest { query: search.text.clone(), passages };
    let answer = app.backends.embedding.clone().rerank(request(message, deadline)).await;
    let scores = answer.map_err(failed("embedding"))?.into_inner().scores;
    if scores.len() == hits.len() && scores.iter().all(|score| score.is_finite()) {
        return Ok(scores);
    }
    metrics::counter!("rag_errors_total", "type" => "rerank_invalid").increment(1);
    Err(Error::internal("the reranker's scores are no usable ones"))
}

/// Gives each hit its score, best first; what scores alike keeps the search's order.
fn order(hits: &mut [Hit], scores: &[f32]) {
    for (hit, score) in hits.iter_mut().zip(scores) {
        hit.score = *score;
    }
    hits.sort_by(|a, b| b.score.total_cmp(&a.score));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::pack::tests::hit;
    use super::*;
    use crate::query::SearchInput;

    fn search(k: u32, rerank: bool) -> Search {
        let input = SearchInput { query: "q".into(), k: Some(k), rerank: Some(rerank), ..SearchInput::default() };
        input.check(10).unwrap()
    }

    #[test]
    fn more_is_searched_only_for_reranking_and_within_bounds() {
        let config = Config::default();
        let wanted = |k, rerank| candidates(&search(k, rerank), &config).k;
        assert_eq!((wanted(5, false), wanted(5, true), wanted(1, true)), (5, 20, 4));
        assert_eq!((wanted(20, true), wanted(60, true), wanted(100, true)), (50, 60, 100));
    }

    #[test]
    fn equal_scores_keep_the_searchs_order() {
        let mut hits = vec![hit("a", 3.0), hit("b", 2.0), hit("c", 1.0), hit("d", 0.5)];
        order(&mut hits, &[-1.0, 0.5, 0.5, 9.0]);
        let found: Vec<_> = hits.iter().map(|hit| (hit.content.as_str(), hit.score)).collect();
        assert_eq!(found, [("d", 9.0), ("b", 0.5), ("c", 0.5), ("a", -1.0)]);
    }
}
