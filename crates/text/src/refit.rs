//! Fits chunks that were cut for one model to another one that reads less.

use ragstone_core::{Chunk, Result};

use crate::chunk::Chunker;
use crate::extract::{Extracted, TextFormat};

impl Chunker {
    /// The same text in chunks that this model reads whole: those that fit stay as they are, those that do not are cut
    /// once more. Numbers begin at 0 again, and tokens are this model's.
    ///
    /// # Errors
    /// `Unprocessable` when the tokenizer refuses the text.
    pub fn refit(&self, chunks: Vec<Chunk>) -> Result<Vec<Chunk>> {
        let mut fitted: Vec<Chunk> = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let tokens = self.count(&chunk.content);
            if tokens <= self.max_tokens() {
                fitted.push(Chunk { tokens: u32::try_from(tokens).unwrap_or(u32::MAX), ..chunk });
                continue;
            }
            let text = Extracted { title: None, text: chunk.content, format: TextFormat::Plain, skipped_pages: 0 };
            fitted.extend(self.chunk(&text)?.into_iter().map(|part| Chunk {
                heading_path: chunk.heading_path.clone(),
                start: chunk.start + part.start,
                end: chunk.start + part.end,
                ..part
            }));
        }
        for (index, chunk) in (0..).zip(&mut fitted) {
            chunk.index = index;
        }
        Ok(fitted)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::ChunkConfig;
    use crate::tokens::tests::counter;

    fn chunker(tokens: usize) -> Chunker {
        Chunker::new(counter(), &ChunkConfig { tokens, overlap: 0 }, 4096).unwrap()
    }

    #[test]
    fn only_what_is_too_long_is_cut_and_every_place_stays_right() {
        let paragraphs: Vec<String> = (0..6).map(|n| format!("paragraph {n} ").repeat(8 + 10 * (n % 2))).collect();
        let text = format!("# Head\n\n{}", paragraphs.join("\n\n"));
        let extracted = Extracted { title: None, text: text.clone(), format: TextFormat::Markdown, skipped_pages: 0 };
        let wide = chunker(400).chunk(&extracted).unwrap();
        let narrow = chunker(64).refit(wide.clone()).unwrap();
        assert!(narrow.len() > wide.len());
        let characters: Vec<char> = text.chars().collect();
        for (index, chunk) in narrow.iter().enumerate() {
            assert_eq!(chunk.index as usize, index);
            assert_eq!(chunk.tokens as usize, counter().count(&chunk.content));
            assert!(chunk.tokens <= 64);
            let place = usize::try_from(chunk.start).unwrap()..usize::try_from(chunk.end).unwrap();
            assert_eq!(chunk.content, characters[place].iter().collect::<String>());
            assert_eq!(chunk.heading_path, wide[0].heading_path);
        }
        let words = |chunks: &[Chunk]| -> Vec<String> {
            chunks.iter().flat_map(|chunk| chunk.content.split_whitespace().map(str::to_owned)).collect()
        };
        assert_eq!(words(&narrow), words(&wide));
        assert_eq!(chunker(400).refit(wide.clone()).unwrap(), wide);
    }
}
