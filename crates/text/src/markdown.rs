//! Headings of a Markdown text.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::clean::one_line;

/// A heading that is not inside a list, quotation or code block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heading {
    /// 1 to 6.
    pub(crate) level: u8,
    /// Its bytes in the text, underline and line end included.
    pub(crate) range: Range<usize>,
    /// Its words, without markup.
    pub(crate) text: String,
}

/// All top-level headings, in order: ATX (`# One`) and setext (underlined).
pub(crate) fn headings(text: &str) -> impl Iterator<Item = Heading> + '_ {
    // Front matter is named here only so that its closing line is not taken for the underline of a heading.
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES;
    let mut depth = 0_usize;
    let mut open: Option<(HeadingLevel, Range<usize>, String)> = None;
    Parser::new_ext(text, options).into_offset_iter().filter_map(move |(event, range)| {
        match event {
            Event::Start(Tag::Heading { level, .. }) if depth == 0 => open = Some((level, range, String::new())),
            Event::End(TagEnd::Heading(_)) if open.is_some() => {
                let (level, range, words) = open.take()?;
                return Some(Heading { level: level as u8, range, text: one_line(&words).unwrap_or_default() });
            }
            Event::Start(Tag::List(_) | Tag::Item | Tag::BlockQuote(_) | Tag::FootnoteDefinition(_)) => depth += 1,
            Event::End(TagEnd::List(_) | TagEnd::Item | TagEnd::BlockQuote(_) | TagEnd::FootnoteDefinition) => {
                depth = depth.saturating_sub(1);
            }
            Event::Text(words) | Event::Code(words) => {
                if let Some((_, _, collected)) = &mut open {
                    collected.push_str(&words);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some((_, _, collected)) = &mut open {
                    collected.push(' ');
                }
            }
            _ => {}
        }
        None
    })
}

/// The words of the first heading that has any.
pub(crate) fn first_heading(text: &str) -> Option<String> {
    headings(text).map(|heading| heading.text).find(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(u8, String)> {
        headings(text).map(|heading| (heading.level, heading.text)).collect()
    }

    #[test]
    fn finds_atx_and_setext_headings_with_their_words() {
        let text = "Title *here*\n===\n\ntext\n\n## The `code` [link](x)\n\nSub\n---\n###### Six ######\n";
        let expected = [(1, "Title here"), (2, "The code link"), (2, "Sub"), (6, "Six")];
        assert_eq!(found(text), expected.map(|(level, words)| (level, words.to_owned())));
        let first = headings(text).next().map(|heading| heading.range);
        assert_eq!(first, Some(0..17));
    }

    #[test]
    fn ignores_code_lists_quotes_and_front_matter() {
        let text = "---\ntitle: x\n---\n\n```sh\n# comment\n```\n\n    # indented\n\n- # item\n\n> # quoted\n\n#hashtag\n\n# Real\n";
        assert_eq!(found(text), [(1, "Real".to_owned())]);
        assert_eq!(first_heading("#\n\n# Named"), Some("Named".to_owned()));
        assert_eq!(first_heading("no heading"), None);
    }
}
