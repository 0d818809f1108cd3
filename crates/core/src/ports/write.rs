//! Who writes to the catalog, and what makes writing twice harmless.

use std::time::Duration;

use crate::{Caller, Error, Result};

/// A promise that sending the same write again does nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The writer's name for this write, within the tenant.
    pub key: String,
    /// Hash of everything that was asked for: the same key with another one is refused.
    pub fingerprint: String,
    /// How long the key is remembered.
    pub ttl: Duration,
}

impl Idempotency {
    /// The longest key.
    const MAX_KEY: usize = 255;

    /// Checks a key.
    ///
    /// # Errors
    /// `InvalidArgument` unless it has 1 to 255 visible ASCII characters.
    pub fn check_key(key: &str) -> Result<()> {
        if (1..=Self::MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(());
        }
        Err(Error::invalid(format!("an idempotency key has 1 to {} visible ASCII characters", Self::MAX_KEY)))
    }
}

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Who it is.
    pub caller: Caller,
    /// Where the same may be sent twice.
    pub idempotency: Option<Idempotency>,
}

impl Write {
    /// A write that does not care about being sent twice.
    #[must_use]
    pub fn by(caller: Caller) -> Self {
        Self { caller, idempotency: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_and_visible() {
        let longest = "~".repeat(255);
        for good in ["a", "7f0c-!", longest.as_str()] {
            assert!(Idempotency::check_key(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "a\n", "\u{7f}", "ä", &"x".repeat(256)] {
            assert!(Idempotency::check_key(bad).is_err(), "{bad:?}");
        }
    }
}
