//! PDF to plain text.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_extract::{Document, Object, PlainTextOutput, output_doc_page};
use ragstone_core::{Error, ErrorCode, Result};

use super::{Raw, TextFormat, check_text_size};
use crate::limits::ExtractLimits;
use crate::worker::panic_text;

/// Reads the text layer page by page; a page that cannot be read is skipped and counted.
pub(super) fn read(body: &[u8], limits: &ExtractLimits) -> Result<Raw> {
    let document = open(body)?;
    let pages = document.page_iter().take(limits.max_pages.saturating_add(1)).count();
    if pages > limits.max_pages {
        let message = format!("the PDF has more than the limit max_pages of {} pages", limits.max_pages);
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    let mut text = String::new();
    let mut failures = Vec::new();
    for number in 1..=pages {
        match page_text(&document, u32::try_from(number).unwrap_or(u32::MAX)) {
            Ok(page) if page.trim().is_empty() => {}
            Ok(page) => {
                if !text.is_empty() {
                    text.push_str("\n\n");
                }
                text.push_str(page.trim_matches('\n'));
                check_text_size(text.len(), limits)?;
            }
            Err(reason) => failures.push(reason),
        }
    }
    if text.is_empty() {
        return Err(without_text(pages, failures.first()));
    }
    Ok(Raw { title: title(&document), skipped_pages: failures.len(), ..Raw::new(text, TextFormat::Plain) })
}

fn without_text(pages: usize, failure: Option<&String>) -> Error {
    Error::unprocessable(match failure {
        Some(reason) => format!("no page of the PDF could be read: {reason}"),
        None if pages == 0 => "the PDF has no pages".to_owned(),
        None => format!("the PDF has no text that can be read on its {pages} pages; it may be a scan"),
    })
}

/// Opens a PDF; one that is encrypted only against changes has an empty password.
fn open(body: &[u8]) -> Result<Document> {
    let protected = || Error::unprocessable("the PDF is encrypted and cannot be opened without a password");
    let mut document = Document::load_mem(body).map_err(|error| match error {
        pdf_extract::Error::InvalidPassword | pdf_extract::Error::Decryption(_) => protected(),
        other => Error::unprocessable(format!("the PDF could not be read: {other}")),
    })?;
    if document.is_encrypted() {
        document.decrypt("").map_err(|_| protected())?;
    }
    Ok(document)
}

/// One page's text. The better reader panics on many malformed pages and passes over some fonts; then the simpler one
/// may do.
fn page_text(document: &Document, number: u32) -> std::result::Result<String, String> {
    let read = contained(|| {
        let mut text = String::new();
        output_doc_page(document, &mut PlainTextOutput::new(&mut text), number).map(|()| text)
    });
    match read {
        Ok(text) if !text.trim().is_empty() => Ok(text),
        other => match contained(|| document.extract_text(&[number])) {
            // A replacement character means that the reader did not understand the font.
            Ok(text) if !text.trim().is_empty() && !text.contains('\u{FFFD}') => Ok(text),
            _ => other,
        },
    }
}

/// Runs a reader; its panic is an error.
fn contained<E: Display>(read: impl FnOnce() -> std::result::Result<String, E>) -> std::result::Result<String, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(payload) => Err(panic_text(payload.as_ref())),
    }
}

/// The title in the document information dictionary.
fn title(document: &Document) -> Option<String> {
    let info = match document.trailer.get(b"Info").ok()? {
        Object::Reference(id) => document.get_dictionary(*id).ok()?,
        Object::Dictionary(dictionary) => dictionary,
        _ => return None,
    };
    let value = info.get(b"Title").ok()?;
    let value = value.as_reference().ok().and_then(|id| document.get_object(id).ok()).unwrap_or(value);
    pdf_extract::decode_text_string(value).ok()
}
