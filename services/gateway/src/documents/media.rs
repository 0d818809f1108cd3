//! Which content types are understood.

use ragstone_core::{Error, ErrorCode, Result};

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
/// What the ingestion service reads, with the file extensions that stand for it.
const DOCUMENTS: [(&str, &[&str]); 5] = [
    ("text/plain", &["txt", "text"]),
    ("text/markdown", &["md", "markdown"]),
    ("text/html", &["html", "htm"]),
    ("application/pdf", &["pdf"]),
    (DOCX, &["docx"]),
];

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A document of this type.
    Document(&'static str),
    /// A JSON envelope around a text, or an array of these.
    Json,
    /// A JSON envelope a line.
    JsonLines,
    /// A form with a file.
    Multipart,
}

impl Format {
    /// The format that a Content-Type names.
    ///
    /// # Errors
    /// `UnsupportedMediaType` for anything else, and for text in another charset than UTF-8.
    pub(crate) fn of(content_type: &str) -> Result<Self> {
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let essence = essence.trim().to_ascii_lowercase();
        let format = match essence.as_str() {
            "application/json" => Self::Json,
            "application/x-ndjson" => Self::JsonLines,
            "multipart/form-data" => return Ok(Self::Multipart),
            name => {
                Self::Document(DOCUMENTS.iter().find(|(known, _)| *known == name).ok_or_else(|| unsupported(name))?.0)
            }
        };
        match charset(parameters) {
            Some(charset) if !["utf-8", "utf8", "us-ascii"].contains(&charset.as_str()) => Err(Error::new(
                ErrorCode::UnsupportedMediaType,
                format!("the charset '{charset}' cannot be read; send UTF-8"),
            )),
            _ => Ok(format),
        }
    }

    /// The format that a file's name suggests.
    pub(crate) fn of_file(name: &str) -> Option<Self> {
        let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
        if extension == "json" {
            return Some(Self::Json);
        }
        let (media_type, _) = DOCUMENTS.iter().find(|(_, extensions)| extensions.contains(&extension.as_str()))?;
        Some(Self::Document(media_type))
    }
}

fn charset(parameters: &str) -> Option<String> {
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    })
}

fn unsupported(name: &str) -> Error {
    let known: Vec<_> = DOCUMENTS.iter().map(|(name, _)| *name).collect();
    let what = if name.is_empty() { "a Content-Type is needed".to_owned() } else { format!("'{name}' cannot be read") };
    Error::new(
        ErrorCode::UnsupportedMediaType,
        format!("{what}; these can: {}, application/json, multipart/form-data", known.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn known_types_are_read_whatever_their_case_and_parameters() {
        for (given, expected) in [
            ("text/plain", Format::Document("text/plain")),
            ("Text/Markdown; charset=UTF-8", Format::Document("text/markdown")),
            ("text/html;charset=\"utf-8\"", Format::Document("text/html")),
            ("application/pdf", Format::Document("application/pdf")),
            (DOCX, Format::Document(DOCX)),
            ("application/json", Format::Json),
            ("application/x-ndjson", Format::JsonLines),
            ("multipart/form-data; boundary=x", Format::Multipart),
        ] {
            assert_eq!(Format::of(given).unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn others_are_refused_with_what_would_do() {
        for (bad, says) in [
            ("", "Content-Type is needed"),
            ("image/png", "'image/png'"),
            ("text/plain; charset=iso-8859-1", "iso-8859-1"),
            ("text", "'text'"),
        ] {
            let error = Format::of(bad).unwrap_err();
            assert_eq!(error.code, ErrorCode::UnsupportedMediaType);
            assert!(error.message.contains(says), "{}", error.message);
        }
    }

    #[test]
    fn extensions_stand_for_types() {
        assert_eq!(Format::of_file("a.b.MD"), Some(Format::Document("text/markdown")));
        assert_eq!(Format::of_file("x.json"), Some(Format::Json));
        for unknown in ["noextension", "x.exe", "md", ""] {
            assert_eq!(Format::of_file(unknown), None);
        }
    }
}
