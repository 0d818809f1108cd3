//! A genuine token's claims → principal. Everything that is needed must be there, in the one form it has.

use std::collections::BTreeSet;

use ragstone_core::{Access, GroupAccess, Principal, Scope, TenantId};
use serde_json::{Map, Value};

use crate::config::JwtConfig;
use crate::failure::Reason;

/// The end of the year 9999, in seconds since 1970: no token means a time after that.
const END_OF_TIME: u64 = 253_402_300_799;
/// The longest subject, in characters.
const MAX_SUBJECT: usize = 512;

/// Which claims count, and what they must be.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    issuer: String,
    audience: Vec<String>,
    leeway: u64,
    tenant: String,
    scope: String,
    groups: String,
}

impl Rules {
    pub(crate) fn new(config: &JwtConfig) -> Self {
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: config.leeway_seconds,
            tenant: config.tenant_claim.clone(),
            scope: config.scope_claim.clone(),
            groups: config.groups_claim.clone(),
        }
    }

    /// Whom these claims are about, at `now` (seconds since 1970).
    ///
    /// # Errors
    /// The first reason to refuse them.
    pub(crate) fn principal(&self, claims: &Map<String, Value>, now: u64) -> Result<Principal, Reason> {
        self.check_times(claims, now)?;
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(Reason::Issuer);
        }
        if !self.is_audience(claims.get("aud")) {
            return Err(Reason::Audience);
        }
        let tenant = claims.get(&self.tenant).and_then(Value::as_str).ok_or(Reason::Claims)?;
        let tenant = TenantId::new(tenant).map_err(|_| Reason::Claims)?;
        let groups = GroupAccess::Groups(groups(claims.get(&self.groups))?);
        Ok(Principal {
            subject: subject(claims.get("sub"))?,
            access: Access { tenant, groups },
            scopes: scopes(claims.get(&self.scope))?,
        })
    }

    fn check_times(&self, claims: &Map<String, Value>, now: u64) -> Result<(), Reason> {
        let expires = time(claims.get("exp"))?.ok_or(Reason::Claims)?;
        let starts = [time(claims.get("nbf"))?, time(claims.get("iat"))?];
        if now >= expires.saturating_add(self.leeway) {
            return Err(Reason::Expired);
        }
        if starts.into_iter().flatten().any(|start| start > now.saturating_add(self.leeway)) {
            return Err(Reason::NotYetValid);
        }
        Ok(())
    }

    fn is_audience(&self, claim: Option<&Value>) -> bool {
        let known = |value: &Value| value.as_str().is_some_and(|one| self.audience.iter().any(|own| own == one));
        match claim {
            Some(Value::Array(several)) => several.iter().all(Value::is_string) && several.iter().any(known),
            Some(one) => known(one),
            None => false,
        }
    }
}

/// Whole seconds since 1970; a time that is a text, a fraction or beyond all calendars is no time.
fn time(claim: Option<&Value>) -> Result<Option<u64>, Reason> {
    let Some(claim) = claim else { return Ok(None) };
    claim.as_u64().filter(|seconds| *seconds <= END_OF_TIME).map(Some).ok_or(Reason::Claims)
}

fn subject(claim: Option<&Value>) -> Result<String, Reason> {
    let subject = claim.and_then(Value::as_str).ok_or(Reason::Claims)?;
    let usable = (1..=MAX_SUBJECT).contains(&subject.chars().count()) && !subject.chars().any(char::is_control);
    if usable { Ok(subject.to_owned()) } else { Err(Reason::Claims) }
}

/// Scopes as one string or as a list; those that mean nothing here are other services'.
fn scopes(claim: Option<&Value>) -> Result<BTreeSet<Scope>, Reason> {
    match claim {
        None => Ok(BTreeSet::new()),
        Some(Value::String(words)) => Ok(words.split(' ').filter_map(Scope::parse).collect()),
        Some(list) => Ok(strings(list)?.iter().filter_map(|name| Scope::parse(name)).collect()),
    }
}

fn groups(claim: Option<&Value>) -> Result<BTreeSet<String>, Reason> {
    let groups = claim.map(strings).transpose()?.unwrap_or_default();
    let odd = |group: &&str| group.is_empty() || group.chars().any(char::is_control);
    if groups.iter().any(odd) {
        return Err(Reason::Claims);
    }
    Ok(groups.into_iter().map(str::to_owned).collect())
}

fn strings(list: &Value) -> Result<Vec<&str>, Reason> {
    let items = list.as_array().ok_or(Reason::Claims)?;
    items.iter().map(|item| item.as_str().ok_or(Reason::Claims)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn check(change: Value) -> Result<Principal, Reason> {
        let mut claims = json!({ "iss": "ragstone", "aud": "ragstone", "exp": NOW + 60, "sub": "u", "tenant": "t" });
        let claims = claims.as_object_mut().unwrap();
        for (name, value) in change.as_object().unwrap() {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
        Rules::new(&JwtConfig::default()).principal(claims, NOW)
    }

    #[test]
    fn claims_become_a_principal() {
        let plain = check(json!({})).unwrap();
        assert_eq!((plain.subject.as_str(), plain.access.tenant.as_str()), ("u", "t"));
        assert!(plain.scopes.is_empty(), "nothing is allowed that is not said");
        assert_eq!(plain.access.groups, GroupAccess::Groups(BTreeSet::new()));

        let both = BTreeSet::from([Scope::Query, Scope::Ingest]);
        for scope in [json!("query openid ingest root"), json!(["ingest", "query", "Query", "x"])] {
            assert_eq!(check(json!({ "scope": scope })).unwrap().scopes, both);
        }
        assert!(check(json!({ "scope": "Admin,query" })).unwrap().scopes.is_empty());
        let groups = check(json!({ "groups": ["a", "b"], "aud": ["other", "ragstone"] })).unwrap().access.groups;
        assert_eq!(groups, GroupAccess::Groups(BTreeSet::from(["a".into(), "b".into()])));
    }

    #[test]
    fn times_count_with_the_leeway_and_not_a_second_more() {
        assert!(check(json!({ "exp": NOW - 29 })).is_ok());
        assert_eq!(check(json!({ "exp": NOW - 30 })).unwrap_err(), Reason::Expired);
        for name in ["nbf", "iat"] {
            assert!(check(json!({ name: NOW + 30 })).is_ok());
            assert_eq!(check(json!({ name: NOW + 31 })).unwrap_err(), Reason::NotYetValid);
            for odd in [json!("1"), json!(1.5), json!(-1), json!([1]), json!(true)] {
                assert_eq!(check(json!({ name: odd })).unwrap_err(), Reason::Claims);
            }
        }
        assert!(check(json!({ "exp": END_OF_TIME })).is_ok());
        assert_eq!(check(json!({ "exp": END_OF_TIME + 1 })).unwrap_err(), Reason::Claims);
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_refused() {
        for (change, reason) in [
            (json!({ "exp": null }), Reason::Claims),
            (json!({ "iss": null }), Reason::Issuer),
            (json!({ "iss": ["ragstone"] }), Reason::Issuer),
            (json!({ "iss": "ragstone " }), Reason::Issuer),
            (json!({ "aud": null }), Reason::Audience),
            (json!({ "aud": [] }), Reason::Audience),
            (json!({ "aud": ["ragstone", 1] }), Reason::Audience),
            (json!({ "aud": { "ragstone": true } }), Reason::Audience),
            (json!({ "aud": "ragston" }), Reason::Audience),
            (json!({ "sub": null }), Reason::Claims),
            (json!({ "sub": "" }), Reason::Claims),
            (json!({ "sub": 7 }), Reason::Claims),
            (json!({ "sub": "a\nb" }), Reason::Claims),
            (json!({ "tenant": null }), Reason::Claims),
            (json!({ "tenant": ["t"] }), Reason::Claims),
            (json!({ "tenant": " t" }), Reason::Claims),
            (json!({ "tenant": "t\u{0}" }), Reason::Claims),
            (json!({ "scope": 1 }), Reason::Claims),
            (json!({ "scope": ["query", 1] }), Reason::Claims),
            (json!({ "groups": "a" }), Reason::Claims),
            (json!({ "groups": [["a"]] }), Reason::Claims),
            (json!({ "groups": [""] }), Reason::Claims),
        ] {
            assert_eq!(check(change.clone()).unwrap_err(), reason, "{change}");
        }
    }
}
