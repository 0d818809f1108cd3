//! One small document of each format, with a fact in it and a question for that fact.

use std::io::Write as _;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A document to ingest.
pub(crate) struct Format {
    pub(crate) id: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) question: &'static str,
    pub(crate) fact: &'static str,
}

/// All six formats.
pub(crate) fn all() -> Vec<Format> {
    let format = |id: &str, content_type, body: Vec<u8>, question, fact| Format {
        id: id.to_owned(),
        content_type,
        body,
        question,
        fact,
    };
    vec![
        format(
            "plain",
            "text/plain",
            "Grüße aus Köln! The bakery of Mr. Ostrowski opens at 5.30 in the morning.".into(),
            "When does the bakery of Mr. Ostrowski open?",
            "5.30",
        ),
        format(
            "markdown",
            "text/markdown; charset=utf-8",
            "# Handbook\n\n## Backups\n\nThe vault is copied to Reykjavik every Thursday.\n\n## Fire\n\nLeave.\n"
                .into(),
            "Where is the vault copied to?",
            "Reykjavik",
        ),
        format(
            "html",
            "text/html",
            "<html><head><title>Zoo</title><script>alert(1)</script></head><body><h1>Zoo</h1><p>The oldest tortoise, \
             <b>Bartholomew</b>, eats 3 melons a day.</p></body></html>"
                .into(),
            "What is the oldest tortoise called?",
            "Bartholomew",
        ),
        format(
            "pdf",
            "application/pdf",
            pdf("The cable car to Mount Aldwyn carries 42 persons."),
            "How many persons does the cable car carry?",
            "42",
        ),
        format(
            "docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            docx("The violin was built by Giacomo Ferretti in Cremona."),
            "Who built the violin?",
            "Giacomo Ferretti",
        ),
        format(
            "json",
            "application/json",
            br#"{"text":"Submarine K-77 dived to 611 metres.","title":"K-77","metadata":{"kind":"ship"}}"#.to_vec(),
            "How deep did submarine K-77 dive?",
            "611",
        ),
    ]
}

/// A PDF of one page with one line of text.
fn pdf(text: &str) -> Vec<u8> {
    let content = format!("BT /F1 14 Tf 40 700 Td ({text}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        write!(out, "{} 0 obj\n{object}\nendobj\n", number + 1).unwrap();
    }
    let table = out.len();
    write!(out, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).unwrap();
    for offset in offsets {
        writeln!(out, "{offset:010} 00000 n ").unwrap();
    }
    write!(out, "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1).unwrap();
    out
}

/// A Word document of one paragraph.
fn docx(text: &str) -> Vec<u8> {
    let parts = [
        (
            "[Content_Types].xml",
            r#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>"#.to_owned(),
        ),
        (
            "_rels/.rels",
            r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>"#.to_owned(),
        ),
        (
            "word/document.xml",
            format!(
                r#"<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>"#
            ),
        ),
    ];
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, xml) in parts {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(format!(r#"<?xml version="1.0" encoding="UTF-8"?>{xml}"#).as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
