//! Throw-away certificate authorities and certificates, for servers and clients that speak TLS.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// The files a server and its clients need, all in PEM.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The authority's certificate: what a client trusts.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

/// Makes a new authority and a certificate of it for the given host names and addresses; writes all files into `dir`.
///
/// # Errors
/// When a name is none or a file cannot be written.
pub fn server_certificate(dir: &Path, names: &[&str]) -> Result<ServerCertificate> {
    let authority = Authority::new(Valid::Yes)?;
    let identity = authority.issue("Ragstone test server", names, Valid::Yes)?;
    Ok(ServerCertificate {
        ca: write(dir, "ca.pem", authority.pem())?,
        certificate: write(dir, "server.pem", &identity.certificate)?,
        key: write(dir, "server.key", &identity.key)?,
    })
}

/// Writes `text` into the file `name` of `dir` and says where that is.
///
/// # Errors
/// When it cannot be written.
pub fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display())).map(|()| path)
}

/// Whether a certificate is still valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Valid {
    /// For longer than any test.
    Yes,
    /// It ended years ago.
    Expired,
}

impl Valid {
    fn apply(self, params: &mut CertificateParams) {
        if self == Self::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
    }
}

/// A certificate with its private key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// An authority that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(valid: Valid) -> Result<Self> {
        let key = KeyPair::generate().context("the authority's key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Ragstone test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid.apply(&mut params);
        let pem = params.self_signed(&key).context("the authority's certificate")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its own certificate, in PEM: what others trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for `subject`, for servers of the given host names and addresses and for clients.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue(&self, subject: &str, names: &[&str], valid: Valid) -> Result<Identity> {
        let key = KeyPair::generate().context("the key")?;
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).context("the names")?;
        params.distinguished_name.push(DnType::CommonName, subject);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        valid.apply(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).context("the certificate")?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
