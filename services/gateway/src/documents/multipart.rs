//! The parts of a form: `file`, `metadata`, `title` and `groups`, each at most once.

use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use bytes::Bytes;
use ragstone_core::{Error, Metadata, Result};

use super::Format;

/// A form that was read.
pub(crate) struct Form {
    /// The file's bytes.
    pub file: Bytes,
    /// What they are.
    pub format: Format,
    /// The document's title.
    pub title: Option<String>,
    /// The caller's fields.
    pub metadata: Option<Metadata>,
    /// Who may read it.
    pub groups: Option<Vec<String>>,
}

/// Reads a form.
///
/// # Errors
/// `InvalidArgument` naming the part that is missing, unknown, doubled or malformed; `UnsupportedMediaType`.
pub(crate) async fn read(mut form: Multipart) -> Result<Form> {
    let (mut file, mut title, mut metadata, mut groups) = (None, None, None, None);
    while let Some(field) = form.next_field().await.map_err(|e| malformed(&e))? {
        let name = field.name().unwrap_or_default().to_owned();
        let doubled = match name.as_str() {
            "file" => {
                let format = format_of(&field)?;
                file.replace((field.bytes().await.map_err(|e| malformed(&e))?, format)).is_some()
            }
            "title" => title.replace(field.text().await.map_err(|e| malformed(&e))?).is_some(),
            "metadata" => metadata.replace(json("metadata", field, "an object").await?).is_some(),
            "groups" => groups.replace(json("groups", field, "an array of texts").await?).is_some(),
            _ => {
                return Err(Error::invalid(format!(
                    "unknown part '{name}': file, metadata, title and groups are known"
                )));
            }
        };
        if doubled {
            return Err(Error::invalid(format!("part '{name}' appears twice")));
        }
    }
    let (file, format) = file.ok_or_else(|| Error::invalid("part 'file' is missing"))?;
    Ok(Form { file, format, title, metadata, groups })
}

/// The part's own type; where that says nothing, what the file's name suggests.
fn format_of(field: &Field<'_>) -> Result<Format> {
    let declared = field.content_type().unwrap_or("application/octet-stream");
    let by_name = || field.file_name().and_then(Format::of_file);
    if declared.eq_ignore_ascii_case("application/octet-stream")
        && let Some(format) = by_name()
    {
        return Ok(format);
    }
    Format::of(declared)
}

async fn json<T: serde::de::DeserializeOwned>(name: &str, field: Field<'_>, shape: &str) -> Result<T> {
    let text = field.text().await.map_err(|e| malformed(&e))?;
    serde_json::from_str(&text).map_err(|e| Error::invalid(format!("part '{name}' must be {shape} in JSON: {e}")))
}

fn malformed(error: &MultipartError) -> Error {
    Error::invalid(format!("the form cannot be read: {}", error.body_text()))
}
