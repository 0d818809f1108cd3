//! Which media types can be read, and which type a file name suggests.

use std::path::Path;

use ragstone_core::{Error, ErrorCode, Result};

/// A format that text can be extracted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Plain,
    Markdown,
    Html,
    Pdf,
    Docx,
}

impl Format {
    const ALL: [(&'static str, Self); 5] = [
        ("text/plain", Self::Plain),
        ("text/markdown", Self::Markdown),
        ("text/html", Self::Html),
        ("application/pdf", Self::Pdf),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", Self::Docx),
    ];

    /// The format of `media_type`, whose parameters (`; charset=…`) and letter case do not matter.
    ///
    /// # Errors
    /// `UnsupportedMediaType`, naming the supported ones.
    pub(crate) fn of(media_type: &str) -> Result<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(essence)).map(|(_, format)| *format).ok_or_else(
            || {
                let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
                Error::new(
                    ErrorCode::UnsupportedMediaType,
                    format!("cannot read the media type {essence:?}; supported are {}", names.join(", ")),
                )
            },
        )
    }
}

/// Whether [`crate::Extractor`] reads `media_type` (parameters and letter case do not matter). `application/json` is
/// not among them: it is an envelope around a text, opened by whoever accepts documents.
#[must_use]
pub fn supported(media_type: &str) -> bool {
    Format::of(media_type).is_ok()
}

/// The media type that a file name's extension suggests, `application/json` included.
#[must_use]
pub fn media_type_for_path(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "txt" => "text/plain",
        "md" | "markdown" => "text/markdown",
        "html" | "htm" => "text/html",
        "pdf" => "application/pdf",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "json" => "application/json",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_extension_but_json_is_supported() {
        for name in ["a.txt", "a.md", "a.MARKDOWN", "x/y.html", "a.htm", "a.Pdf", "a.b.docx"] {
            assert!(supported(media_type_for_path(Path::new(name)).unwrap()), "{name}");
        }
        assert_eq!(media_type_for_path(Path::new("a.json")), Some("application/json"));
        assert!(!supported("application/json"));
        assert_eq!(media_type_for_path(Path::new("a.exe")), None);
        assert_eq!(media_type_for_path(Path::new("md")), None);
    }

    #[test]
    fn parameters_and_case_do_not_matter_and_others_are_refused_by_name() {
        assert_eq!(Format::of("Text/HTML; charset=utf-8").unwrap(), Format::Html);
        let error = Format::of("image/png").unwrap_err();
        assert_eq!(error.code, ErrorCode::UnsupportedMediaType);
        assert!(error.message.contains("image/png") && error.message.contains("application/pdf"), "{error}");
    }
}
