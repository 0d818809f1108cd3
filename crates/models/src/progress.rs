//! What a pull tells whoever watches it.

/// Receives the steps of a pull; a progress bar or nothing at all (`()`).
pub trait Progress: Send + Sync {
    /// `source` is being tried for `file`, which has `size` bytes.
    fn started(&self, file: &str, size: u64, source: &str) {
        let _ = (file, size, source);
    }

    /// `bytes` more of `file` are here. Sources that deliver a file in one piece do not call this.
    fn advanced(&self, file: &str, bytes: u64) {
        let _ = (file, bytes);
    }

    /// `source` could not deliver `file`; the next one is tried.
    fn failed(&self, file: &str, source: &str, reason: &str) {
        let _ = (file, source, reason);
    }

    /// `file` is in the store and its hash is right.
    fn finished(&self, file: &str) {
        let _ = file;
    }
}

impl Progress for () {}
