//! The blocks of a text as Markdown has them: paragraphs, headings, list items, table rows, code. Plain text is one
//! paragraph after the other.

use std::ops::Range;

use super::sentences::trimmed;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// A paragraph, perhaps over several lines.
    Prose,
    /// A heading.
    Heading,
    /// An item of a list, without its marker.
    Item,
    /// A row of a table.
    Row,
    /// Fenced code, with its fences.
    Code,
    /// A line that only draws: `---`, `|---|`.
    Ruler,
}

/// A block and where it stands in the text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// What it is.
    pub(super) kind: BlockKind,
    /// Where it is, without white space around it.
    pub(super) span: Range<usize>,
}

/// The blocks of a text, in order.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // The kind of the block that the next line may go on in.
    let mut open = None;
    let mut fence: Option<&str> = None;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let span = trimmed(text, &(offset..offset + line.len()));
        offset += line.len();
        let line = &text[span.clone()];
        if line.is_empty() {
            open = None;
        } else if let Some(mark) = fence {
            extend(&mut blocks, span.end);
            fence = fence.filter(|_| !line.starts_with(mark));
        } else {
            let (kind, indent) = classify(line, open);
            if kind == BlockKind::Prose && open.is_some() {
                extend(&mut blocks, span.end);
                continue;
            }
            blocks.push(Block { kind, span: span.start + indent..span.end });
            open = matches!(kind, BlockKind::Prose | BlockKind::Item).then_some(kind);
            fence = (kind == BlockKind::Code).then(|| &line[..3]);
        }
    }
    blocks
}

/// Lets the last block reach to `end`.
fn extend(blocks: &mut [Block], end: usize) {
    if let Some(last) = blocks.last_mut() {
        last.span.end = end;
    }
}

/// The kind of block a line begins, and the length of the marker to leave out. `open` is the block before it, when no
/// empty line has ended that.
fn classify(line: &str, open: Option<BlockKind>) -> (BlockKind, usize) {
    if line.starts_with("```") || line.starts_with("~~~") {
        return (BlockKind::Code, 0);
    }
    if line.chars().all(|c| matches!(c, '-' | '=' | '*' | '_' | '|' | ':' | '+' | ' ')) {
        return (BlockKind::Ruler, 0);
    }
    let hashes = line.len() - line.trim_start_matches('#').len();
    if (1..=6).contains(&hashes) && line[hashes..].starts_with(' ') {
        return (BlockKind::Heading, hashes + 1);
    }
    if line.starts_with('|') && line.ends_with('|') {
        return (BlockKind::Row, 0);
    }
    // As in CommonMark, only a list that begins with 1 can interrupt a paragraph: a line may begin with a number.
    let continues = open == Some(BlockKind::Prose) && line.starts_with(|c: char| c.is_ascii_digit() && c != '1');
    match marker(line) {
        Some(length) if !continues => (BlockKind::Item, length),
        _ => (BlockKind::Prose, 0),
    }
}

/// Length of a list marker with the spaces after it.
fn marker(line: &str) -> Option<usize> {
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mark = match line[digits..].chars().next()? {
        // More digits than these are a year that ends a sentence at a line's start.
        '.' | ')' if (1..=3).contains(&digits) => digits + 1,
        bullet @ ('-' | '*' | '+' | '•' | '–') if digits == 0 => bullet.len_utf8(),
        _ => return None,
    };
    let spaces = line[mark..].len() - line[mark..].trim_start().len();
    (spaces > 0).then_some(mark + spaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(BlockKind, &str)> {
        blocks(text).into_iter().map(|block| (block.kind, &text[block.span])).collect()
    }

    #[test]
    fn markdown_falls_into_its_blocks() {
        let text = "# Title\nSome text\ngoes on.\n\n- one\n  more\n2. two\n\n| a | b |\n|---|---|\n| c | d |\n~~~\nx # y\n\n~~~\nEnd";
        assert_eq!(
            kinds(text),
            [
                (BlockKind::Heading, "Title"),
                (BlockKind::Prose, "Some text\ngoes on."),
                (BlockKind::Item, "one\n  more"),
                (BlockKind::Item, "two"),
                (BlockKind::Row, "| a | b |"),
                (BlockKind::Ruler, "|---|---|"),
                (BlockKind::Row, "| c | d |"),
                (BlockKind::Code, "~~~\nx # y\n\n~~~"),
                (BlockKind::Prose, "End"),
            ]
        );
    }

    #[test]
    fn a_number_or_a_dash_inside_a_paragraph_makes_no_list() {
        let text = "It ended in\n45. Then came\n-5 degrees and C++.";
        assert_eq!(kinds(text), [(BlockKind::Prose, text)]);
        assert_eq!(kinds("#hashtag and ä"), [(BlockKind::Prose, "#hashtag and ä")]);
    }

    #[test]
    fn code_without_an_end_reaches_to_the_end() {
        assert_eq!(kinds("```\nä\n\nb"), [(BlockKind::Code, "```\nä\n\nb")]);
    }
}
