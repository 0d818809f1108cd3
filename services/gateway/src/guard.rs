//! Guardrails: what is done about suspicious questions, and what an answer may not carry to a client. Signals with
//! policies, in addition to the separation of orders and passages in every prompt and the access filter in the store.
//!
//! What a model was told in secret is looked for where it is known, in the chain of models (`guard.canary`).

mod config;
mod hosts;
mod links;
mod policy;
mod relevance;
mod support;

pub use config::{GuardConfig, InjectionPolicy, TenantGuard};

pub(crate) use links::LinkFilter;
pub(crate) use relevance::is_relevant;
pub(crate) use support::{Checked, check_support};
