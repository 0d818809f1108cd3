//! What a failed call to Qdrant means.

use std::error::Error as StdError;

use ragstone_core::{Error, ErrorCode};
use tonic::{Code, Status};

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What is told to the caller.
    pub(crate) error: Error,
    /// Whether the peer is to blame: it was not reached, did not answer in time or broke down.
    pub(crate) fault: bool,
    /// Whether another peer may do what this one could not.
    pub(crate) elsewhere: bool,
    /// What Qdrant said.
    pub(crate) code: Code,
    /// In Qdrant's words.
    pub(crate) message: String,
}

impl Failure {
    /// What `status`, the answer of `peer` to `call`, means.
    pub(crate) fn new(call: &str, peer: &str, status: Status) -> Self {
        let code = status.code();
        let message = status.message().to_owned();
        let fault = matches!(
            code,
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::Unknown
                | Code::Internal
                | Code::Aborted
                | Code::DataLoss
        );
        // A peer that lags behind does not know a new shard yet.
        let behind = code == Code::InvalidArgument && message.contains("Shard key");
        let elsewhere = fault || behind || code == Code::ResourceExhausted;
        let (kind, said) = explain(call, peer, &status, behind);
        Self { error: Error::new(kind, said).with_source(status), fault, elsewhere, code, message }
    }

    /// No answer within the time.
    pub(crate) fn late(call: &str, peer: &str) -> Self {
        Self::new(call, peer, Status::deadline_exceeded("no answer in time"))
    }

    /// There is nobody to ask.
    pub(crate) fn nobody() -> Self {
        Self::new("", "", Status::unavailable("there is no peer to ask"))
    }

    /// Whether the peer was not there, or the connection broke.
    pub(crate) fn unreached(&self) -> bool {
        self.code == Code::Unavailable
    }

    /// Whether another peer may be asked for a change: this one was not there, or does not know the shard yet.
    pub(crate) fn may_be_repeated(&self) -> bool {
        self.unreached() || (self.elsewhere && !self.fault)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

fn explain(call: &str, peer: &str, status: &Status, behind: bool) -> (ErrorCode, String) {
    let text = status.message();
    if says_full(text) {
        return (ErrorCode::StorageFull, "the disk of Qdrant is full".to_owned());
    }
    match status.code() {
        // Not the caller's credential: ours.
        Code::Unauthenticated | Code::PermissionDenied => {
            (ErrorCode::Unavailable, format!("Qdrant at {peer} refuses the API key: correct retrieval.qdrant.api_key"))
        }
        Code::NotFound => (ErrorCode::NotFound, format!("Qdrant at {peer} does not have it: {text}")),
        Code::InvalidArgument if !behind => (ErrorCode::Internal, format!("Qdrant refused {call}: {text}")),
        Code::DeadlineExceeded | Code::Cancelled => {
            (ErrorCode::Unavailable, format!("Qdrant at {peer} did not answer {call} in time"))
        }
        Code::Unavailable | Code::Unknown => (ErrorCode::Unavailable, unreachable(peer, status)),
        Code::Unimplemented => (ErrorCode::Internal, format!("Qdrant at {peer} is too old: it does not know {call}")),
        _ => (ErrorCode::Unavailable, format!("Qdrant at {peer} could not do {call}")),
    }
}

/// Whether Qdrant says that its disk is full.
pub(crate) fn says_full(text: &str) -> bool {
    ["No space left", "not enough disk", "disk is full"].iter().any(|sign| text.contains(sign))
}

/// Names the setting where TLS is what fails.
fn unreachable(peer: &str, status: &Status) -> String {
    let tls = tls_trouble(peer, "retrieval.qdrant.urls", status.source());
    tls.unwrap_or_else(|| format!("Qdrant at {peer} cannot be reached"))
}

/// What is wrong with TLS, and which setting to correct, where that is among the causes; `urls` is the setting that
/// says where the peer is.
pub(crate) fn tls_trouble(peer: &str, urls: &str, mut cause: Option<&(dyn StdError + 'static)>) -> Option<String> {
    while let Some(error) = cause {
        if let Some(tls) = tls_error(error) {
            return Some(match tls {
                rustls::Error::InvalidCertificate(
                    rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. },
                ) => format!(
                    "the certificate of Qdrant at {peer} is for another name: correct retrieval.qdrant.server_name"
                ),
                rustls::Error::InvalidCertificate(_) => {
                    format!("the certificate of Qdrant at {peer} is not trusted: correct retrieval.qdrant.ca_file")
                }
                _ => format!("Qdrant at {peer} does not speak TLS as expected: correct {urls}"),
            });
        }
        cause = error.source();
    }
    None
}

fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    // Input and output hide what they wrap from `source`, and may wrap each other.
    match error.downcast_ref::<std::io::Error>() {
        Some(wrapper) => tls_error(wrapper.get_ref()?),
        None => error.downcast_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_means_something() {
        for (status, code, fault, elsewhere, says) in [
            (Status::unavailable("x"), ErrorCode::Unavailable, true, true, "cannot be reached"),
            (Status::deadline_exceeded("x"), ErrorCode::Unavailable, true, true, "in time"),
            (Status::internal("boom"), ErrorCode::Unavailable, true, true, "could not do upsert"),
            (Status::unauthenticated("x"), ErrorCode::Unavailable, false, false, "retrieval.qdrant.api_key"),
            (Status::permission_denied("x"), ErrorCode::Unavailable, false, false, "retrieval.qdrant.api_key"),
            (Status::not_found("no"), ErrorCode::NotFound, false, false, "does not have it"),
            (Status::invalid_argument("bad"), ErrorCode::Internal, false, false, "refused upsert"),
            (Status::invalid_argument("Shard key s4 not found"), ErrorCode::Unavailable, false, true, "could not"),
            (Status::resource_exhausted("x"), ErrorCode::Unavailable, false, true, "could not"),
            (Status::internal("No space left on device"), ErrorCode::StorageFull, true, true, "full"),
        ] {
            let what = status.to_string();
            let failure = Failure::new("upsert", "host:6334", status);
            assert_eq!((failure.error.code, failure.fault, failure.elsewhere), (code, fault, elsewhere), "{what}");
            assert!(failure.error.message.contains(says), "{}", failure.error.message);
        }
    }
}
