//! A Markdown text as sections: a heading with what stands under it.

use std::ops::Range;

use crate::markdown::headings;

/// A heading and the text up to the next heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// Bytes from the heading to the next one.
    pub(crate) range: Range<usize>,
    /// Where the text under the heading begins, in bytes; blank lines before it are skipped.
    pub(crate) body: usize,
    /// The heading's level; 0 for text before the first heading.
    pub(crate) level: u8,
    /// The words of the headings that this text stands under, its own included, outermost first.
    pub(crate) path: Vec<String>,
}

impl Section {
    /// Whether nothing stands under the heading.
    pub(crate) fn is_bare(&self) -> bool {
        self.body >= self.range.end
    }
}

/// Cuts `text` at its headings. The sections cover all of it.
pub(crate) fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section { range: 0..text.len(), body: 0, level: 0, path: Vec::new() }];
    let mut open: Vec<(u8, String)> = Vec::new();
    for heading in headings(text) {
        while open.last().is_some_and(|(level, _)| *level >= heading.level) {
            open.pop();
        }
        open.push((heading.level, heading.text));
        if let Some(last) = sections.last_mut() {
            last.range.end = heading.range.start;
        }
        let path = open.iter().map(|(_, words)| words.clone()).filter(|words| !words.is_empty()).collect();
        let range = heading.range.start..text.len();
        sections.push(Section { range, body: heading.range.end, level: heading.level, path });
    }
    for section in &mut sections {
        section.body = skip_blank_lines(text, section.body.min(section.range.end)..section.range.end);
    }
    sections.retain(|section| !section.range.is_empty());
    sections
}

/// Indentation longer than this many bytes is no indentation but a hole.
const MAX_INDENTATION: usize = 128;

/// Where the first line of `range` that is not blank begins, its indentation included; the end of `range` if there is
/// none.
pub(crate) fn skip_blank_lines(text: &str, range: Range<usize>) -> usize {
    let part = &text[range.clone()];
    let blank = part.len() - part.trim_start().len();
    if blank == part.len() {
        return range.end;
    }
    let line = part[..blank].rfind('\n').map_or(0, |newline| newline + 1);
    range.start + if blank - line > MAX_INDENTATION { blank } else { line }
}

/// The headings that everything in `range` stands under: what the paths of the sections it touches have in common.
/// Headings with nothing under them count only when nothing else is there.
pub(crate) fn common_path(sections: &[Section], range: &Range<usize>) -> Vec<String> {
    let first = sections.partition_point(|section| section.range.end <= range.start);
    let touched = || sections[first..].iter().take_while(|section| section.range.start < range.end);
    let mut with_text = touched().filter(|section| !section.is_bare() && section.body < range.end).peekable();
    let paths: Vec<&[String]> = match with_text.peek() {
        Some(_) => with_text.map(|section| section.path.as_slice()).collect(),
        None => touched().take(1).map(|section| section.path.as_slice()).collect(),
    };
    let Some((path, others)) = paths.split_first() else { return Vec::new() };
    let shared = |at: &usize| others.iter().all(|other| other.get(*at) == path.get(*at));
    path[..(0..path.len()).take_while(shared).count()].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "intro\n\n# A\n\n## B\n\n  one\n\n### C\ntwo\n\n## D\nthree\n# E\n";

    fn path_of(part: &str) -> Vec<String> {
        let start = TEXT.find(part).unwrap_or(usize::MAX);
        common_path(&sections(TEXT), &(start..start + part.len()))
    }

    #[test]
    fn sections_cover_the_text_and_know_their_headings() {
        let found = sections(TEXT);
        let covered: String = found.iter().map(|section| &TEXT[section.range.clone()]).collect();
        assert_eq!(covered, TEXT);
        let paths: Vec<_> = found.iter().map(|section| section.path.join("/")).collect();
        assert_eq!(paths, ["", "A", "A/B", "A/B/C", "A/D", "E"]);
        let bare: Vec<_> = found.iter().map(Section::is_bare).collect();
        assert_eq!(bare, [false, true, false, false, false, true]);
        assert!(TEXT[found[2].body..].starts_with("  one"));
    }

    #[test]
    fn a_path_is_what_all_of_the_text_stands_under() {
        assert_eq!(path_of("one"), ["A", "B"]);
        assert_eq!(path_of("# A\n\n## B\n\n  one"), ["A", "B"]);
        assert_eq!(path_of("one\n\n### C\ntwo"), ["A", "B"]);
        assert_eq!(path_of("two\n\n## D\nthree"), ["A"]);
        assert_eq!(path_of("intro\n\n# A\n\n## B\n\n  one"), Vec::<String>::new());
        assert_eq!(path_of("# E"), ["E"]);
    }

    #[test]
    fn blank_lines_are_skipped_but_not_indentation() {
        let text = format!(" \n\n  a\n\n{}b\n ", " ".repeat(1000));
        assert_eq!(skip_blank_lines(&text, 0..5), 5);
        assert_eq!(&text[skip_blank_lines(&text, 0..6)..6], "  a");
        assert_eq!(&text[skip_blank_lines(&text, 6..text.len())..], "b\n ");
        assert_eq!(skip_blank_lines(&text, text.len() - 1..text.len()), text.len());
    }

    #[test]
    fn a_text_without_headings_is_one_section_and_nothing_is_none() {
        assert_eq!(sections("just text").len(), 1);
        assert!(sections("").is_empty());
    }
}
