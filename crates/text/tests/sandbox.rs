//! Extraction through a real child process: real PDFs, bombs, garbage, limits.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use ragstone_core::{ErrorCode, Result};
use ragstone_text::{ExtractLimits, Extracted, Extractor, TextFormat};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const PDF: &str = "application/pdf";
const HTML: &str = "text/html";

fn extractor(limits: ExtractLimits) -> Extractor {
    Extractor::new(PathBuf::from(env!("CARGO_BIN_EXE_ragstone-extract-worker")), limits)
}

async fn extract(body: impl Into<Bytes>, media_type: &str) -> Result<Extracted> {
    extractor(ExtractLimits::default()).extract(body.into(), media_type).await
}

/// Fails unless `result` is the `code` error that says all of `words`.
fn refused(result: Result<Extracted>, code: ErrorCode, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.code, code, "{}", error.chain());
    assert!(words.iter().all(|word| error.message.contains(word)), "{}", error.chain());
}

/// A PDF whose pages are blank but for the given texts.
fn pdf(pages: &[String]) -> Vec<u8> {
    let mut objects = vec!["<</Type/Catalog/Pages 2 0 R>>".to_owned(), String::new()];
    objects.push("<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>".to_owned());
    let mut kids = String::new();
    for text in pages {
        let content = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
        objects.push(format!("<</Length {}>>\nstream\n{content}\nendstream", content.len()));
        let number = objects.len();
        objects.push(format!(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {number} 0 R/Resources<</Font<</F1 3 0 R>>>>>>"
        ));
        write!(kids, "{} 0 R ", objects.len()).unwrap();
    }
    objects[1] = format!("<</Type/Pages/Count {}/Kids[{kids}]>>", pages.len());
    objects.push("<</Title(A small test)>>".to_owned());
    let mut file = "%PDF-1.4\n".to_owned();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (index, object) in objects.iter().enumerate() {
        writeln!(table, "{:010} 00000 n ", file.len()).unwrap();
        writeln!(file, "{} 0 obj\n{object}\nendobj", index + 1).unwrap();
    }
    let size = objects.len() + 1;
    let start = file.len();
    write!(file, "{table}trailer\n<</Size {size}/Root 1 0 R/Info {} 0 R>>\nstartxref\n{start}\n%%EOF", size - 1)
        .unwrap();
    file.into_bytes()
}

/// A DOCX with this body and, if asked for, one more entry of that many zeros.
fn docx(body: &str, zeros: usize) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let document = format!(
        "<?xml version=\"1.0\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\">\
         <w:body>{body}</w:body></w:document>"
    );
    let types = "<?xml version=\"1.0\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
        <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>\
        <Override PartName=\"/word/document.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml\"/></Types>";
    let relations = "<?xml version=\"1.0\"?><Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
        <Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"word/document.xml\"/></Relationships>";
    let style = |level: u8| {
        format!(
            "<w:style w:type=\"paragraph\" w:styleId=\"Heading{level}\"><w:name w:val=\"heading {level}\"/>\
             <w:pPr><w:outlineLvl w:val=\"{}\"/></w:pPr></w:style>",
            level - 1
        )
    };
    let styles = format!(
        "<?xml version=\"1.0\"?><w:styles xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\">{}{}</w:styles>",
        style(1),
        style(2)
    );
    for (name, content) in [
        ("[Content_Types].xml", types),
        ("_rels/.rels", relations),
        ("word/styles.xml", &styles),
        ("word/document.xml", &document),
    ] {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    if zeros > 0 {
        writer.start_file("word/media/image1.bin", SimpleFileOptions::default()).unwrap();
        writer.write_all(&vec![0; zeros]).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// `text` as a Word paragraph, a heading if `level` is not 0.
fn paragraph(level: u8, text: &str) -> String {
    let style = if level > 0 { format!("<w:pPr><w:pStyle w:val=\"Heading{level}\"/></w:pPr>") } else { String::new() };
    format!("<w:p>{style}<w:r><w:t xml:space=\"preserve\">{text}</w:t></w:r></w:p>")
}

#[tokio::test]
async fn reads_pdf_docx_and_html() {
    let read = extract(pdf(&["Hello C++ and 3.14".to_owned(), "Second page".to_owned()]), PDF).await.unwrap();
    assert_eq!(read.title.as_deref(), Some("A small test"));
    assert_eq!((read.format, read.skipped_pages), (TextFormat::Plain, 0));
    assert_eq!(read.text, "Hello C++ and 3.14\n\nSecond page");

    let body = [paragraph(1, "The head"), paragraph(0, "Grüße &amp; élève"), paragraph(2, "Sub"), paragraph(0, "End")];
    let read = extract(docx(&body.concat(), 0), &format!("{DOCX}; x=y")).await.unwrap();
    assert_eq!((read.title.as_deref(), read.format), (Some("The head"), TextFormat::Markdown), "{}", read.text);
    for part in ["# The head", "Grüße & élève", "## Sub", "End"] {
        assert!(read.text.contains(part), "{}", read.text);
    }

    let read = extract("<title>T</title><p>one</p><p>zwei \"ä\"</p>", HTML).await.unwrap();
    assert_eq!((read.title.as_deref(), read.text.as_str()), (Some("T"), "one\n\nzwei \"ä\""));
}

#[tokio::test]
async fn garbage_emptiness_and_unknown_types_are_refused() {
    let garbage: Vec<u8> = (0..10_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for media_type in [PDF, DOCX, HTML, "text/plain"] {
        refused(extract(Bytes::new(), media_type).await, ErrorCode::Unprocessable, &["empty"]);
        refused(extract(garbage.clone(), media_type).await, ErrorCode::Unprocessable, &[]);
    }
    refused(extract("x", "image/png").await, ErrorCode::UnsupportedMediaType, &["image/png", "text/html"]);
    refused(extract(pdf(&[String::new()]), PDF).await, ErrorCode::Unprocessable, &["scan"]);
    let ole = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 and so on".as_slice();
    refused(extract(ole, DOCX).await, ErrorCode::Unprocessable, &["encrypted"]);
    let cut = pdf(&["Hello".to_owned()]);
    refused(extract(cut[..cut.len() / 3].to_vec(), PDF).await, ErrorCode::Unprocessable, &[]);
}

#[tokio::test]
async fn a_zip_bomb_is_refused_even_when_its_directory_lies() {
    let bomb = docx(&paragraph(0, "boom"), 200 << 20);
    refused(extract(bomb.clone(), DOCX).await, ErrorCode::Unprocessable, &["max_expansion"]);
    // The sizes in both headers say 1 KiB now.
    let mut lying = bomb;
    let size = (200_u32 << 20).to_le_bytes();
    let places: Vec<usize> = (0..lying.len() - 4).filter(|at| lying[*at..*at + 4] == size).collect();
    assert!(!places.is_empty());
    for at in places {
        lying[at..at + 4].copy_from_slice(&1024_u32.to_le_bytes());
    }
    refused(extract(lying, DOCX).await, ErrorCode::Unprocessable, &["max_expansion"]);
}

#[tokio::test]
async fn each_limit_is_named_when_it_is_reached() {
    let limits = ExtractLimits::default;
    let pages: Vec<String> = (0..3000).map(|number| format!("Page {number}")).collect();
    let long = pdf(&pages);
    refused(extract(long.clone(), PDF).await, ErrorCode::TooLarge, &["max_pages", "2000"]);

    let few = extractor(ExtractLimits { max_text_bytes: 1000, max_pages: 5000, ..limits() });
    refused(few.extract(long.clone().into(), PDF).await, ErrorCode::TooLarge, &["max_text_bytes", "1000"]);
    let few = extractor(ExtractLimits { max_bytes: 1000, ..limits() });
    refused(few.extract(long.into(), PDF).await, ErrorCode::TooLarge, &["max_bytes", "1000"]);

    let html = "<p>word</p>".repeat(1 << 20);
    let little = extractor(ExtractLimits { memory_bytes: 64 << 20, ..limits() });
    refused(little.extract(html.clone().into(), HTML).await, ErrorCode::Unprocessable, &["memory_bytes"]);
    let hasty = extractor(ExtractLimits { timeout_ms: 20, ..limits() });
    refused(hasty.extract(html.into(), HTML).await, ErrorCode::Unprocessable, &["timeout_ms", "20"]);
}

#[tokio::test]
async fn deep_nesting_ends_the_child_only() {
    let deep = format!("{}x", "<div>".repeat(10_000));
    let small_stack = extractor(ExtractLimits { memory_bytes: 64 << 20, ..ExtractLimits::default() });
    refused(small_stack.extract(deep.into(), HTML).await, ErrorCode::Unprocessable, &["nested too deeply"]);
    assert!(extract("<p>fine</p>", HTML).await.is_ok());
}

/// An executable shell script.
fn script(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("worker.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_child_that_hangs_is_killed_and_reaped() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let program = script(folder.path(), &format!("echo $$ > {}; exec /bin/sleep 600", pid.display()));
    let extractor = Extractor::new(program, ExtractLimits { timeout_ms: 500, ..ExtractLimits::default() });
    let begun = Instant::now();
    // More than a pipe holds: writing the document must not block either.
    let result = extractor.extract(vec![b' '; 4 << 20].into(), HTML).await;
    refused(result, ErrorCode::Unprocessable, &["timeout_ms"]);
    assert!(begun.elapsed() < Duration::from_secs(60));
    let pid = std::fs::read_to_string(pid).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "process {pid} still runs");
}

#[tokio::test]
async fn endless_output_is_cut_and_a_foreign_program_is_told_apart() {
    let limits = ExtractLimits { max_text_bytes: 1000, ..ExtractLimits::default() };
    let endless = Extractor::new(PathBuf::from("/usr/bin/yes"), limits.clone());
    refused(endless.extract("x".into(), HTML).await, ErrorCode::TooLarge, &["max_text_bytes"]);
    let foreign = Extractor::new(PathBuf::from("/bin/true"), limits.clone());
    refused(foreign.extract("x".into(), HTML).await, ErrorCode::Internal, &["/bin/true"]);
    let missing = Extractor::new(PathBuf::from("/nowhere/at-all"), limits);
    refused(missing.extract("x".into(), HTML).await, ErrorCode::Unavailable, &["started"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pdf_from_the_wild_hangs_or_harms_the_parent() {
    let root = std::env::var_os("RAGSTONE_EVAL_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let Ok(entries) = std::fs::read_dir(root.join("pdf")) else {
        eprintln!("skipped: no PDFs under {}", root.display());
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let extractor = extractor(ExtractLimits::default());
    let begun = Instant::now();
    let results = join_all(paths.iter().map(async |path| {
        let body = std::fs::read(path).unwrap();
        (path.file_name().unwrap(), extractor.extract(body.into(), PDF).await)
    }))
    .await;
    let mut with_text = 0;
    for (name, result) in &results {
        match result {
            Ok(extracted) => {
                with_text += 1;
                let (characters, skipped) = (extracted.text.chars().count(), extracted.skipped_pages);
                eprintln!("{name:?}: {characters} characters, {skipped} pages skipped, title {:?}", extracted.title);
            }
            Err(error) => {
                assert_eq!(error.code, ErrorCode::Unprocessable, "{name:?}: {}", error.chain());
                eprintln!("{name:?}: {error}");
            }
        }
    }
    eprintln!("{with_text} of {} PDFs gave text in {:.1?}", results.len(), begun.elapsed());
    assert!(with_text >= 30, "only {with_text} of {} gave text", results.len());
}
