//! docs/configuration.md, generated from the configuration types' own documentation.

use schemars::{JsonSchema, schema_for};
use serde::Serialize;

use crate::stack::Config;

const HEAD: &str = "\
# Configuration

Every key, generated from the code (`make docs` renews this page; a test compares).

The command line beats the environment, which beats the TOML file, which beats the defaults. A key `a.b` is `b` in the
section `[a]` of the file named by `--config` (or `RAGSTONE_CONFIG`), and `RAGSTONE__A__B` in the environment. One file serves
all services; each reads its own section. An unknown key is refused by name (exit code 78). `--dump-config` prints the
merged result with secrets redacted.

";

/// The whole page.
///
/// # Errors
/// When a default cannot be serialised, which would be a bug of its type.
pub fn configuration_reference() -> serde_json::Result<String> {
    let config = Config::default();
    let mut page = HEAD.to_owned();
    section(&mut page, "server", &config.server)?;
    section(&mut page, "telemetry", &config.telemetry)?;
    section(&mut page, "gateway", &config.gateway)?;
    section(&mut page, "embedding", &config.embedding)?;
    section(&mut page, "retrieval", &config.retrieval)?;
    section(&mut page, "generation", &config.generation)?;
    section(&mut page, "ingestion", &config.ingestion)?;
    page.truncate(page.trim_end().len());
    page.push('\n');
    Ok(page)
}

fn section<T: JsonSchema + Serialize>(page: &mut String, name: &str, default: &T) -> serde_json::Result<()> {
    page.push_str(&ragstone_config::reference(name, &schema_for!(T), &serde_json::to_value(default)?));
    Ok(())
}
