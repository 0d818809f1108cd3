//! Many documents in one request: a JSON array, or one JSON object a line.

use std::collections::HashSet;
use std::fmt;

use futures::{StreamExt as _, stream};
use ragstone_core::{Error, ErrorCode, Principal, Priority, Result};
use ragstone_proto::v1;
use ragstone_resilience::Deadline;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Put;
use super::draft::Draft;
use super::envelope::Envelope;
use crate::app::App;
use crate::extract::parse_json;

const MAX_ITEMS: usize = 1_000;
/// Documents of one batch that are under way at once.
const CONCURRENCY: usize = 8;

/// The items of a batch, each a document or the reason why it is none.
pub(crate) type Batch = Vec<Result<Draft>>;

/// The batch in a JSON array.
///
/// # Errors
/// `InvalidArgument` when it is no array of 1 item or more, `TooLarge` for over 1,000.
pub(crate) fn array(body: &[u8]) -> Result<Batch> {
    let Items(items) = parse_json(body)?;
    let envelope =
        |item: &RawValue| serde_json::from_str(item.get()).map_err(|e| Error::invalid(format!("unusable item: {e}")));
    checked(items.into_iter().map(envelope).collect())
}

/// The items of an array as they stand, one more than a batch may have at most: a body of millions of tiny items costs no
/// more memory than itself.
struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of documents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> std::result::Result<Items<'de>, A::Error> {
        let mut items = Vec::new();
        while items.len() <= MAX_ITEMS
            && let Some(item) = array.next_element()?
        {
            items.push(item);
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Items(items))
    }
}

/// The batch in lines of JSON; blank ones are skipped.
///
/// # Errors
/// As [`array`].
pub(crate) fn lines(body: &[u8]) -> Result<Batch> {
    let lines = body.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let envelope = |(number, line): (usize, &[u8])| {
        parse_json(line).map_err(|e| Error::invalid(format!("line {}: {}", number + 1, e.message)))
    };
    checked(lines.take(MAX_ITEMS + 1).map(envelope).collect())
}

fn checked(items: Vec<Result<Envelope>>) -> Result<Batch> {
    if items.is_empty() {
        return Err(Error::invalid("the batch is empty"));
    }
    if items.len() > MAX_ITEMS {
        let message = format!("the batch has more than {MAX_ITEMS} items");
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    let mut seen = HashSet::new();
    let open = |item: Result<Envelope>| {
        let document = item?.open(None)?;
        // Items are stored side by side: which of two would be the newer version is anybody's guess.
        if seen.insert(document.id.clone()) {
            Ok(document)
        } else {
            Err(Error::conflict(format!("document '{}' appears earlier in this batch", document.id)))
        }
    };
    Ok(items.into_iter().map(open).collect())
}

/// Stores what is a document; one result for each item, in order. A bulk load lets single documents go first. Each item has
/// an idempotency key of its own, made of the batch's `key` and its place, when there is one.
pub(crate) async fn put_all(
    app: &App,
    caller: &Principal,
    batch: Batch,
    key: &str,
    deadline: Deadline,
) -> Vec<Result<v1::PutDocumentResponse>> {
    let put = |(place, item): (usize, Result<Draft>)| async move {
        let idempotency_key = item_key(key, place);
        let how = Put { if_version: None, priority: Priority::Low, idempotency_key };
        let (document, _memory) = item?.complete(app).await?;
        super::put(app, caller, document, how, deadline).await
    };
    stream::iter(batch).enumerate().map(put).buffered(CONCURRENCY).collect().await
}

/// The longest key of a batch: room is left for the place.
pub(crate) const MAX_KEY: usize = 250;

fn item_key(key: &str, place: usize) -> String {
    if key.is_empty() { String::new() } else { format!("{key}#{place}") }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn ids(batch: &Batch) -> Vec<String> {
        batch.iter().map(|item| item.as_ref().map_or_else(|e| e.message.clone(), |d| d.id.to_string())).collect()
    }

    #[test]
    fn an_unusable_item_does_not_spoil_the_others() {
        let batch =
            array(br#"[{"id":"a","text":"1"},{"id":"b"},7,{"id":"c","text":"3"},{"id":"a","text":"4"}]"#).unwrap();
        let ids = ids(&batch);
        assert_eq!((ids[0].as_str(), ids[3].as_str()), ("a", "c"));
        assert!(ids[1].contains("text") && ids[2].contains("invalid type") && ids[4].contains("earlier"), "{ids:?}");
    }

    #[test]
    fn lines_may_be_blank_and_faults_name_their_line() {
        let batch = lines(b"{\"id\":\"a\",\"text\":\"1\"}\r\n\n  \n{\"id\":\n{\"id\":\"b\",\"text\":\"2\"}").unwrap();
        let ids = ids(&batch);
        assert_eq!((ids[0].as_str(), ids[2].as_str()), ("a", "b"));
        assert!(ids[1].starts_with("line 4: "), "{ids:?}");
    }

    #[test]
    fn what_is_no_batch_is_refused_as_a_whole() {
        let code = |outcome: Result<Batch>| outcome.unwrap_err().code;
        assert_eq!(code(array(b"[]")), ErrorCode::InvalidArgument);
        assert_eq!(code(array(b"[{]")), ErrorCode::InvalidArgument);
        assert_eq!(code(lines(b"\n\n")), ErrorCode::InvalidArgument);
        let many = |count: usize| format!("[{}]", vec![r#"{"text":"t"}"#; count].join(","));
        assert_eq!(array(many(1000).as_bytes()).unwrap().len(), 1000);
        assert_eq!(code(array(many(1001).as_bytes())), ErrorCode::TooLarge);
    }
}
