//! The `[gateway.guard]` section of the configuration.

use std::collections::BTreeMap;

use ragstone_core::TenantId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done about texts that look like orders to a language model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InjectionPolicy {
    /// Nothing; the score is only measured.
    Allow,
    /// From `flag_at` on the question is marked in the trace, the log and the metrics, and answered.
    #[default]
    Flag,
    /// The same, and from `block_at` on it is refused with status 422.
    Block,
}

/// What may be asked and what answers may carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// What is done about questions that look like orders to the model: `allow`, `flag` or `block`.
    pub injection: InjectionPolicy,
    /// From which score on, 0 to 1, a question is flagged.
    pub flag_at: f32,
    /// From which score on, 0 to 1, a question is refused under `block`.
    pub block_at: f32,
    /// From which score on, 0 to 1, passages are left out of searches for answers; absent: none is.
    pub drop_passages_at: Option<f32>,
    /// Other settings for some tenants.
    pub tenants: BTreeMap<String, TenantGuard>,
    /// Hosts that links of answers may lead to, for example `docs.example.org` or `*.example.org`. A link that stands in a
    /// passage of the answer may stay in any case.
    pub link_hosts: Vec<String>,
    /// Hosts that images of answers may come from. Clients load images without asking, so nothing else makes one stay.
    pub image_hosts: Vec<String>,
    /// Which share of a sentence's words, 0 to 1, its cited passage must hold; below it the citation goes. 0: any.
    pub min_support: f32,
    /// How near, -1 to 1, the nearest passage must be to a question (cosine of their embeddings) for an answer to be
    /// written; absent: any passage will do. The right value depends on the embedding model and the languages: with
    /// all-MiniLM-L6-v2 and English, 0.29 refuses 1 % of questions that have an answer.
    pub min_relevance: Option<f32>,
}

/// What differs for one tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantGuard {
    /// Instead of `injection`.
    pub injection: Option<InjectionPolicy>,
    /// Instead of `flag_at`.
    pub flag_at: Option<f32>,
    /// Instead of `block_at`.
    pub block_at: Option<f32>,
}

// No number of a checked configuration is NaN.
impl Eq for GuardConfig {}
impl Eq for TenantGuard {}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            injection: InjectionPolicy::Flag,
            flag_at: 0.5,
            block_at: 0.8,
            drop_passages_at: None,
            tenants: BTreeMap::new(),
            link_hosts: Vec::new(),
            image_hosts: Vec::new(),
            min_support: 0.1,
            min_relevance: None,
        }
    }
}

/// The limits that hold for one tenant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    pub(crate) injection: InjectionPolicy,
    pub(crate) flag_at: f32,
    pub(crate) block_at: f32,
}

impl GuardConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        check_limits("guard", &self.base())?;
        for (tenant, own) in &self.tenants {
            TenantId::new(tenant.clone()).map_err(|error| format!("guard.tenants: {}", error.message))?;
            check_limits(&format!("guard.tenants.{tenant}"), &self.with(own))?;
        }
        let shares = [("min_support", Some(self.min_support)), ("drop_passages_at", self.drop_passages_at)];
        if let Some((key, _)) =
            shares.iter().find(|(_, share)| share.is_some_and(|share| !(0.0..=1.0).contains(&share)))
        {
            return Err(format!("guard.{key} must lie within 0 and 1"));
        }
        if self.min_relevance.is_some_and(|cosine| !(-1.0..=1.0).contains(&cosine)) {
            return Err("guard.min_relevance must lie within -1 and 1".to_owned());
        }
        let hosts = self.link_hosts.iter().chain(&self.image_hosts);
        match hosts.into_iter().find(|host| !is_host_pattern(host)) {
            Some(host) => Err(format!("guard: '{host}' is not a host such as docs.example.org or *.example.org")),
            None => Ok(()),
        }
    }

    /// What holds for `tenant`.
    pub(crate) fn limits(&self, tenant: &TenantId) -> Limits {
        self.tenants.get(tenant.as_str()).map_or_else(|| self.base(), |own| self.with(own))
    }

    fn base(&self) -> Limits {
        Limits { injection: self.injection, flag_at: self.flag_at, block_at: self.block_at }
    }

    fn with(&self, own: &TenantGuard) -> Limits {
        Limits {
            injection: own.injection.unwrap_or(self.injection),
            flag_at: own.flag_at.unwrap_or(self.flag_at),
            block_at: own.block_at.unwrap_or(self.block_at),
        }
    }
}

fn check_limits(section: &str, limits: &Limits) -> Result<(), String> {
    let Limits { flag_at, block_at, .. } = *limits;
    // 0 would flag every text.
    if flag_at > 0.0 && flag_at <= block_at && block_at <= 1.0 {
        return Ok(());
    }
    Err(format!("{section}: flag_at must be above 0 and no more than block_at, and block_at no more than 1"))
}

fn is_host_pattern(pattern: &str) -> bool {
    let host = pattern.strip_prefix("*.").unwrap_or(pattern);
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    host.split('.').all(part)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_nonsense_is_named() {
        let base = GuardConfig::default();
        assert_eq!(base.check(), Ok(()));
        let own = |guard| BTreeMap::from([("acme".to_owned(), guard)]);
        for (bad, says) in [
            (GuardConfig { flag_at: 0.0, ..base.clone() }, "flag_at"),
            (GuardConfig { flag_at: 0.9, ..base.clone() }, "flag_at"),
            (GuardConfig { block_at: f32::NAN, ..base.clone() }, "block_at"),
            (GuardConfig { block_at: 1.1, ..base.clone() }, "block_at"),
            (GuardConfig { min_support: -0.1, ..base.clone() }, "min_support"),
            (GuardConfig { drop_passages_at: Some(2.0), ..base.clone() }, "drop_passages_at"),
            (GuardConfig { min_relevance: Some(f32::NAN), ..base.clone() }, "min_relevance"),
            (GuardConfig { link_hosts: vec!["https://a.example".to_owned()], ..base.clone() }, "https://a.example"),
            (
                GuardConfig {
                    tenants: own(TenantGuard { flag_at: Some(0.9), ..TenantGuard::default() }),
                    ..base.clone()
                },
                "acme",
            ),
        ] {
            assert!(bad.check().unwrap_err().contains(says), "{says}");
        }
    }

    #[test]
    fn a_tenants_own_settings_go_first_and_the_rest_is_common() {
        let own = TenantGuard { injection: Some(InjectionPolicy::Block), block_at: Some(0.6), flag_at: None };
        let config = GuardConfig { tenants: BTreeMap::from([("acme".to_owned(), own)]), ..GuardConfig::default() };
        let limits = |tenant: &str| config.limits(&TenantId::new(tenant).unwrap());
        assert_eq!(limits("acme"), Limits { injection: InjectionPolicy::Block, flag_at: 0.5, block_at: 0.6 });
        assert_eq!(limits("other"), Limits { injection: InjectionPolicy::Flag, flag_at: 0.5, block_at: 0.8 });
    }
}
