//! TLS of calls: whom to trust, and what to show.

use std::sync::Arc;

use ragstone_core::{Error, Result};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::ClientTlsConfig;
use super::files::{PemFile, provider};
use super::reload::{Made, Recipe};

const SECTION: &str = "server.client_tls";

/// A caller's side of TLS.
pub(crate) struct Client {
    /// What rustls needs.
    pub(crate) config: Arc<ClientConfig>,
    /// The name that servers' certificates must carry, where it is not the URL's host.
    pub(crate) server_name: Option<ServerName<'static>>,
}

/// How the files of `config` become a caller's side of TLS.
///
/// # Errors
/// `InvalidArgument` for a `server_name` that is no host name.
pub(crate) fn client(config: &ClientTlsConfig) -> Result<Recipe<Client>> {
    let server_name = config.server_name.clone().map(ServerName::try_from).transpose();
    let server_name = server_name.map_err(|_| Error::invalid(format!("{SECTION}.server_name is no host name")))?;
    let mut files = vec![("ca_file", config.ca_file.clone())];
    if let (Some(certificate), Some(key)) = (&config.certificate_file, &config.key_file) {
        files.push(("certificate_file", certificate.clone()));
        files.push(("key_file", key.clone()));
    }
    Ok(Recipe { section: SECTION, files, make: Box::new(move |files| make(files, server_name.clone())) })
}

fn make(files: &[PemFile], server_name: Option<ServerName<'static>>) -> Result<Made<Client>> {
    let [authorities, identity @ ..] = files else {
        return Err(Error::internal("a caller's TLS needs an authority"));
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::invalid(format!("{SECTION} cannot be set up: {e}")))?
        .with_root_certificates(authorities.authorities()?);
    let (mut config, ends) = match identity {
        [certificate, key] => {
            let (identity, end) = certificate.identity(key)?;
            (builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))), Some(end))
        }
        _ => (builder.with_no_client_auth(), None),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Made { value: Client { config: Arc::new(config), server_name }, ends })
}
