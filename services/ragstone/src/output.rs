//! The one place that writes: results to standard output, notes to standard error.

use std::io::{self, Write};

use console::{measure_text_width, truncate_str};
use serde::Serialize;

use crate::failure::{Exit, Failure};

/// Standard output. A reader that has left (`ragstone … | head`) ends the command quietly.
pub(crate) struct Output(Box<dyn Write + Send>);

impl Output {
    /// The process's own.
    pub(crate) fn stdout() -> Self {
        Self(Box::new(io::stdout()))
    }

    /// Any other writer.
    #[cfg(test)]
    pub(crate) fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Box::new(writer))
    }

    /// Writes text as it comes, made safe for a terminal, and flushes.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(printable(text).as_bytes())
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.text(&format!("{text}\n"))
    }

    /// Writes a table: a row of headings, then `rows`; the last column is not padded.
    pub(crate) fn table(&mut self, headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        self.text(&table(headings, rows))
    }

    /// Writes the one JSON document of `--json`.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut bytes =
            serde_json::to_vec_pretty(value).map_err(|e| Failure::failed(format!("cannot write JSON: {e}")))?;
        bytes.push(b'\n');
        self.bytes(&bytes)
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(Exit::Done),
            _ => Failure::failed(format!("cannot write to standard output: {error}")),
        })
    }
}

/// Writes a line to standard error. That it cannot be written is nothing one could say anywhere.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr(), "{}", printable(text)));
}

/// The text on one line, cut to `width` columns.
pub(crate) fn one_line(text: &str, width: usize) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    truncate_str(&printable(&joined), width, "…").into_owned()
}

/// The text without what a terminal would obey: documents and servers may hold escape sequences.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{FFFD}' } else { c }).collect()
}

fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(ToString::to_string).collect();
    let width = |column: usize| {
        std::iter::once(&headings)
            .chain(rows)
            .filter_map(|row| row.get(column))
            .map(|cell| measure_text_width(cell))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(measure_text_width(cell)) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        assert_eq!(Output::new(Closed).line("x"), Err(Failure::silent(Exit::Done)));
    }

    #[test]
    fn a_document_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{9b}\r\n\tc"), "a\u{FFFD}[31mb\u{FFFD}\u{FFFD}\n\tc");
        assert_eq!(one_line("Grüße\r\n  an   é\u{1b}lève", 40), "Grüße an é\u{FFFD}lève");
    }

    #[test]
    fn columns_line_up_also_for_wide_characters() {
        let rows = vec![vec!["日本".to_owned(), "1".to_owned()], vec!["abc".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["id", "n"], &rows), "id    n\n日本  1\nabc   22\n");
    }

    #[test]
    fn long_text_is_cut_on_one_line() {
        assert_eq!(one_line("one two three", 8), "one two…");
    }
}
