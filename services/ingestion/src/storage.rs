//! Opens what owns the truth: catalog and blob store, as the configuration chooses them.

use std::collections::HashMap;
use std::sync::Arc;

use ragstone_catalog::{PostgresCatalog, SqliteCatalog};
use ragstone_core::Result;
use ragstone_core::ports::{BlobStore, Catalog};
use ragstone_rpc::Patience;

use crate::Config;
use crate::bodies::Bodies;

/// The catalog's file in the data directory.
const CATALOG_FILE: &str = "catalog.db";

/// What the service works on.
pub(crate) struct Storage {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) bodies: Arc<Bodies>,
}

impl Storage {
    /// Opens both for work: schemas are brought up to date, directories made. Servers that do not answer are waited for.
    ///
    /// # Errors
    /// `InvalidArgument` for a setting that cannot be right; `Unavailable` when another process uses the data directory;
    /// `Cancelled` when the service is told to stop.
    pub(crate) async fn open(config: Config, patience: Patience) -> Result<Self> {
        let config = Arc::new(config);
        // Only the catalog file keeps other processes out.
        let alone = !config.uses_postgres();
        let owned = config.clone();
        let open = move || {
            let config = owned.clone();
            async move { open_catalog(&config).await }
        };
        let catalog = if alone { open().await? } else { patience.open("postgres", open).await? };
        let open = move || {
            let config = config.clone();
            async move { open_blobs(&config).await }
        };
        let bodies = Arc::new(Bodies::new(patience.open("blobs", open).await?, alone));
        Ok(Self { catalog, bodies })
    }
}

/// The catalog, for its only writer or one of several.
pub(crate) async fn open_catalog(config: &Config) -> Result<Arc<dyn Catalog>> {
    if config.uses_postgres() {
        return Ok(Arc::new(PostgresCatalog::open(&config.postgres).await?));
    }
    Ok(Arc::new(SqliteCatalog::open(&config.data_dir.join(CATALOG_FILE)).await?))
}

/// The catalog, to read from beside the process that works on it.
pub(crate) async fn open_catalog_for_reading(config: &Config) -> Result<Arc<dyn Catalog>> {
    if config.uses_postgres() {
        return open_catalog(config).await;
    }
    Ok(Arc::new(SqliteCatalog::open_read_only(&config.data_dir.join(CATALOG_FILE)).await?))
}

/// The blob store; without any setting a directory beside the catalog.
pub(crate) async fn open_blobs(config: &Config) -> Result<Arc<dyn BlobStore>> {
    // Cloud platforms hand credentials out in the standard variables of AWS.
    let env: HashMap<String, String> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(key, _)| key.starts_with("AWS_"))
        .collect();
    ragstone_catalog::open_blobs(&config.blobs, &config.data_dir, &env).await
}
