//! Why a credential was refused: a closed set for metrics, one sentence each for the caller.

use ragstone_core::{Error, ErrorCode};

/// Why a caller was not let in. The names are label values of `rag_auth_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No credential at all.
    Missing,
    /// Something other than a bearer token or a key, or not in the form of one.
    Malformed,
    /// Several credentials.
    Ambiguous,
    /// A token over the size limit.
    TooLarge,
    /// An algorithm that is not allowed here.
    Algorithm,
    /// No key with this id, or not exactly one that fits.
    UnknownKey,
    /// The signature does not fit.
    Signature,
    /// Past `exp`.
    Expired,
    /// Before `nbf`, or issued in the future.
    NotYetValid,
    /// Another issuer's token.
    Issuer,
    /// A token for somebody else.
    Audience,
    /// A claim that is needed is missing or unusable.
    Claims,
    /// An API key that does not exist, is revoked, has ended, or has another secret.
    ApiKey,
    /// The keys that tokens are checked with cannot be fetched.
    KeysUnavailable,
    /// The store of API keys does not answer.
    StoreUnavailable,
    /// A browser sent it for a page of another machine.
    ForeignPage,
}

impl Reason {
    /// The label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::TooLarge => "too_large",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claims => "claims",
            Self::ApiKey => "api_key",
            Self::KeysUnavailable => "keys_unavailable",
            Self::StoreUnavailable => "store_unavailable",
            Self::ForeignPage => "foreign_page",
        }
    }

    /// What the caller is told. Before the signature has been checked it is the same sentence for everything, so that
    /// nobody learns by trying which keys there are; afterwards the token is genuine and its owner may know what is wrong.
    fn message(self) -> &'static str {
        match self {
            Self::Missing => {
                "a credential is needed: `Authorization: Bearer` with a token or an API key, or `x-api-key`"
            }
            Self::Malformed => "the credential is not a bearer token or an API key",
            Self::Ambiguous => "more than one credential was sent",
            Self::TooLarge => "the token is too large",
            Self::Algorithm | Self::UnknownKey | Self::Signature => "the token is not valid",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Issuer => "the token is from another issuer",
            Self::Audience => "the token is not for this service",
            Self::Claims => "the token lacks a claim that is needed, or has one that cannot be used",
            Self::ApiKey => "the API key is not valid",
            Self::KeysUnavailable | Self::StoreUnavailable => "credentials cannot be checked at the moment",
            Self::ForeignPage => "without authentication the Host and Origin headers must name this machine's loopback",
        }
    }

    fn code(self) -> ErrorCode {
        match self {
            Self::KeysUnavailable | Self::StoreUnavailable => ErrorCode::Unavailable,
            Self::ForeignPage => ErrorCode::PermissionDenied,
            _ => ErrorCode::Unauthenticated,
        }
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self::new(reason.code(), reason.message())
    }
}
