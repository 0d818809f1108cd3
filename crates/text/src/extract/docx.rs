//! Word documents (Office Open XML) to Markdown.

use std::io::{Cursor, Read};

use ragstone_core::{Error, Result};
use undoc::render::RenderOptions;
use zip::ZipArchive;

use super::{Raw, TextFormat};
use crate::limits::ExtractLimits;

/// Below this size, in bytes, unpacked content is harmless however well it was packed.
const ALWAYS_ALLOWED: u64 = 1 << 20;
/// How an OLE container begins: encrypted .docx files and old .doc files are such.
const OLE_MAGIC: [u8; 8] = [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];

/// Reads a document: headings, paragraphs, lists and tables, without page headers, footers and pictures.
pub(super) fn read(body: Vec<u8>, limits: &ExtractLimits) -> Result<Raw> {
    if body.starts_with(&OLE_MAGIC) {
        return Err(Error::unprocessable("the DOCX is encrypted, or is an old .doc file"));
    }
    check_expansion(&body, limits)?;
    let unreadable = |error: undoc::Error| Error::unprocessable(format!("the DOCX could not be read: {error}"));
    let document =
        undoc::docx::DocxParser::from_bytes(body).and_then(|mut parser| parser.parse()).map_err(unreadable)?;
    let options = RenderOptions { include_images: false, max_heading_level: 6, ..RenderOptions::default() };
    let text = undoc::render::to_markdown(&document, &options).map_err(unreadable)?;
    Ok(Raw { title: document.metadata.title, ..Raw::new(text, TextFormat::Markdown) })
}

/// Refuses a zip bomb, first by what its directory says, then, as a directory can lie, by unpacking into nothing.
fn check_expansion(body: &[u8], limits: &ExtractLimits) -> Result<()> {
    let unreadable =
        |error: &dyn std::fmt::Display| Error::unprocessable(format!("the DOCX could not be read: {error}"));
    let allowed = (body.len() as u64).saturating_mul(limits.max_expansion).max(ALWAYS_ALLOWED);
    let too_large = || {
        let ratio = limits.max_expansion;
        Error::unprocessable(format!("the DOCX unpacks to more than the limit max_expansion of {ratio} times its size"))
    };
    let mut archive = ZipArchive::new(Cursor::new(body)).map_err(|error| unreadable(&error))?;
    if archive.decompressed_size().is_some_and(|total| total > u128::from(allowed)) {
        return Err(too_large());
    }
    let mut left = allowed;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| unreadable(&error))?;
        let read = std::io::copy(&mut entry.take(left.saturating_add(1)), &mut std::io::sink());
        left = left.checked_sub(read.map_err(|error| unreadable(&error))?).ok_or_else(too_large)?;
    }
    Ok(())
}
