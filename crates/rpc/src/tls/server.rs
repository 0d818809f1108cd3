//! TLS of a port: its certificate, and which clients' certificates it asks for.

use std::sync::Arc;

use ragstone_core::{Error, Result};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;

use super::TlsConfig;
use super::files::{PemFile, provider};
use super::reload::{Made, Recipe};

/// HTTP/2 first: gRPC needs it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How the files of `config`, which stands in `section`, become a server's side of TLS.
pub(crate) fn server(section: &'static str, config: &TlsConfig) -> Recipe<ServerConfig> {
    let mut files = vec![("certificate_file", config.certificate_file.clone()), ("key_file", config.key_file.clone())];
    files.extend(config.client_ca_file.clone().map(|path| ("client_ca_file", path)));
    Recipe { section, files, make: Box::new(make) }
}

fn make(files: &[PemFile]) -> Result<Made<ServerConfig>> {
    let [certificate, key, authorities @ ..] = files else {
        return Err(Error::internal("a server's TLS needs a certificate and a key"));
    };
    let (identity, end) = certificate.identity(key)?;
    let unusable = |e: &dyn std::fmt::Display| Error::invalid(format!("TLS cannot be set up: {e}"));
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?;
    let builder = match authorities.first() {
        Some(file) => {
            let roots = Arc::new(file.authorities()?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| unusable(&e))?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut value = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    value.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Made { value, ends: Some(end) })
}
