//! From a document's bytes to its text: what the result is, and which reader does it.

mod docx;
mod html;
mod pdf;

use ragstone_core::{Error, ErrorCode, Result};
use serde::{Deserialize, Serialize};

use crate::clean::{clean, decode, one_line};
use crate::limits::ExtractLimits;
use crate::markdown::first_heading;
use crate::media::Format;

/// How a text is structured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    /// Paragraphs and lines only.
    Plain,
    /// CommonMark with tables.
    Markdown,
}

/// The text of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    /// The document's own title, else its first heading; one line.
    pub title: Option<String>,
    /// The text; never blank.
    pub text: String,
    /// How the text is structured.
    pub format: TextFormat,
    /// Pages of a PDF that could not be read while others could.
    pub skipped_pages: usize,
}

/// What a reader found, before cleaning.
struct Raw {
    title: Option<String>,
    text: String,
    format: TextFormat,
    skipped_pages: usize,
}

/// Reads `body` in this process. HTML, PDF and DOCX belong into the worker: their parsers can panic, loop, and exhaust
/// memory or stack.
///
/// # Errors
/// `Unprocessable` with the reason, `TooLarge` with the limit.
pub(crate) fn extract(body: Vec<u8>, format: Format, limits: &ExtractLimits) -> Result<Extracted> {
    check_size(body.len(), limits)?;
    let raw = match format {
        Format::Plain => Raw::new(decode(&body)?, TextFormat::Plain),
        Format::Markdown => Raw::new(decode(&body)?, TextFormat::Markdown),
        Format::Html => html::read(&decode(&body)?)?,
        Format::Pdf => pdf::read(&body, limits)?,
        Format::Docx => docx::read(body, limits)?,
    };
    finish(&raw, limits)
}

impl Raw {
    fn new(text: String, format: TextFormat) -> Self {
        Self { title: None, text, format, skipped_pages: 0 }
    }
}

fn finish(raw: &Raw, limits: &ExtractLimits) -> Result<Extracted> {
    check_text_size(raw.text.len(), limits)?;
    let text = clean(&raw.text);
    if text.trim().is_empty() {
        return Err(Error::unprocessable("the document holds no text"));
    }
    let heading = || (raw.format == TextFormat::Markdown).then(|| first_heading(&text)).flatten();
    let title = raw.title.as_deref().and_then(one_line).or_else(heading);
    Ok(Extracted { title, text, format: raw.format, skipped_pages: raw.skipped_pages })
}

/// Refuses a body that is empty or larger than the limit.
pub(crate) fn check_size(bytes: usize, limits: &ExtractLimits) -> Result<()> {
    if bytes == 0 {
        return Err(Error::unprocessable("the document is empty"));
    }
    if bytes > limits.max_bytes {
        let message = format!("the document has {bytes} bytes, more than the limit max_bytes of {}", limits.max_bytes);
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    Ok(())
}

fn check_text_size(bytes: usize, limits: &ExtractLimits) -> Result<()> {
    if bytes > limits.max_text_bytes {
        let message = format!("the text is longer than the limit max_text_bytes of {}", limits.max_text_bytes);
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(body: &str, format: Format) -> Result<Extracted> {
        extract(body.as_bytes().to_vec(), format, &ExtractLimits::default())
    }

    #[test]
    fn plain_text_is_itself_and_has_no_title() {
        let text = "# not a heading here\r\nC++ and 3.14\n";
        let extracted = read(text, Format::Plain).unwrap();
        assert_eq!(extracted.text, "# not a heading here\nC++ and 3.14\n");
        assert_eq!((extracted.title, extracted.format), (None, TextFormat::Plain));
    }

    #[test]
    fn markdown_takes_its_first_heading_as_title() {
        let extracted = read("intro\n\n# The *Title*\n\nbody", Format::Markdown).unwrap();
        assert_eq!(extracted.title.as_deref(), Some("The Title"));
        assert_eq!(extracted.text, "intro\n\n# The *Title*\n\nbody");
    }

    #[test]
    fn html_becomes_markdown_without_scripts() {
        let html = "<html><head><title>A &amp; B</title><style>p{}</style></head><body><h1>Head</h1><p>One <b>two</b>\
            <script>alert(1)</script></p><ul><li>x</li></ul><img src='data:xyz' alt='a cat'></body></html>";
        let extracted = read(html, Format::Html).unwrap();
        assert_eq!(extracted.title.as_deref(), Some("A & B"));
        assert_eq!(extracted.format, TextFormat::Markdown);
        assert!(extracted.text.contains("# Head") && extracted.text.contains("One **two**"), "{}", extracted.text);
        assert!(extracted.text.contains("a cat"), "{}", extracted.text);
        for gone in ["alert", "p{}", "A & B", "A &amp; B", "data:"] {
            assert!(!extracted.text.contains(gone), "{gone}: {}", extracted.text);
        }
    }

    #[test]
    fn html_without_a_title_takes_its_first_heading() {
        assert_eq!(read("<h2>Only</h2>text", Format::Html).unwrap().title.as_deref(), Some("Only"));
    }

    #[test]
    fn blank_and_long_texts_are_refused_with_the_reason() {
        assert!(read("", Format::Plain).unwrap_err().message.contains("empty"));
        assert!(read(" \n\u{200B}", Format::Plain).unwrap_err().message.contains("no text"));
        assert!(read("<script>1</script>", Format::Html).unwrap_err().message.contains("no text"));
        let limits = ExtractLimits { max_bytes: 10, max_text_bytes: 5, ..ExtractLimits::default() };
        let error = extract(vec![b'a'; 11], Format::Plain, &limits).unwrap_err();
        assert!(error.code == ErrorCode::TooLarge && error.message.contains("max_bytes"));
        let error = extract(vec![b'a'; 6], Format::Plain, &limits).unwrap_err();
        assert!(error.code == ErrorCode::TooLarge && error.message.contains("max_text_bytes"));
    }
}
