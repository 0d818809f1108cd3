//! Cuts one stretch of text that is too long for a chunk: paragraphs, then sentences, words, characters.

use std::ops::Range;

use ragstone_core::{Error, Result};
use text_splitter::{ChunkConfig as SplitConfig, ChunkSizer, MarkdownSplitter, TextSplitter};

use crate::extract::TextFormat;
use crate::sections::skip_blank_lines;
use crate::token_index::{Lead, MAX_BYTES_PER_TOKEN, TokenIndex, size};
use crate::tokens::TokenCounter;

/// How much text the splitter sees at once, at least, in bytes: its work grows faster than the text's length.
const MIN_WINDOW: usize = 12 << 10;
/// How much text it sees at least, in chunks of the greatest length: two would do to get on.
const MIN_WINDOW_CHUNKS: usize = 4;
/// White space longer than this, in bytes, always separates chunks: the splitter's work grows with its square.
const MAX_GAP: usize = 256;

/// Splits with fixed settings.
#[derive(Debug, Clone)]
pub(crate) struct Splitter {
    pub(crate) counter: TokenCounter,
    /// The most tokens of a piece.
    pub(crate) tokens: usize,
    /// Tokens shared by neighbouring pieces, at most; less than `tokens`.
    pub(crate) overlap: usize,
}

impl Splitter {
    /// Cuts `text[range]` into pieces (byte ranges of `text`), in order, none of them blank, leaving out only white
    /// space. The first piece is kept small enough to be extended by `lead`, the text right before `range`.
    pub(crate) fn split(
        &self,
        text: &str,
        range: Range<usize>,
        lead: &str,
        format: TextFormat,
    ) -> Result<Vec<Range<usize>>> {
        let window = MIN_WINDOW.max(MIN_WINDOW_CHUNKS * self.tokens * MAX_BYTES_PER_TOKEN);
        let first = skip_blank_lines(text, range.clone());
        let lead = Lead { tokens: self.counter.count(lead), bytes: lead.len() };
        let mut pieces = Vec::new();
        let mut start = first;
        while start < range.end {
            let most = text.floor_char_boundary(range.end.min(start.saturating_add(window)));
            let end = start + before_gap(&text[start..most]);
            let part = &text[start..end];
            let part_lead = if start == first { lead } else { Lead::default() };
            let index = TokenIndex::new(&self.counter, part, part_lead, self.tokens)?;
            let found = self.cut(part, start, &index, format)?;
            // The last piece may go on behind the window: then the next window begins where it does. If it is the only
            // one, it is much shorter than the window, and white space follows.
            match found.split_last() {
                Some((last, complete)) if end == most && end < range.end && last.start > start => {
                    pieces.extend_from_slice(complete);
                    start = last.start;
                }
                _ => {
                    pieces.extend(found);
                    start = skip_blank_lines(text, end..range.end);
                }
            }
        }
        Ok(pieces)
    }

    /// Cuts a short text by exact counts of each candidate: slow, and right for every tokenizer.
    pub(crate) fn split_exactly(
        &self,
        text: &str,
        range: Range<usize>,
        format: TextFormat,
    ) -> Result<Vec<Range<usize>>> {
        self.cut(&text[range.clone()], range.start, &Exact(&self.counter), format)
    }

    fn cut(&self, part: &str, offset: usize, sizer: &impl ChunkSizer, format: TextFormat) -> Result<Vec<Range<usize>>> {
        let settings = SplitConfig::new(self.tokens)
            .with_sizer(sizer)
            .with_overlap(self.overlap)
            .map_err(|error| Error::internal("the splitter refuses its settings").with_source(error))?;
        let place = |(start, piece): (usize, &str)| offset + start..offset + start + piece.len();
        let mut pieces: Vec<_> = match format {
            TextFormat::Markdown => MarkdownSplitter::new(settings).chunk_indices(part).map(place).collect(),
            TextFormat::Plain => TextSplitter::new(settings).chunk_indices(part).map(place).collect(),
        };
        pieces.retain(|piece| !piece.is_empty());
        Ok(pieces)
    }
}

/// Where the first long stretch of white space in `part` begins; its end if there is none.
fn before_gap(part: &str) -> usize {
    let mut gap = part.len() - part.trim_start().len();
    for (at, character) in part.char_indices() {
        if !character.is_whitespace() {
            gap = at + character.len_utf8();
        } else if at > gap + MAX_GAP {
            return gap;
        }
    }
    part.len()
}

/// Tokenizes every candidate.
struct Exact<'a>(&'a TokenCounter);

impl ChunkSizer for Exact<'_> {
    fn size(&self, chunk: &str) -> usize {
        size(self.0.count(chunk), chunk.len())
    }
}
