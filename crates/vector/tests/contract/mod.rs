//! What every implementation of `VectorIndexes` and `VectorStore` must do; each test says which one it ran against.
//!
//! To put another implementation under the contract: include this module (`#[path = "../contract/mod.rs"] mod contract;`),
//! implement [`Fixture`] for a type of your own, and write `contract!(YourType);` in a module of its own. That makes one
//! `#[tokio::test]` of every test in the list below. One fixture is one empty store: tests run side by side.

pub(crate) mod access;
mod common;
pub(crate) mod filters;
pub(crate) mod indexes;
pub(crate) mod keywords;
pub(crate) mod replace;
pub(crate) mod reshard;
pub(crate) mod validation;

use std::sync::Arc;

use ragstone_core::ports::{VectorIndexes, VectorStore};

pub(crate) use common::*;

/// An implementation under test, with an empty store of its own.
pub(crate) trait Fixture: Sized {
    /// Whether the number of an index's shards can be changed.
    const RESHARDS: bool;

    /// How the test's output names it.
    fn name(&self) -> String;

    /// An empty store in which new indexes have this many shards, where their number can be chosen.
    ///
    /// # Errors
    /// Why it cannot be had here; the test then prints that and ends.
    async fn start(shards: usize) -> Result<Self, String>;

    /// The indexes, opened anew. All that earlier calls gave was closed and dropped before.
    async fn open(&self) -> Arc<dyn VectorIndexes>;
}

/// A fresh index in a fresh store.
pub(crate) async fn fresh(fixture: &impl Fixture) -> (Arc<dyn VectorIndexes>, Arc<dyn VectorStore>) {
    let indexes = fixture.open().await;
    indexes.create(&spec()).await.unwrap();
    let store = indexes.open(None).await.unwrap();
    (indexes, store)
}

/// Closes both and opens them again.
pub(crate) async fn reopened(
    fixture: &impl Fixture,
    (indexes, store): (Arc<dyn VectorIndexes>, Arc<dyn VectorStore>),
) -> (Arc<dyn VectorIndexes>, Arc<dyn VectorStore>) {
    indexes.close().await.unwrap();
    drop((indexes, store));
    let indexes = fixture.open().await;
    let store = indexes.open(None).await.unwrap();
    (indexes, store)
}

/// Runs one test of the contract.
#[expect(clippy::print_stdout, reason = "says what ran against what")]
pub(crate) async fn run<F: Fixture>(test: &str, shards: usize, body: impl AsyncFnOnce(&F)) {
    match F::start(shards).await {
        Ok(fixture) => {
            println!("contract: {test} against {}", fixture.name());
            body(&fixture).await;
        }
        Err(reason) => println!("contract: {test} NOT RUN: {reason}"),
    }
}

macro_rules! contract {
    ($fixture:ty) => {
        contract! { @tests $fixture, 2:
            access::tenants_and_groups_never_cross,
            filters::filters_mean_what_the_naive_evaluator_says,
            indexes::creating_twice_changes_nothing,
            indexes::an_index_for_something_else_is_refused,
            indexes::the_first_one_serves_and_another_takes_over,
            indexes::searches_go_on_while_another_index_takes_over,
            indexes::a_removed_index_is_gone_and_the_serving_one_stays,
            indexes::everything_is_there_again_after_opening,
            keywords::each_language_is_found_by_its_own_forms,
            keywords::titles_and_headings_are_searched_too,
            keywords::languages_of_the_index_are_known_again_after_opening_it,
            replace::staged_chunks_are_invisible_until_published,
            replace::publishing_hides_the_older_version_and_removal_is_complete,
            replace::late_and_repeated_deliveries_change_nothing,
            replace::an_incomplete_version_is_not_published,
            replace::readers_never_see_an_empty_or_mixed_document_while_it_is_replaced,
            replace::the_next_search_sees_what_was_flushed,
            replace::live_documents_are_counted_once,
            validation::unusable_vectors_are_refused_and_nothing_is_stored,
            validation::a_vector_is_needed_except_for_keywords,
            validation::ties_break_on_ids_whatever_the_order_of_arrival,
        }
        contract! { @tests $fixture, 4:
            reshard::a_fixed_number_of_shards_is_said,
            reshard::impossible_shards_are_refused,
            reshard::a_fifth_shard_takes_its_share_while_searches_run_and_gives_it_back,
            reshard::a_move_goes_on_after_opening_again,
            reshard::documents_written_before_they_moved_are_right,
        }
    };
    (@tests $fixture:ty, $shards:literal: $($module:ident :: $test:ident),+ $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $test() {
            let body = async |fixture: &$fixture| crate::contract::$module::$test(fixture).await;
            crate::contract::run::<$fixture>(stringify!($test), $shards, body).await;
        }
    )+ };
}
pub(crate) use contract;
