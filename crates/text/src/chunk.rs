//! Cuts an extracted text into chunks that an embedding model reads whole.

use std::ops::Range;

use ragstone_core::{Chunk, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Extracted, TextFormat};
use crate::sections::{Section, common_path, sections, skip_blank_lines};
use crate::splitter::Splitter;
use crate::token_index::{MAX_BYTES_PER_TOKEN, size};
use crate::tokens::TokenCounter;

/// The fewest tokens that a chunk may be limited to: one character can be several tokens, and it is never cut.
const MIN_TOKENS: usize = 32;

/// How texts are cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChunkConfig {
    /// The longest chunk, in the embedding model's own tokens; the model's limit caps it. At least 32.
    pub tokens: usize,
    /// How many tokens neighbouring chunks of one section share, at most. Less than `tokens`.
    pub overlap: usize,
}

impl Default for ChunkConfig {
    fn default() -> Self {
        Self { tokens: 512, overlap: 50 }
    }
}

/// Cuts texts into chunks, on structure first: sections are kept whole while they fit and small neighbours share a
/// chunk; a section that does not fit is cut between paragraphs, else sentences, words, characters, with some overlap,
/// and its heading stays with its first piece.
///
/// Deterministic; blocks for about a second per megabyte and core.
#[derive(Debug, Clone)]
pub struct Chunker {
    splitter: Splitter,
}

impl Chunker {
    /// A chunker for a model that reads at most `max_tokens` tokens (special tokens not counted).
    ///
    /// # Errors
    /// `InvalidArgument` when the settings leave no room for a chunk.
    pub fn new(counter: TokenCounter, config: &ChunkConfig, max_tokens: usize) -> Result<Self> {
        let tokens = config.tokens.min(max_tokens);
        if tokens < MIN_TOKENS {
            return Err(Error::invalid(format!("chunks of {tokens} tokens are too small: at least {MIN_TOKENS}")));
        }
        if config.overlap >= tokens {
            let overlap = config.overlap;
            return Err(Error::invalid(format!("an overlap of {overlap} tokens does not fit chunks of {tokens}")));
        }
        Ok(Self { splitter: Splitter { counter, tokens, overlap: config.overlap } })
    }

    /// The most tokens of a chunk: the setting, capped by the model's limit.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.splitter.tokens
    }

    /// How many tokens `text` has.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.splitter.counter.count(text)
    }

    /// The chunks of a text, in order. Together they hold every character but white space; a blank text has none.
    ///
    /// # Errors
    /// `Unprocessable` when the tokenizer refuses the text.
    pub fn chunk(&self, extracted: &Extracted) -> Result<Vec<Chunk>> {
        let Extracted { text, format, .. } = extracted;
        let sections = match format {
            TextFormat::Markdown => sections(text),
            TextFormat::Plain => vec![Section { range: 0..text.len(), body: 0, level: 0, path: Vec::new() }],
        };
        let mut ranges = Vec::new();
        for group in self.group(text, &sections) {
            match group {
                Group::Fits(range) => ranges.push(range),
                Group::TooLong { range, body } => ranges.extend(self.split(text, range, body, *format)?),
            }
        }
        self.finish(text, &ranges, &sections, *format)
    }

    /// Puts neighbouring sections together while they fit, and marks those that do not fit alone.
    fn group(&self, text: &str, sections: &[Section]) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut open: Option<Open> = None;
        for section in parts(sections) {
            let tokens = self.measure(text, &section.range);
            if tokens > self.splitter.tokens {
                groups.extend(open.take().map(|group| Group::Fits(group.range)));
                groups.push(Group::TooLong { range: section.range, body: section.body });
                continue;
            }
            match &mut open {
                Some(group) if group.takes(&section, tokens, self.splitter.tokens) => {
                    group.range.end = section.range.end;
                    group.level = section.ends;
                    group.tokens += tokens;
                }
                _ => {
                    let next = Open { range: section.range, level: section.ends, tokens };
                    groups.extend(open.replace(next).map(|group| Group::Fits(group.range)));
                }
            }
        }
        groups.extend(open.map(|group| Group::Fits(group.range)));
        groups
    }

    /// The size of a part; parts that are too long anyway are not tokenized.
    fn measure(&self, text: &str, range: &Range<usize>) -> usize {
        let part = text[range.clone()].trim();
        if part.len() > self.splitter.tokens * MAX_BYTES_PER_TOKEN {
            return usize::MAX;
        }
        size(self.splitter.counter.count(part), part.len())
    }

    /// Cuts a section; its heading (what stands before `body`) goes with the first piece unless it is itself long.
    fn split(&self, text: &str, range: Range<usize>, body: usize, format: TextFormat) -> Result<Vec<Range<usize>>> {
        let heading = &text[range.start..body];
        let room = self.splitter.tokens / 2;
        if size(0, heading.len()) > room || self.splitter.counter.count(heading) > room {
            return self.splitter.split(text, range, "", format);
        }
        let mut pieces = self.splitter.split(text, body..range.end, heading, format)?;
        if let Some(first) = pieces.first_mut() {
            first.start = range.start;
        }
        Ok(pieces)
    }

    /// Counts each range exactly, cuts again what is still too long, and makes chunks.
    fn finish(
        &self,
        text: &str,
        ranges: &[Range<usize>],
        sections: &[Section],
        format: TextFormat,
    ) -> Result<Vec<Chunk>> {
        let mut chunks = Builder { text, sections, chunks: Vec::new(), byte: 0, character: 0, end: 0 };
        for range in ranges {
            let tokens = self.splitter.counter.count(chunks.trimmed(range));
            if tokens <= self.splitter.tokens {
                chunks.push(range, tokens);
                continue;
            }
            for piece in self.splitter.split_exactly(text, range.clone(), format)? {
                let tokens = self.splitter.counter.count(chunks.trimmed(&piece));
                if tokens > self.splitter.tokens {
                    return Err(Error::unprocessable(format!(
                        "one character has {tokens} tokens: no chunk can hold it"
                    )));
                }
                chunks.push(&piece, tokens);
            }
        }
        Ok(chunks.chunks)
    }
}

/// Sections, except that headings with nothing under them are joined with the section that follows, so that they never
/// stand alone before it.
fn parts(sections: &[Section]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::with_capacity(sections.len());
    let mut bare = false;
    for Section { range, body, level, .. } in sections {
        match parts.last_mut() {
            Some(part) if bare => {
                part.range.end = range.end;
                (part.body, part.ends) = (*body, *level);
            }
            _ => parts.push(Part { range: range.clone(), body: *body, begins: *level, ends: *level }),
        }
        bare = body >= &range.end;
    }
    parts
}

/// A stretch of text that is not cut unless it is too long.
struct Part {
    range: Range<usize>,
    /// Where the text under its headings begins.
    body: usize,
    /// Level of its first heading.
    begins: u8,
    /// Level of its last heading.
    ends: u8,
}

/// A stretch of text between two section borders.
enum Group {
    /// It is one chunk.
    Fits(Range<usize>),
    /// A section that must be cut; the text under its heading begins at `body`.
    TooLong { range: Range<usize>, body: usize },
}

/// A group that may still grow.
struct Open {
    range: Range<usize>,
    /// Level of its last heading.
    level: u8,
    tokens: usize,
}

impl Open {
    /// Whether the next part belongs into this group: it fits, and it does not lead back to a higher level of the
    /// outline, unless the group is still very small.
    fn takes(&self, part: &Part, tokens: usize, most: usize) -> bool {
        let leads_back = part.begins < self.level && self.tokens * 4 >= most;
        self.tokens.saturating_add(tokens) <= most && !leads_back
    }
}

/// Makes chunks of byte ranges that come in order, counting characters along the way.
struct Builder<'a> {
    text: &'a str,
    sections: &'a [Section],
    chunks: Vec<Chunk>,
    /// The last chunk's start in bytes and characters, and its end in bytes.
    byte: usize,
    character: u64,
    end: usize,
}

impl Builder<'_> {
    /// `range` without blank lines before and white space after.
    fn trim(&self, range: &Range<usize>) -> Range<usize> {
        let start = skip_blank_lines(self.text, range.clone());
        start..start + self.text[start..range.end].trim_end().len()
    }

    fn trimmed(&self, range: &Range<usize>) -> &str {
        &self.text[self.trim(range)]
    }

    /// Adds a chunk unless it is blank or the last one holds it already.
    fn push(&mut self, range: &Range<usize>, tokens: usize) {
        let range = self.trim(range);
        if range.is_empty() || (range.start >= self.byte && range.end <= self.end) {
            return;
        }
        self.character += characters(&self.text[self.byte..range.start]);
        self.byte = range.start;
        self.end = range.end;
        let content = &self.text[range.clone()];
        self.chunks.push(Chunk {
            index: u32::try_from(self.chunks.len()).unwrap_or(u32::MAX),
            content: content.to_owned(),
            heading_path: common_path(self.sections, &range),
            start: self.character,
            end: self.character + characters(content),
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
        });
    }
}

fn characters(text: &str) -> u64 {
    text.chars().count() as u64
}

#[cfg(test)]
mod tests;
