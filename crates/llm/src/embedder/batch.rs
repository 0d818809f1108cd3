//! Which texts go together in one call.

use std::ops::Range;

/// Cuts `texts` into runs of at most `most` texts and about `bytes` bytes; a longer text goes alone.
pub(super) fn split(texts: &[String], most: usize, bytes: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut size) = (0, 0_usize);
    for (index, text) in texts.iter().enumerate() {
        let full = index - start == most || size.saturating_add(text.len()) > bytes;
        if index > start && full {
            runs.push(start..index);
            (start, size) = (index, 0);
        }
        size = size.saturating_add(text.len());
    }
    if start < texts.len() {
        runs.push(start..texts.len());
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(lengths: &[usize], most: usize, bytes: usize) -> Vec<Range<usize>> {
        split(&lengths.iter().map(|length| "x".repeat(*length)).collect::<Vec<_>>(), most, bytes)
    }

    #[test]
    fn runs_keep_both_limits_and_lose_nothing() {
        assert!(cut(&[], 3, 10).is_empty());
        assert_eq!(cut(&[1; 7], 3, 10), [0..3, 3..6, 6..7]);
        assert_eq!(cut(&[4, 4, 4], 3, 10), [0..2, 2..3]);
        assert_eq!(cut(&[4, 40, 4, 4], 3, 10), [0..1, 1..2, 2..4]);
    }
}
