//! TLS as a setting: which files, what is wrong with them, and how connections get what they say now.

mod client;
mod files;
mod reload;
mod server;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use client::{Client, client};
pub(crate) use files::subject;
pub(crate) use reload::Reloaded;
pub(crate) use server::server;

/// The certificate a server shows. The files are read again when they change; open connections go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and, after it, those of the authorities between it and the root; PEM.
    pub certificate_file: PathBuf,
    /// Its private key; PEM.
    pub key_file: PathBuf,
    /// Where set, clients must show a certificate that one of these authorities signed; PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
}

/// What a service trusts and shows when it calls another one at an `https://` URL. The files are read again when they
/// change; open connections go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientTlsConfig {
    /// The authorities that sign the servers' certificates; PEM.
    pub ca_file: PathBuf,
    /// The certificate to show to servers that ask for one, with `key_file`; PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// The private key of `certificate_file`; PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The name that servers' certificates must carry, where it is not the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl ClientTlsConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return Err("client_tls.certificate_file and client_tls.key_file are only of use together".to_owned());
        }
        Ok(())
    }
}
