//! Prints a merged configuration as TOML; secrets redact themselves when serialised.

use serde::Serialize;

/// `config` as TOML.
///
/// # Errors
/// When it cannot be expressed in TOML, which would be a bug of the type.
pub fn dump(config: &impl Serialize) -> Result<String, toml::ser::Error> {
    toml::to_string_pretty(config)
}
