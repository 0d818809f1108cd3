//! Scores the sentences of passages by how well they answer a question.

use std::collections::HashSet;
use std::ops::Range;

use super::hints::{Expected, expected, offers};
use super::sentences::{Sentence, sentences};
use super::words::{Word, words};

/// What each sign of a good sentence counts for, beside the share of the question's words in it (0 to 1). Found on one
/// half of XQuAD and PIAF (`measure.rs`); the maximum is flat.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    /// Share of the question's neighbouring word pairs that stand together in the sentence.
    pub(super) pair: f32,
    /// Share of the question's words in the whole passage.
    pub(super) passage: f32,
    /// Share of the question's words that only the sentence before or after has: "He", "this" refer to it.
    pub(super) neighbour: f32,
    /// The same for the heading above.
    pub(super) heading: f32,
    /// The sentence holds the kind of thing that is asked for.
    pub(super) hint: f32,
    /// Taken off for each passage ranked before this one.
    pub(super) rank: f32,
    /// Taken off for a sentence that says nothing beyond the question's own words, as a heading or a question does.
    pub(super) echo: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { pair: 0.1, passage: 0.5, neighbour: 0.35, heading: 0.3, hint: 0.15, rank: 0.05, echo: 0.2 }
    }
}

/// A sentence with fewer words than this beyond the question's own says nothing new.
const LEAST_NEWS: usize = 2;

/// Sentences assumed to exist beside the given ones when rarity is measured: in two sentences alone, every word that both
/// share would weigh nothing.
const OTHER_SENTENCES: f32 = 20.0;

/// A sentence with its score.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// Index of its passage, from 0.
    pub(super) passage: usize,
    /// Where it stands there, in bytes.
    pub(super) span: Range<usize>,
    /// Higher is better.
    pub(super) score: f32,
    /// Share of the question's words, by weight, in it or in the sentences and heading around it.
    pub(super) coverage: f32,
    /// Its words, to find near-duplicates.
    pub(super) stems: HashSet<String>,
}

/// A question taken apart.
struct Asked {
    stems: Vec<String>,
    pairs: Vec<(String, String)>,
    expected: Expected,
}

/// A sentence taken apart.
struct Read<'t> {
    passage: usize,
    sentence: Sentence,
    words: Vec<Word<'t>>,
    stems: HashSet<String>,
    heading: HashSet<String>,
}

/// Every quotable sentence, in reading order.
pub(super) fn rank(question: &str, passages: &[&str], weights: &Weights) -> Vec<Candidate> {
    let asked = Asked::new(question);
    let read: Vec<Read<'_>> = passages.iter().enumerate().flat_map(|(place, text)| read(place, text)).collect();
    let rarity = Rarity::new(&asked.stems, &read);
    let whole: Vec<f32> = (0..passages.len())
        .map(|passage| rarity.share(|stem| read.iter().any(|r| r.passage == passage && r.stems.contains(stem))))
        .collect();
    read.iter()
        .enumerate()
        .filter(|(_, read)| !read.sentence.context_only)
        .map(|(place, _)| score(place, &read, &asked, &rarity, &whole, weights))
        .collect()
}

fn score(
    place: usize,
    all: &[Read<'_>],
    asked: &Asked,
    rarity: &Rarity,
    whole: &[f32],
    weights: &Weights,
) -> Candidate {
    let this = &all[place];
    let beside = |at: Option<usize>| at.and_then(|at| all.get(at)).filter(|other| other.passage == this.passage);
    let (before, after) = (beside(place.checked_sub(1)), beside(place.checked_add(1)));
    let in_sentence = |stem: &str| this.stems.contains(stem);
    let in_heading = |stem: &str| this.heading.contains(stem);
    let nearby = |stem: &str| [before, after].into_iter().flatten().any(|read| read.stems.contains(stem));

    let own = rarity.share(in_sentence);
    let with_neighbours = rarity.share(|stem| in_sentence(stem) || nearby(stem));
    let with_heading = rarity.share(|stem| in_sentence(stem) || in_heading(stem));
    let news = this.words.iter().filter(|word| word.content && !asked.stems.contains(&word.stem)).count();
    let score = own
        + weights.pair * asked.pair_share(&this.words)
        + weights.passage * whole[this.passage]
        + weights.neighbour * (with_neighbours - own)
        + weights.heading * (with_heading - own)
        + if offers(asked.expected, &this.words, &asked.stems) { weights.hint } else { 0.0 }
        - if news < LEAST_NEWS { weights.echo } else { 0.0 }
        - weights.rank * this.passage as f32;
    let coverage = rarity.share(|stem| in_sentence(stem) || in_heading(stem) || nearby(stem));
    Candidate { passage: this.passage, span: this.sentence.span.clone(), score, coverage, stems: this.stems.clone() }
}

fn read(passage: usize, text: &str) -> impl Iterator<Item = Read<'_>> {
    sentences(text).into_iter().map(move |sentence| {
        let words: Vec<Word<'_>> = words(&text[sentence.span.clone()]).collect();
        let stems = words.iter().map(|word| word.stem.clone()).collect();
        let heading = self::words(&text[sentence.heading.clone()]).map(|word| word.stem).collect();
        Read { passage, sentence, words, stems, heading }
    })
}

impl Asked {
    fn new(question: &str) -> Self {
        let mut stems: Vec<String> = Vec::new();
        let mut pairs = Vec::new();
        let mut before: Option<String> = None;
        for word in words(question).filter(|word| word.content) {
            if let Some(before) = before.replace(word.stem.clone()) {
                pairs.push((before, word.stem.clone()));
            }
            if !stems.contains(&word.stem) {
                stems.push(word.stem);
            }
        }
        Self { stems, pairs, expected: expected(question) }
    }

    fn pair_share(&self, words: &[Word<'_>]) -> f32 {
        if self.pairs.is_empty() {
            return 0.0;
        }
        let content: Vec<&str> = words.iter().filter(|word| word.content).map(|word| word.stem.as_str()).collect();
        let found = self.pairs.iter().filter(|(a, b)| content.windows(2).any(|w| w[0] == a && w[1] == b)).count();
        found as f32 / self.pairs.len() as f32
    }
}

/// How much each of the question's words tells, measured on the passages themselves.
struct Rarity {
    weights: Vec<(String, f32)>,
    sum: f32,
}

impl Rarity {
    /// Inverse document frequency as in BM25, a sentence being a document.
    fn new(stems: &[String], read: &[Read<'_>]) -> Self {
        let total = read.len() as f32 + OTHER_SENTENCES;
        let weights: Vec<(String, f32)> = stems
            .iter()
            .map(|stem| {
                let with = read.iter().filter(|read| read.stems.contains(stem)).count() as f32;
                (stem.clone(), (1.0 + (total - with + 0.5) / (with + 0.5)).ln())
            })
            .collect();
        let sum = weights.iter().map(|(_, weight)| weight).sum();
        Self { weights, sum }
    }

    /// Share, by weight, of the question's words for which `has` holds; 0 to 1.
    fn share(&self, has: impl Fn(&str) -> bool) -> f32 {
        if self.sum == 0.0 {
            return 0.0;
        }
        self.weights.iter().filter(|(stem, _)| has(stem)).map(|(_, weight)| weight).sum::<f32>() / self.sum
    }
}
