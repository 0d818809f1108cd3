//! Step 2 of a call: how much its subject and its tenant may still ask, and what the answer's headers say of it.

mod client_address;
mod config;
mod headers;

use std::sync::Arc;

use http::HeaderMap;
use ragstone_cache::open_limiter;
use ragstone_core::ports::{Charge, Decision, RateLimiter, Settlement};
use ragstone_core::{Error, ErrorCode, Principal, Result, TenantId};

pub(crate) use client_address::ClientAddress;
pub use config::LimitsConfig;
use config::{Policies, Policy, Unit, Whose};

/// What a call is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A search, which asks no model: a query without tokens.
    Search,
    /// A question, with an estimate of the tokens it will take.
    Query {
        /// Of the prompt and the answer together.
        tokens: u64,
    },
    /// The writing or deleting of so many documents.
    Upload {
        /// Each counts.
        documents: u64,
    },
}

/// The limits of all callers.
pub(crate) struct Limits {
    limiter: Arc<dyn RateLimiter>,
    policies: Policies,
}

impl Limits {
    /// The limits that are configured. Where callers do not say who they are (`authenticated` is false), there are none.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key.
    pub(crate) async fn open(config: &LimitsConfig, authenticated: bool) -> Result<Self> {
        let policies = config.policies(authenticated)?;
        Ok(Self { limiter: open_limiter(&config.redis, config.replicas).await?, policies })
    }

    /// Asks all limits of this kind of call at once. Whether it may go on is in the answer: `refusal`.
    ///
    /// # Errors
    /// `InvalidArgument` for more documents at once than the limit ever lets in.
    pub(crate) async fn admit(&self, principal: &Principal, kind: Kind) -> Result<Admission> {
        let tenant = principal.access.tenant.clone();
        let (policies, charges) = self.charges(principal, kind);
        let decision = match charges.as_slice() {
            [] => Decision { allowed: true, standings: Vec::new(), local: false },
            charges => {
                let decision = self.limiter.charge(&tenant, charges).await?;
                let outcome = if decision.allowed { "allowed" } else { "refused" };
                let by = if decision.local { "local" } else { "shared" };
                metrics::counter!("rag_ratelimit_decisions_total", "outcome" => outcome, "by" => by).increment(1);
                decision
            }
        };
        Ok(Admission { limiter: Arc::clone(&self.limiter), tenant, policies, charges, decision })
    }

    fn charges(&self, principal: &Principal, kind: Kind) -> (Vec<Policy>, Vec<Charge>) {
        let (policies, requests, tokens) = match kind {
            Kind::Search => (&self.policies.queries, 1, None),
            Kind::Query { tokens } => (&self.policies.queries, 1, Some(tokens)),
            Kind::Upload { documents } => (&self.policies.uploads, documents, None),
        };
        let charge = |policy: &Policy| {
            let cost = match policy.unit {
                Unit::Requests => requests,
                // An estimate above the burst could never be let in: the rest is settled afterwards.
                Unit::Tokens => tokens?.min(policy.limit.burst()),
            };
            let key = match policy.whose {
                Whose::Subject => principal.subject.clone(),
                Whose::Tenant => String::new(),
            };
            Some((*policy, Charge { policy: policy.name, key, limit: policy.limit, cost }))
        };
        policies.iter().filter_map(charge).unzip()
    }

    /// Whether the shared part answers; without it every gateway keeps to its share.
    pub(crate) async fn check(&self) -> Result<()> {
        self.limiter.check().await
    }
}

/// What the limits said to one call.
pub(crate) struct Admission {
    limiter: Arc<dyn RateLimiter>,
    tenant: TenantId,
    policies: Vec<Policy>,
    charges: Vec<Charge>,
    decision: Decision,
}

impl Admission {
    /// The error of a call that must not go on: 429 with the time to wait.
    pub(crate) fn refusal(&self) -> Option<Error> {
        if self.decision.allowed {
            return None;
        }
        let mut standings = self.policies.iter().zip(&self.decision.standings);
        let used_up = standings.find(|(_, standing)| !standing.retry_after.is_zero());
        let message = match used_up {
            Some((Policy { name, limit, .. }, _)) => {
                format!("the limit '{name}' of {} in {} seconds is used up", limit.count(), limit.window().as_secs())
            }
            None => "a rate limit is used up".to_owned(),
        };
        Some(Error::new(ErrorCode::RateLimited, message).with_retry_after(self.decision.retry_after()))
    }

    /// Redis did not answer and this gateway decided by its share of the limits: `ratelimit.local`.
    pub(crate) fn decided_locally(&self) -> bool {
        self.decision.local
    }

    /// Adds `RateLimit-Policy` and `RateLimit`; nothing where there is no limit. For answers of any status.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers::write(&self.policies, &self.decision, headers);
    }

    /// Takes or gives back what the estimate of the tokens was off by. Without it (a caller who left) the estimate stands.
    pub(crate) async fn settle(&self, used: u64) -> Result<()> {
        if !self.decision.allowed {
            return Ok(());
        }
        let tokens = self.policies.iter().zip(&self.charges).filter(|(policy, _)| policy.unit == Unit::Tokens);
        let off: Vec<Settlement> = tokens
            .filter(|(_, charge)| charge.cost != used)
            .map(|(_, charge)| Settlement { charge: charge.clone(), used })
            .collect();
        if off.is_empty() { Ok(()) } else { self.limiter.settle(&self.tenant, &off).await }
    }
}

#[cfg(test)]
mod tests;
