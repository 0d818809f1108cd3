//! Opaque page cursors: the last item's key, in hexadecimal so that nobody builds one by hand.

use ragstone_core::{Error, Result};

/// A cursor that continues after `key`.
pub(crate) fn encode(key: &str) -> String {
    hex::encode(key)
}

/// The key a cursor continues after.
pub(crate) fn decode(cursor: &str) -> Result<String> {
    hex::decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Error::invalid(format!("'{cursor}' is not a cursor")))
}
