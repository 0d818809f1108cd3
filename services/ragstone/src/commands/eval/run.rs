//! One evaluation against a server: ingest, search, ask, clean up.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use ragstone_core::Metadata;
use serde::Serialize;
use serde_json::{Value, json};

use super::metrics::{Ranking, contains, rank};
use super::squad::{DataSet, Question};
use crate::client::Client;
use crate::commands::search::Mode;
use crate::failure::Failure;
use crate::upload::{Content, Upload};
use crate::wire::{self, QueryAnswer, SearchAnswer};
use crate::{follow, progress};

/// How many documents are sent, and how many questions are asked, at a time.
const PARALLEL_UPLOADS: usize = 8;
const PARALLEL_QUESTIONS: usize = 4;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Evaluation {
    pub(super) dataset: String,
    pub(super) documents: usize,
    pub(super) questions: usize,
    pub(super) k: usize,
    /// By search mode.
    pub(super) retrieval: BTreeMap<&'static str, Ranking>,
    pub(super) answers: Answers,
}

/// How good the answers were.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Answers {
    /// Share of answers that hold a right answer.
    pub(super) contains_gold: f64,
    /// Share of answers that cite anything.
    pub(super) cited: f64,
    /// Share of all citations that name the question's paragraph.
    pub(super) citation_precision: f64,
    /// How often answers were degraded, by code.
    pub(super) degraded: BTreeMap<String, usize>,
}

/// An evaluation that is being made.
pub(super) struct Run<'a> {
    pub(super) client: &'a Client,
    pub(super) set: &'a DataSet,
    pub(super) k: usize,
    pub(super) modes: &'a [Mode],
}

impl Run<'_> {
    /// Measures everything; the documents are there afterwards.
    pub(super) async fn measure(&self) -> Result<Evaluation, Failure> {
        self.ingest().await?;
        let mut retrieval = BTreeMap::new();
        for mode in self.modes {
            retrieval.insert(mode.as_str(), self.rank(*mode).await?);
        }
        Ok(Evaluation {
            dataset: self.set.name.clone(),
            documents: self.set.paragraphs.len(),
            questions: self.set.questions.len(),
            k: self.k,
            retrieval,
            answers: self.ask().await?,
        })
    }

    /// Makes all paragraphs searchable.
    async fn ingest(&self) -> Result<(), Failure> {
        let metadata = Metadata::from_iter([("eval".to_owned(), json!(self.set.name))]);
        let metadata = &metadata;
        let bar = progress::bar(self.set.paragraphs.len() as u64, "sending");
        let jobs: Vec<Option<String>> = stream::iter(&self.set.paragraphs)
            .map(|paragraph| async move {
                let body = json!({ "text": paragraph.text, "title": paragraph.title }).to_string();
                let upload = Upload {
                    id: Some(&paragraph.id),
                    content: Content::Bytes(body.into()),
                    media_type: "application/json",
                    metadata,
                    groups: &[],
                };
                upload.send(self.client).await.map(|accepted| accepted.job_id)
            })
            .buffer_unordered(PARALLEL_UPLOADS)
            .inspect(|_| bar.inc(1))
            .try_collect()
            .await?;
        bar.finish_and_clear();
        let jobs: Vec<String> = jobs.into_iter().flatten().collect();
        let bar = progress::bar(jobs.len() as u64, "indexing");
        let ended = follow::follow_all(self.client, jobs, &bar).await?;
        bar.finish_and_clear();
        match ended.iter().find_map(|job| Some((&job.document_id, follow::failure(job)?))) {
            Some((document, why)) => Err(Failure::failed(format!("{document}: {why}"))),
            None => Ok(()),
        }
    }

    /// Ranks the right paragraph of every question.
    async fn rank(&self, mode: Mode) -> Result<Ranking, Failure> {
        let found = self.each_question(mode.as_str(), async |question| {
            let body = json!({ "query": question.text, "k": self.k, "mode": mode.as_str(), "filter": self.filter() });
            let answer: SearchAnswer = self.client.post(&["search"], &body).await?;
            Ok(rank(answer.hits.iter().map(|hit| hit.document_id.as_str()), self.right(question)))
        });
        Ok(Ranking::of(&found.await?, self.k))
    }

    /// Asks every question.
    async fn ask(&self) -> Result<Answers, Failure> {
        let answers = self.each_question("asking", async |question| {
            let body = json!({ "query": question.text, "filter": self.filter(), "cache": false });
            let answer: Value = self.client.post(&["query"], &body).await?;
            let answer: QueryAnswer = wire::read(answer)?;
            Ok((question, answer))
        });
        Ok(self.judge(&answers.await?))
    }

    fn judge(&self, answers: &[(&Question, QueryAnswer)]) -> Answers {
        let share = |count: usize, of: usize| if of == 0 { 0.0 } else { count as f64 / of as f64 };
        let good = |(question, answer): &&(&Question, QueryAnswer)| {
            question.answers.iter().any(|gold| contains(&answer.answer, gold))
        };
        let cited = answers.iter().filter(|(_, answer)| !answer.citations.is_empty()).count();
        let citations = || answers.iter().flat_map(|(q, answer)| answer.citations.iter().map(move |c| (q, c)));
        let right = citations().filter(|(question, citation)| citation.document_id == self.right(question)).count();
        let mut degraded = BTreeMap::new();
        for code in answers.iter().flat_map(|(_, answer)| &answer.degraded) {
            *degraded.entry(code.clone()).or_default() += 1;
        }
        Answers {
            contains_gold: share(answers.iter().filter(good).count(), answers.len()),
            cited: share(cited, answers.len()),
            citation_precision: share(right, citations().count()),
            degraded,
        }
    }

    async fn each_question<'s, T>(
        &'s self,
        label: &'static str,
        call: impl AsyncFn(&'s Question) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let bar = progress::bar(self.set.questions.len() as u64, label);
        let answers = stream::iter(&self.set.questions)
            .map(|question| call(question))
            .buffered(PARALLEL_QUESTIONS)
            .inspect(|_| bar.inc(1))
            .try_collect()
            .await;
        bar.finish_and_clear();
        answers
    }

    /// Only the data set's own documents: others on the server change nothing.
    fn filter(&self) -> Value {
        json!({ "must": [{ "key": "metadata.eval", "match": self.set.name }] })
    }

    fn right(&self, question: &Question) -> &str {
        self.set.paragraphs[question.paragraph].id.as_str()
    }

    /// Deletes the documents again.
    pub(super) async fn clean_up(&self) -> Result<(), Failure> {
        let deleted = stream::iter(&self.set.paragraphs)
            .map(|paragraph| self.client.delete(&paragraph.id))
            .buffer_unordered(PARALLEL_UPLOADS)
            .try_for_each(|_| async { Ok(()) });
        Ok(deleted.await?)
    }
}
