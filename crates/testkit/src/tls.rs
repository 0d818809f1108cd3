//! A throw-away certificate authority and server certificates, for servers that speak TLS.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

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
    let ca_key = KeyPair::generate().context("the authority's key")?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "Ragstone test authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_certificate = ca.self_signed(&ca_key).context("the authority's certificate")?;

    let key = KeyPair::generate().context("the server's key")?;
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut server = CertificateParams::new(names).context("the server's names")?;
    server.distinguished_name.push(DnType::CommonName, "Ragstone test server");
    let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key)).context("the server's certificate")?;

    let write = |name: &str, pem: String| {
        let path = dir.join(name);
        std::fs::write(&path, pem).with_context(|| format!("writing {}", path.display())).map(|()| path)
    };
    Ok(ServerCertificate {
        ca: write("ca.pem", ca_certificate.pem())?,
        certificate: write("server.pem", certificate.pem())?,
        key: write("server.key", key.serialize_pem())?,
    })
}
