//! What an ingest did, for people and for programs.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::Session;
use crate::failure::Failure;
use crate::output::note;
use crate::wire::Accepted;

/// The summary of an ingest.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// New documents and new versions.
    pub(super) accepted: Vec<Sent>,
    /// Documents the server has already, just so; they may still be on their way into the index.
    #[serde(serialize_with = "count")]
    pub(super) unchanged: Vec<Sent>,
    /// What could not be read, sent or used.
    pub(super) failed: Vec<Failed>,
    /// Files left out, by extension.
    skipped: BTreeMap<String, usize>,
}

/// A document that the server took.
#[derive(Debug, Serialize)]
pub(super) struct Sent {
    pub(super) document_id: String,
    pub(super) version: u64,
    pub(super) job_id: Option<String>,
}

/// Something that did not work.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    /// A document's id, or a path.
    pub(super) document: String,
    pub(super) reason: String,
}

fn count<S: Serializer>(list: &[Sent], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(list.len() as u64)
}

impl Report {
    pub(super) fn new(skipped: BTreeMap<String, usize>, failed: Vec<(String, String)>) -> Self {
        let failed = failed.into_iter().map(|(document, reason)| Failed { document, reason }).collect();
        Self { skipped, failed, ..Self::default() }
    }

    /// Counts what the server answered.
    pub(super) fn accept(&mut self, accepted: Accepted) {
        let Accepted { document_id, version, job_id, unchanged } = accepted;
        let list = if unchanged { &mut self.unchanged } else { &mut self.accepted };
        list.push(Sent { document_id, version, job_id });
    }

    /// Counts a failure.
    pub(super) fn fail(&mut self, document: impl Into<String>, reason: impl Into<String>) {
        self.failed.push(Failed { document: document.into(), reason: reason.into() });
    }

    /// How many documents were dealt with.
    pub(super) fn finished(&self) -> usize {
        self.accepted.len() + self.unchanged.len() + self.failed.len()
    }

    /// Prints the summary; `waited` tells whether the accepted ones are searchable now.
    pub(super) fn print(&self, json: bool, waited: bool, session: &mut Session) -> Result<(), Failure> {
        for Failed { document, reason } in &self.failed {
            note(&format!("failed: {document}: {reason}"));
        }
        if json {
            return session.out.json(self);
        }
        session.out.line(&self.summary(waited))
    }

    fn summary(&self, waited: bool) -> String {
        let mut text = format!(
            "{} {}, {} unchanged, {} failed",
            self.accepted.len(),
            if waited { "done" } else { "accepted" },
            self.unchanged.len(),
            self.failed.len()
        );
        let skipped: usize = self.skipped.values().sum();
        if skipped > 0 {
            let kinds = self.skipped.iter().map(|(extension, count)| match extension.as_str() {
                "" => format!("{count} without extension"),
                extension => format!("{count} {extension}"),
            });
            text.push_str(&format!(", {skipped} skipped ({})", kinds.collect::<Vec<_>>().join(", ")));
        }
        text
    }

    /// Whether the command succeeded.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        match self.failed.len() {
            0 => Ok(()),
            1 => Err(Failure::failed(format!("{} was not ingested", self.failed[0].document))),
            failed => Err(Failure::failed(format!("{failed} of {} documents were not ingested", self.finished()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_was_left_out() {
        let skipped = BTreeMap::from([(String::new(), 1), (".png".to_owned(), 3)]);
        let mut report = Report::new(skipped, vec![("x".to_owned(), "no".to_owned())]);
        let sent = || Sent { document_id: "a".to_owned(), version: 1, job_id: None };
        report.unchanged = vec![sent(), sent()];
        let text = report.summary(false);
        assert_eq!(text, "0 accepted, 2 unchanged, 1 failed, 4 skipped (1 without extension, 3 .png)");
        assert!(report.verdict().is_err_and(|failure| failure.message == "x was not ingested"));
    }
}
