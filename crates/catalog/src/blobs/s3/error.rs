//! What an error of S3 means, in one sentence that names the setting where one is to blame.

use std::error::Error as _;

use ragstone_core::{Error, ErrorCode};

/// Marks in what the store or the HTTP client says, with the sentence each means. The first that is found counts.
const SETTINGS: [(&str, &str); 13] = [
    ("NoSuchBucket", "the bucket of ingestion.blobs.s3.bucket does not exist"),
    ("InvalidBucketName", "ingestion.blobs.s3.bucket is no name of a bucket"),
    ("InvalidAccessKeyId", "the store does not know ingestion.blobs.s3.access_key_id"),
    ("SignatureDoesNotMatch", "ingestion.blobs.s3.secret_access_key is wrong"),
    ("InvalidToken", "the store refuses AWS_SESSION_TOKEN"),
    ("AuthorizationHeaderMalformed", "ingestion.blobs.s3.region is not the region of the bucket"),
    ("PermanentRedirect", "ingestion.blobs.s3.region or ingestion.blobs.s3.endpoint is not that of the bucket"),
    ("without LOCATION", "ingestion.blobs.s3.region is not the region of the bucket"),
    ("AccessDenied", "the owner of ingestion.blobs.s3.access_key_id may not do this in ingestion.blobs.s3.bucket"),
    (
        "169.254.169.254",
        "there are no credentials: ingestion.blobs.s3.access_key_id is not set, nor are variables of AWS",
    ),
    ("not valid for name", "the certificate of the store is not valid for the host in ingestion.blobs.s3.endpoint"),
    (
        "invalid peer certificate",
        "the certificate of the store is not trusted: ingestion.blobs.s3.ca_file must name the authority that signed it",
    ),
    ("InvalidContentType", "ingestion.blobs.s3.endpoint begins with https://, but nobody speaks TLS there"),
];
/// Codes of a store that has no room.
const FULL: [&str; 4] = ["507", "StorageFull", "QuotaExceeded", "InsufficientStorage"];

/// For a call: its caller is not to blame, and trying again after the mistake is mended helps.
pub(super) fn for_callers(doing: &str, error: object_store::Error) -> Error {
    explain(doing, error, ErrorCode::Unavailable)
}

/// For whoever starts or watches the service: a wrong setting is told apart.
pub(super) fn for_operators(doing: &str, error: object_store::Error) -> Error {
    explain(doing, error, ErrorCode::InvalidArgument)
}

fn explain(doing: &str, error: object_store::Error, setting_at_fault: ErrorCode) -> Error {
    let text = chain(&error);
    let (code, why) = if let Some((_, sentence)) = SETTINGS.iter().find(|(mark, _)| text.contains(mark)) {
        (setting_at_fault, *sentence)
    } else if is_a_web_page(&text) {
        (setting_at_fault, "something else than an S3 store answers at ingestion.blobs.s3.endpoint")
    } else if let object_store::Error::NotFound { .. } = error {
        return Error::not_found(doing).with_source(error);
    } else if is_refusal(&error) {
        (setting_at_fault, "the store refuses ingestion.blobs.s3.access_key_id")
    } else if FULL.iter().any(|mark| text.contains(&format!("status code: {mark}")) || text.contains(&code_of(mark))) {
        (ErrorCode::StorageFull, "the store is full")
    } else {
        (ErrorCode::Unavailable, "the store (ingestion.blobs.s3.endpoint) does not answer as it should")
    };
    Error::new(code, format!("{doing}: {why}")).with_source(error)
}

/// As the error's XML has it.
fn code_of(name: &str) -> String {
    format!("{name}</Code>")
}

fn is_refusal(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. })
}

fn is_a_web_page(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("<html") || text.contains("<!doctype html")
}

fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn codes_fit_who_is_told() {
        let wrong = "403: <Code>SignatureDoesNotMatch</Code>";
        assert_eq!(for_callers("x", generic(wrong)).code, ErrorCode::Unavailable);
        assert_eq!(for_operators("x", generic(wrong)).code, ErrorCode::InvalidArgument);
        assert_eq!(for_operators("x", generic("connection refused")).code, ErrorCode::Unavailable);
        for full in
            ["Server returned non-2xx status code: 507 Insufficient Storage: ", "<Code>XMinioStorageFull</Code>"]
        {
            assert_eq!(for_callers("x", generic(full)).code, ErrorCode::StorageFull);
        }
    }

    #[test]
    fn a_missing_body_is_told_from_a_missing_bucket() {
        let missing =
            |body: &str| object_store::Error::NotFound { path: "ab/cd".into(), source: body.to_owned().into() };
        assert_eq!(for_callers("x", missing("<Code>NoSuchKey</Code>")).code, ErrorCode::NotFound);
        assert_eq!(for_callers("x", missing("<Code>NoSuchBucket</Code>")).code, ErrorCode::Unavailable);
        assert_eq!(for_callers("x", missing("<html>404</html>")).code, ErrorCode::Unavailable);
    }
}
