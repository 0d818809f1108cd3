//! API keys: `rsk_<id>_<secret>`. The id finds the key, the secret proves it; only a hash of the secret is kept.

use std::collections::BTreeSet;
use std::time::SystemTime;

use ragstone_config::Secret;
use ragstone_core::{Access, ApiKey, Error, GroupAccess, NewApiKey, Principal, Result, StoredKey, TenantId};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::{ApiKeyConfig, scopes};
use crate::failure::Reason;

/// How every key begins: scanners for leaked secrets find it by this.
pub(crate) const PREFIX: &str = "rsk_";
/// Characters of the id and of the secret; 43 of 62 kinds carry 256 bits.
const ID_CHARS: usize = 12;
const SECRET_CHARS: usize = 43;
/// The longest id of a stored key.
const MAX_ID_CHARS: usize = 64;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How a hash begins: which kind it is.
const HASH_PREFIX: &str = "sha256:";

/// A new key: shown once to whom it is for; the id and the hash are what is kept.
#[derive(Debug, Clone)]
pub struct GeneratedKey {
    /// The key itself.
    pub key: Secret,
    /// Its public part.
    pub id: String,
    /// What its secret is checked against.
    pub hash: String,
}

impl GeneratedKey {
    /// A key from the system's random numbers.
    ///
    /// # Errors
    /// `Internal` when the system has none.
    pub fn generate() -> Result<Self> {
        let id = random(ID_CHARS)?;
        let secret = random(SECRET_CHARS)?;
        Ok(Self { hash: hash(&secret), key: format!("{PREFIX}{id}_{secret}").into(), id })
    }
}

/// Random letters and digits, each as likely as any other.
fn random(chars: usize) -> Result<String> {
    let mut text = String::with_capacity(chars);
    let mut bytes = [0; 64];
    while text.len() < chars {
        getrandom::fill(&mut bytes).map_err(|_| Error::internal("the system has no random numbers"))?;
        // 248 = 4 × 62: what is above would make the first letters likelier.
        let even = bytes.iter().filter(|byte| **byte < 248);
        let letters = even.map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(letters.take(chars - text.len()));
    }
    Ok(text)
}

/// What a secret is checked against. One round of SHA-256 is enough, and fast: slow hashes protect what people choose, while
/// nobody guesses 256 random bits, and a slow one would let anybody keep the gateway busy with wrong keys.
fn hash(secret: &str) -> String {
    format!("{HASH_PREFIX}{}", hex::encode(Sha256::digest(secret)))
}

/// A key taken apart.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    /// Finds the key.
    pub(crate) id: &'a str,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// Takes a key apart; `None` when it has not the form of one.
    pub(crate) fn parse(key: &'a str) -> Option<Self> {
        let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let sound =
            (1..=MAX_ID_CHARS).contains(&id.len()) && secret.len() == SECRET_CHARS && plain(id) && plain(secret);
        sound.then_some(Self { id, secret })
    }

    /// Whose key it is, at `now`.
    ///
    /// # Errors
    /// `ApiKey`, whatever is wrong with it.
    pub(crate) fn principal(self, stored: &StoredKey, now: SystemTime) -> Result<Principal, Reason> {
        let StoredKey { key, hash: kept } = stored;
        // In constant time, so that the time of an answer tells nothing about the hash.
        let genuine: bool = hash(self.secret).as_bytes().ct_eq(kept.as_bytes()).into();
        let ended = key.revoked_at.is_some() || key.expires_at.is_some_and(|end| end <= now);
        if !genuine || ended || key.id != self.id {
            return Err(Reason::ApiKey);
        }
        Ok(Principal { subject: key.subject.clone(), access: key.access.clone(), scopes: key.scopes.clone() })
    }
}

/// A key of the configuration as stores have it.
///
/// # Errors
/// `InvalidArgument`, naming what cannot be used.
pub(crate) fn configured(config: &ApiKeyConfig) -> Result<StoredKey> {
    let digest = config.hash.strip_prefix(HASH_PREFIX).and_then(|digits| hex::decode(digits).ok());
    if digest.is_none_or(|digest| digest.len() != 32) || config.hash.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Error::invalid(format!("its hash must be `{HASH_PREFIX}` and 64 small hexadecimal digits")));
    }
    let scopes = scopes(&config.scopes).map_err(|name| Error::invalid(format!("there is no scope '{name}'")))?;
    let groups = BTreeSet::from_iter(config.groups.iter().cloned());
    let groups = if config.all_groups { GroupAccess::All } else { GroupAccess::Groups(groups) };
    let access = Access { tenant: TenantId::new(config.tenant.as_str())?, groups };
    let (id, hash, subject) = (config.id.clone(), config.hash.clone(), config.subject.clone());
    let new = NewApiKey { id, access, hash, subject, scopes, expires_at: None };
    new.validate()?;
    let key = ApiKey {
        id: new.id,
        access: new.access,
        subject: new.subject,
        scopes: new.scopes,
        created_at: SystemTime::UNIX_EPOCH,
        created_by: "configuration".to_owned(),
        expires_at: None,
        revoked_at: None,
    };
    Ok(StoredKey { key, hash: new.hash })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use ragstone_core::Scope;

    use super::*;

    fn stored(generated: &GeneratedKey) -> StoredKey {
        let config = ApiKeyConfig {
            id: generated.id.clone(),
            hash: generated.hash.clone(),
            tenant: "t".into(),
            subject: "s".into(),
            scopes: vec!["query".into()],
            groups: vec!["g".into()],
            all_groups: false,
        };
        configured(&config).unwrap()
    }

    #[test]
    fn a_generated_key_is_its_own_and_no_others() {
        let now = SystemTime::now();
        let [one, other] = [GeneratedKey::generate().unwrap(), GeneratedKey::generate().unwrap()];
        let presented = Presented::parse(one.key.expose()).unwrap();
        let principal = presented.principal(&stored(&one), now).unwrap();
        assert_eq!((principal.subject.as_str(), principal.scopes), ("s", BTreeSet::from([Scope::Query])));
        assert_eq!(presented.principal(&stored(&other), now).unwrap_err(), Reason::ApiKey);
        // The right id with another key's secret.
        let forged = StoredKey { hash: other.hash.clone(), ..stored(&one) };
        assert_eq!(presented.principal(&forged, now).unwrap_err(), Reason::ApiKey);
        // The right secret under another key's id.
        let mut moved = stored(&one);
        moved.key.id = "moved".into();
        assert_eq!(presented.principal(&moved, now).unwrap_err(), Reason::ApiKey);
        assert_ne!((&one.id, &one.hash), (&other.id, &other.hash));
        assert_eq!((one.id.len(), one.key.expose().len()), (ID_CHARS, PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS));
        assert!(!format!("{one:?}").contains(presented.secret), "the key is never printed");
    }

    #[test]
    fn ended_and_revoked_keys_are_no_keys() {
        let now = SystemTime::now();
        let generated = GeneratedKey::generate().unwrap();
        let presented = Presented::parse(generated.key.expose()).unwrap();
        let second = Duration::from_secs(1);
        let mut key = stored(&generated);
        key.key.expires_at = Some(now + second);
        assert!(presented.principal(&key, now).is_ok());
        assert_eq!(presented.principal(&key, now + second).unwrap_err(), Reason::ApiKey);
        key.key.expires_at = None;
        key.key.revoked_at = Some(now + second);
        assert_eq!(presented.principal(&key, now).unwrap_err(), Reason::ApiKey);
    }

    #[test]
    fn the_hash_is_sha_256_of_the_secret() {
        assert_eq!(hash("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn only_the_exact_form_is_a_key() {
        let secret = "x".repeat(SECRET_CHARS);
        assert!(Presented::parse(&format!("rsk_a_{secret}")).is_some());
        for bad in [
            String::new(),
            "rsk_".into(),
            format!("rsk_{secret}"),
            format!("rsk__{secret}"),
            format!("RSK_a_{secret}"),
            format!("rsk_a_{secret}x"),
            format!("rsk_a_{}", &secret[1..]),
            format!("rsk_a_{}_", &secret[1..]),
            format!("rsk_a-b_{secret}"),
            format!("rsk_{}_{secret}", "a".repeat(65)),
            format!(" rsk_a_{secret}"),
        ] {
            assert!(Presented::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn random_text_uses_every_letter_alike() {
        let text = random(62 * 1000).unwrap();
        for letter in ALPHABET {
            let count = text.bytes().filter(|byte| byte == letter).count();
            assert!((800..1200).contains(&count), "{letter}: {count}");
        }
    }
}
