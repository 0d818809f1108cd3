//! What must hold for the chunks of any text, and what good chunks look like.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;
use crate::tokens::tests::counter;

fn chunker(tokens: usize, overlap: usize) -> Chunker {
    Chunker::new(counter(), &ChunkConfig { tokens, overlap }, 256).unwrap()
}

fn extracted(text: &str, format: TextFormat) -> Extracted {
    Extracted { title: None, text: text.to_owned(), format, skipped_pages: 0 }
}

/// Checks everything that is promised of chunks.
fn check(text: &str, chunks: &[Chunk], most: usize) {
    let characters: Vec<char> = text.chars().collect();
    let counter = counter();
    let mut covered = vec![false; characters.len()];
    let mut previous = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.index as usize, index);
        assert!(chunk.tokens as usize <= most, "{} tokens", chunk.tokens);
        assert_eq!(chunk.tokens as usize, counter.count(&chunk.content));
        assert!(chunk.content.len() <= most * MAX_BYTES_PER_TOKEN + text.len().min(64));
        let place = usize::try_from(chunk.start).unwrap()..usize::try_from(chunk.end).unwrap();
        assert_eq!(chunk.content, characters[place.clone()].iter().collect::<String>());
        assert!(chunk.start >= previous && !chunk.content.trim().is_empty());
        previous = chunk.start;
        covered[place].fill(true);
    }
    let lost = characters.iter().zip(&covered).position(|(character, covered)| !character.is_whitespace() && !covered);
    assert_eq!(lost, None, "lost a character of {text:?}");
}

fn chunks_of(text: &str, format: TextFormat, tokens: usize, overlap: usize) -> Vec<Chunk> {
    let chunks = chunker(tokens, overlap).chunk(&extracted(text, format)).unwrap();
    check(text, &chunks, tokens);
    chunks
}

fn sentences(count: usize) -> String {
    (0..count).map(|number| format!("The text and word number {number} of the chunk. ")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn markdown_keeps_every_promise(
        text in "(#{1,4} [a-z]{1,8}\n|[a-z]{1,12} |[.!?] |\n|\n\n|- [a-z]{1,9}\n|> |```\n|===\n|---\n| {1,6}|é|中文|👩\u{200D}👧|\\[x\\]\\(y\\)|\\*\\*|\\||\t|<b>|\\[SEP\\]|[a-z]{90,130}){0,120}",
        overlap in 0_usize..31,
    ) {
        chunks_of(&text, TextFormat::Markdown, 32, overlap);
    }

    #[test]
    fn any_text_keeps_every_promise(text in any::<String>(), repeat in 1_usize..20, overlap in 0_usize..31) {
        let text = text.repeat(repeat);
        chunks_of(&text, TextFormat::Plain, 32, overlap);
        chunks_of(&text, TextFormat::Markdown, 32, overlap);
    }

    #[test]
    fn grapheme_clusters_stay_whole(clusters in proptest::collection::vec("👩\u{200D}👧|e\u{301}|🇩🇪|क\u{94D}ष|x", 50..300)) {
        let text = clusters.concat();
        let borders: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect();
        let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        for chunk in chunks_of(&text, TextFormat::Plain, 32, 5) {
            prop_assert!(borders.binary_search(&bytes[usize::try_from(chunk.start).unwrap()]).is_ok());
            prop_assert!(borders.binary_search(&bytes[usize::try_from(chunk.end).unwrap()]).is_ok());
        }
    }
}

#[test]
fn nothing_has_no_chunks_and_a_short_text_has_one() {
    assert!(chunks_of("", TextFormat::Markdown, 64, 8).is_empty());
    assert!(chunks_of(" \n\t\n", TextFormat::Plain, 64, 8).is_empty());
    let chunks = chunks_of("\n\n# Head\n\ntext\n", TextFormat::Markdown, 64, 8);
    assert_eq!(chunks.len(), 1);
    assert_eq!((chunks[0].content.as_str(), chunks[0].start, chunks[0].end), ("# Head\n\ntext", 2, 14));
    assert_eq!(chunks[0].heading_path, ["Head"]);
}

#[test]
fn a_long_section_is_cut_between_sentences_with_overlap_and_keeps_its_path() {
    let text = format!("# Title\n\n## Part\n\n{}", sentences(60));
    let chunks = chunks_of(&text, TextFormat::Markdown, 64, 20);
    assert!(chunks.len() > 8);
    assert!(chunks[0].content.starts_with("# Title\n\n## Part\n\nThe text"), "{}", chunks[0].content);
    for pair in chunks.windows(2) {
        assert_eq!(pair[0].heading_path, ["Title", "Part"]);
        assert!(pair[0].content.ends_with('.') && pair[1].content.starts_with("The"));
        assert!(pair[1].start < pair[0].end, "no overlap");
    }
}

#[test]
fn small_sections_share_a_chunk_and_a_larger_part_begins_a_new_one() {
    let text = format!("# A\n\n## a\n\n{}\n\n## b\n\n{}\n\n# B\n\n{}\n", sentences(1), sentences(1), sentences(1));
    let chunks = chunks_of(&text, TextFormat::Markdown, 64, 8);
    assert_eq!(chunks.len(), 2, "{chunks:?}");
    assert_eq!(
        (chunks[0].heading_path.as_slice(), chunks[1].heading_path.as_slice()),
        (["A".to_owned()].as_slice(), ["B".to_owned()].as_slice())
    );
}

#[test]
fn a_heading_does_not_stand_alone() {
    let text = format!(
        "# T\n\n## S\n\n{}\n\n## U\n{}\n\n# V\n\n### W\n\n```\n# code\n```\n{}",
        sentences(30),
        sentences(30),
        sentences(30)
    );
    for chunk in chunks_of(&text, TextFormat::Markdown, 64, 8) {
        assert!(chunk.content.contains("word") || chunk.content.contains("# code"), "{:?}", chunk.content);
        assert!(!chunk.heading_path.iter().any(|heading| heading == "code"));
    }
}

#[test]
fn settings_that_leave_no_room_are_refused_and_the_model_caps_them() {
    let new = |tokens, overlap, most| Chunker::new(counter(), &ChunkConfig { tokens, overlap }, most);
    assert_eq!(new(512, 50, 254).unwrap().max_tokens(), 254);
    assert!(new(512, 50, 40).unwrap_err().message.contains("overlap of 50"));
    assert!(new(512, 50, 16).unwrap_err().message.contains("at least 32"));
}

/// Work that grows with the square of the length takes minutes for these; the limit leaves room for a busy machine and a
/// build without optimisation.
#[test]
fn the_cost_grows_with_the_length_only() {
    let paragraph = format!("{}\n\n", sentences(12));
    let section = |number: usize| format!("## Part {number}\n\n{}- item `x`\n- item\n\n", paragraph.repeat(number % 7));
    let fill = |part: &str, length: usize| part.repeat(length / part.len());
    let (long, short) = (1 << 20, 1 << 18);
    let cases = [
        ("sections", fill(&(1..50).map(section).collect::<String>(), long), TextFormat::Markdown),
        ("paragraphs", fill(&paragraph, long), TextFormat::Markdown),
        ("plain text", fill(&sentences(1), long), TextFormat::Plain),
        ("one word", fill("x", long), TextFormat::Plain),
        ("one word as Markdown", fill("x", long), TextFormat::Markdown),
        ("Chinese without spaces", fill("中文", short), TextFormat::Plain),
        ("headings", fill("# x\n", short), TextFormat::Markdown),
        ("emphasis", fill("*a* ", short), TextFormat::Markdown),
        ("quotations", fill(">", short), TextFormat::Markdown),
        ("lines", fill("x\n", short), TextFormat::Markdown),
        ("a hole", format!("# h\na{}b", fill(" \n", long)), TextFormat::Markdown),
        ("indentation", fill(&format!("{}x\n", " ".repeat(1 << 12)), long), TextFormat::Markdown),
        ("small holes", fill(&format!("x{}", " \n".repeat(100)), short), TextFormat::Plain),
    ];
    for (name, text, format) in cases {
        let chunker = Chunker::new(counter(), &ChunkConfig::default(), 256).unwrap();
        let begun = Instant::now();
        let chunks = chunker.chunk(&extracted(&text, format)).unwrap();
        let took = begun.elapsed();
        eprintln!("{name}: {} bytes, {} chunks, {took:.2?}", text.len(), chunks.len());
        check(&text, &chunks, 256);
        assert!(took < Duration::from_secs(60), "{name}: {took:?}");
    }
}
