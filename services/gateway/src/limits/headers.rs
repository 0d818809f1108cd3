//! `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-10 has them: lists of named policies, in
//! structured fields.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use ragstone_core::ports::{Decision, Standing};

use super::config::{Policy, Unit};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

/// Adds both headers; none where there is no policy.
pub(super) fn write(policies: &[Policy], decision: &Decision, headers: &mut HeaderMap) {
    let standings = policies.iter().zip(&decision.standings).map(|(policy, standing)| standing_item(policy, standing));
    for (name, items) in
        [(POLICY, policies.iter().map(policy_item).collect::<Vec<_>>()), (STANDING, standings.collect())]
    {
        if let Ok(value) = HeaderValue::try_from(items.join(", "))
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    }
}

fn policy_item(policy: &Policy) -> String {
    let unit = match policy.unit {
        // What `q` counts unless it is said.
        Unit::Requests => "",
        Unit::Tokens => ";qu=\"tokens\"",
    };
    format!("\"{}\";q={}{unit};w={}", policy.name, policy.limit.count(), policy.limit.window().as_secs())
}

/// `t` is the time until there is more: of a refused call as in `Retry-After`, else until all is there again.
fn standing_item(policy: &Policy, standing: &Standing) -> String {
    let more = if standing.retry_after.is_zero() { standing.reset_after } else { standing.retry_after };
    format!("\"{}\";r={};t={}", policy.name, standing.remaining, whole_seconds(more))
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::limits::config::Whose;
    use ragstone_core::ports::Limit;

    fn policy(name: &'static str, unit: Unit, count: u64, seconds: u64) -> Policy {
        let limit = Limit::new(count, Duration::from_secs(seconds), count).unwrap();
        Policy { name, whose: Whose::Subject, unit, limit }
    }

    fn standing(remaining: u64, reset: u64, retry: u64) -> Standing {
        Standing { remaining, reset_after: Duration::from_millis(reset), retry_after: Duration::from_millis(retry) }
    }

    #[test]
    fn each_policy_is_named_in_both() {
        let policies = [policy("queries", Unit::Requests, 100, 3600), policy("tokens", Unit::Tokens, 9000, 60)];
        let standings = vec![standing(50, 1_800_000, 0), standing(0, 60_000, 2_001)];
        let mut headers = HeaderMap::new();
        write(&policies, &Decision { allowed: false, standings, local: false }, &mut headers);
        assert_eq!(headers["RateLimit-Policy"], r#""queries";q=100;w=3600, "tokens";q=9000;qu="tokens";w=60"#);
        assert_eq!(headers["RateLimit"], r#""queries";r=50;t=1800, "tokens";r=0;t=3"#);
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn without_limits_there_are_no_headers() {
        let mut headers = HeaderMap::new();
        write(&[], &Decision { allowed: true, standings: Vec::new(), local: false }, &mut headers);
        assert!(headers.is_empty());
    }
}
