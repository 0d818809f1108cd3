//! The PEM files behind TLS: read, understood, and found fault with under their setting's name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ragstone_core::{Error, Result};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// One file, as it was read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PemFile {
    setting: String,
    path: PathBuf,
    pem: Vec<u8>,
}

/// The provider every connection uses.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl PemFile {
    /// Reads the file that `setting` names.
    ///
    /// # Errors
    /// `InvalidArgument`, naming setting and file.
    pub(super) fn read(setting: &str, path: &Path) -> Result<Self> {
        let file = Self { setting: setting.to_owned(), path: path.to_owned(), pem: Vec::new() };
        let pem = std::fs::read(path).map_err(|e| file.unusable(&e.to_string()))?;
        Ok(Self { pem, ..file })
    }

    fn unusable(&self, why: &str) -> Error {
        Error::invalid(format!("{} {}: {why}", self.setting, self.path.display()))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_slice_iter(&self.pem).collect::<Result<Vec<_>, _>>();
        let certificates = read.map_err(|e| self.unusable(&format!("is not PEM: {e}")))?;
        if certificates.is_empty() {
            return Err(self.unusable("contains no certificate"));
        }
        Ok(certificates)
    }

    /// When `certificate` ends, in seconds since 1970.
    fn end(&self, certificate: &CertificateDer<'_>) -> Result<i64> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|e| self.unusable(&format!("is no certificate: {e}")))?;
        Ok(parsed.validity().not_after.timestamp())
    }

    /// The authorities in the file. Expired ones do not count: bundles keep them through a change of authorities.
    pub(super) fn authorities(&self) -> Result<RootCertStore> {
        let mut store = RootCertStore::empty();
        for certificate in self.certificates()? {
            if self.end(&certificate)? > now() {
                store.add(certificate).map_err(|e| self.unusable(&format!("is no authority's certificate: {e}")))?;
            }
        }
        if store.is_empty() {
            return Err(self.unusable("every certificate in it has expired"));
        }
        Ok(store)
    }

    /// The certificates in this file with the private key in `key`, and when the first of them ends.
    pub(super) fn identity(&self, key: &Self) -> Result<(CertifiedKey, i64)> {
        let chain = self.certificates()?;
        let end = self.end(chain.first().ok_or_else(|| self.unusable("contains no certificate"))?)?;
        if end <= now() {
            return Err(self.unusable("the certificate has expired"));
        }
        let der = PrivateKeyDer::from_pem_slice(&key.pem)
            .map_err(|e| key.unusable(&format!("contains no usable private key: {e}")))?;
        let identity = CertifiedKey::from_der(chain, der, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                key.unusable(&format!("the key is not that of {} {}", self.setting, self.path.display()))
            }
            error => key.unusable(&error.to_string()),
        })?;
        Ok((identity, end))
    }
}

/// Whose certificate `certificate` is, such as `CN=gateway`; `None` when it cannot be read.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.subject().to_string())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
