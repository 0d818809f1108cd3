//! Token counts of any part of a text from one tokenization of the whole, as splitting asks for thousands of parts.

use ragstone_core::Result;
use text_splitter::ChunkSizer;

use crate::tokens::TokenCounter;

/// A token stands for at most this many bytes when chunks are measured. Ordinary text has 3 to 6; the limit matters for
/// endless "words" and runs of blanks, which count as one token or none and would make chunks of any length.
pub(crate) const MAX_BYTES_PER_TOKEN: usize = 16;

/// Parts of words up to this many bytes are tokenized, to know their tokens exactly.
const MAX_EXACT_PART: usize = 256;

/// The size of a text that has `tokens` tokens and `bytes` bytes.
pub(crate) fn size(tokens: usize, bytes: usize) -> usize {
    tokens.max(bytes.div_ceil(MAX_BYTES_PER_TOKEN))
}

/// A piece of text that the tokenizer treats independently of its neighbours.
struct Word {
    start: usize,
    end: usize,
    /// Tokens in all words before this one.
    before: usize,
    tokens: usize,
}

/// What stands before the text and is charged to every part that begins where the text's first line does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lead {
    pub(crate) tokens: usize,
    pub(crate) bytes: usize,
}

/// Sizes of parts of one text. Whole words are looked up; words cut at the edges are tokenized on the spot.
pub(crate) struct TokenIndex<'a> {
    counter: &'a TokenCounter,
    text: &'a str,
    words: Vec<Word>,
    lead: Lead,
    /// Parts that begin at or before this byte carry the lead.
    lead_until: usize,
    /// Parts longer than this many bytes are too large whatever their tokens.
    max_bytes: usize,
}

impl<'a> TokenIndex<'a> {
    pub(crate) fn new(counter: &'a TokenCounter, text: &'a str, lead: Lead, max_tokens: usize) -> Result<Self> {
        let encoding = counter.encode(text)?;
        let mut words: Vec<Word> = Vec::new();
        let mut previous = None;
        for (index, (&(start, end), &word)) in encoding.get_offsets().iter().zip(encoding.get_word_ids()).enumerate() {
            match words.last_mut() {
                Some(last) if word.is_some() && word == previous => {
                    last.end = last.end.max(end);
                    last.tokens += 1;
                }
                _ => words.push(Word { start, end, before: index, tokens: 1 }),
            }
            previous = word;
        }
        let lead_until = text.len() - text.trim_start().len();
        Ok(Self { counter, text, words, lead, lead_until, max_bytes: max_tokens * MAX_BYTES_PER_TOKEN })
    }

    /// Tokens of the part of a word between two bytes; estimated for the endless "words" of encoded data.
    fn part_of(&self, word: &Word, start: usize, end: usize) -> usize {
        if end - start > MAX_EXACT_PART {
            return (word.tokens * (end - start)).div_ceil(word.end - word.start);
        }
        self.counter.count(&self.text[start..end])
    }

    /// Tokens between two bytes.
    fn tokens(&self, start: usize, end: usize) -> usize {
        let first = self.words.partition_point(|word| word.end <= start);
        let last = self.words.partition_point(|word| word.start < end);
        let Some(inside) = self.words.get(first..last) else { return 0 };
        let (Some(head), Some(tail)) = (inside.first(), inside.last()) else { return 0 };
        if inside.len() == 1 && (head.start < start || head.end > end) {
            return self.part_of(head, start.max(head.start), end.min(head.end));
        }
        let mut tokens = tail.before + tail.tokens - head.before;
        if head.start < start {
            tokens = tokens - head.tokens + self.part_of(head, start, head.end);
        }
        if tail.end > end {
            tokens = tokens - tail.tokens + self.part_of(tail, tail.start, end);
        }
        tokens
    }
}

impl ChunkSizer for TokenIndex<'_> {
    fn size(&self, chunk: &str) -> usize {
        // The splitter hands out parts of the text itself: where one begins follows from its address.
        let start = chunk.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        if start > self.text.len() || chunk.len() > self.text.len() - start {
            return size(self.counter.count(chunk), chunk.len());
        }
        let (lead_tokens, lead_bytes) =
            if start <= self.lead_until { (self.lead.tokens, self.lead.bytes) } else { (0, 0) };
        let bytes = chunk.len() + lead_bytes;
        if bytes > self.max_bytes {
            return size(0, bytes);
        }
        size(lead_tokens + self.tokens(start, start + chunk.len()), bytes)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::tests::counter;

    proptest! {
        #[test]
        fn every_part_has_the_tokens_it_has_alone(
            text in "([a-z]{1,9}|[ \n]{1,3}|[.,#-]|é|中|😀|[A-Z0-9]{1,4}){0,40}",
            cuts in (0.0..1.0_f64, 0.0..1.0_f64),
        ) {
            let counter = counter();
            let index = TokenIndex::new(&counter, &text, Lead::default(), 10_000).unwrap();
            let place = |share: f64| text.floor_char_boundary((share * text.len() as f64) as usize);
            let (start, end) = (place(cuts.0.min(cuts.1)), place(cuts.0.max(cuts.1)));
            let part = &text[start..end];
            prop_assert_eq!(index.size(part), size(counter.count(part), part.len()), "{:?}", part);
        }
    }

    #[test]
    fn the_lead_is_charged_to_parts_at_the_beginning_only() {
        let counter = counter();
        let index = TokenIndex::new(&counter, "the word and the", Lead { tokens: 100, bytes: 7 }, 512).unwrap();
        let text = index.text;
        assert_eq!(index.size(&text[..8]), 102);
        assert_eq!(index.size(&text[4..8]), 1);
        assert_eq!(index.size("the word"), 2);
    }
}
