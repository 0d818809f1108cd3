//! Data sets in SQuAD's format: paragraphs, questions, and the words of the paragraph that answer them.

use std::collections::HashMap;
use std::path::Path;

use ragstone_core::DocumentId;
use serde::Deserialize;

use crate::failure::Failure;

/// A data set with document ids.
#[derive(Debug)]
pub(super) struct DataSet {
    /// The file's name without extension; part of every id, and the metadata field `eval`.
    pub(super) name: String,
    pub(super) paragraphs: Vec<Paragraph>,
    pub(super) questions: Vec<Question>,
}

/// One paragraph, a document of its own.
#[derive(Debug)]
pub(super) struct Paragraph {
    pub(super) id: DocumentId,
    pub(super) title: String,
    pub(super) text: String,
}

/// A question with its paragraph and its right answers.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) text: String,
    /// Index of the paragraph.
    pub(super) paragraph: usize,
    pub(super) answers: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    #[serde(default)]
    title: String,
    paragraphs: Vec<Passage>,
}

#[derive(Deserialize)]
struct Passage {
    context: String,
    qas: Vec<Qa>,
}

#[derive(Deserialize)]
struct Qa {
    question: String,
    /// Empty for questions that the paragraph does not answer (SQuAD 2).
    #[serde(default)]
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    text: String,
}

impl DataSet {
    /// Reads the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let cannot = |why: String| Failure::failed(format!("cannot read the data set {}: {why}", path.display()));
        let content = std::fs::read(path).map_err(|e| cannot(e.to_string()))?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Self::parse(name, &content).map_err(cannot)
    }

    /// Questions without an answer are left out; equal paragraphs become one.
    fn parse(name: String, content: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(content).map_err(|e| format!("it is not in SQuAD's format: {e}"))?;
        let mut set = Self { name, paragraphs: Vec::new(), questions: Vec::new() };
        let mut known: HashMap<String, usize> = HashMap::new();
        for Article { title, paragraphs } in file.data {
            for Passage { context, qas } in paragraphs {
                let index = match known.get(&context) {
                    Some(index) => *index,
                    None => set.add(&title, &context)?,
                };
                known.insert(context, index);
                set.questions.extend(qas.into_iter().filter(|qa| !qa.answers.is_empty()).map(|qa| Question {
                    text: qa.question.trim().to_owned(),
                    paragraph: index,
                    answers: qa.answers.into_iter().map(|answer| answer.text).collect(),
                }));
            }
        }
        if set.questions.is_empty() { Err("it holds no question with an answer".to_owned()) } else { Ok(set) }
    }

    fn add(&mut self, title: &str, text: &str) -> Result<usize, String> {
        let index = self.paragraphs.len();
        let id = DocumentId::new(format!("eval/{}/{index}", self.name)).map_err(|e| e.message)?;
        self.paragraphs.push(Paragraph { id, title: title.to_owned(), text: text.to_owned() });
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn paragraphs_and_answers_are_read() {
        let json = br#"{"version": "1.1", "data": [
            {"title": "T", "categorie": "x", "paragraphs": [
                {"context": "One.", "qas": [
                    {"id": "1", "question": " What? ", "answers": [{"text": "One", "answer_start": 0}, {"text": "1"}]},
                    {"id": "2", "question": "Never?", "answers": [], "is_impossible": true}]},
                {"context": "Two.", "qas": [{"question": "Which?", "answers": [{"text": "Two"}]}]},
                {"context": "One.", "qas": [{"question": "Again?", "answers": [{"text": "One"}]}]}]}]}"#;
        let set = DataSet::parse("s".to_owned(), json).unwrap();
        assert_eq!(set.paragraphs.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["eval/s/0", "eval/s/1"]);
        let questions: Vec<_> = set.questions.iter().map(|q| (q.text.as_str(), q.paragraph)).collect();
        assert_eq!(questions, [("What?", 0), ("Which?", 1), ("Again?", 0)]);
        assert_eq!(set.questions[0].answers, ["One", "1"]);
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        assert!(DataSet::parse("s".to_owned(), b"{}").unwrap_err().contains("SQuAD"));
        assert!(DataSet::parse("s".to_owned(), br#"{"data": []}"#).unwrap_err().contains("no question"));
    }
}
