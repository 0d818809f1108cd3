//! Aliases of collections: changed in one step, or not at all.

use qdrant_client::qdrant::AliasOperations;
use qdrant_client::qdrant::alias_operations::Action;
use tonic::Status;

use super::errors::{already_exists, not_found};
use super::state::{Catalog, missing};

/// Carries out all of these or none.
pub(super) fn change(catalog: &mut Catalog, actions: Vec<AliasOperations>) -> Result<(), Status> {
    let mut aliases = catalog.aliases.clone();
    for action in actions {
        match action.action {
            Some(Action::CreateAlias(create)) => {
                if !catalog.collections.contains_key(&create.collection_name) {
                    return Err(missing(&create.collection_name));
                }
                if catalog.collections.contains_key(&create.alias_name) {
                    return Err(already_exists(format!("Collection `{}` already exists!", create.alias_name)));
                }
                aliases.insert(create.alias_name, create.collection_name);
            }
            Some(Action::RenameAlias(rename)) => {
                let old = &rename.old_alias_name;
                let collection =
                    aliases.remove(old).ok_or_else(|| not_found(format!("Alias {old} does not exists!")))?;
                aliases.insert(rename.new_alias_name, collection);
            }
            Some(Action::DeleteAlias(delete)) => drop(aliases.remove(&delete.alias_name)),
            None => return Err(Status::invalid_argument("Malformed alias action")),
        }
    }
    catalog.aliases = aliases;
    Ok(())
}
