//! The limiter in this process, on a clock that stands still unless told otherwise.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use tokio::time::advance;

use super::super::reference::{Action, Reference, charges, history, settlement};
use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn one(key: &str, limit: Limit, cost: u64) -> [Charge; 1] {
    [Charge { policy: "test", key: key.to_owned(), limit, cost }]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn it_decides_as_the_reference_does((limits, steps) in history(60), replicas in 1_u32..6) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limiter = LocalLimiter::new(replicas);
            let shares: Vec<Limit> = limits.iter().map(|limit| limit.share(replicas)).collect();
            let mut reference = Reference::new(&shares, DEEPEST);
            let (tenant, mut now) = (tenant("t"), 0);
            for step in steps {
                advance(Duration::from_micros(step.after)).await;
                now += step.after;
                match step.action {
                    Action::Charge(costs) => {
                        let charges = charges(&limits, &costs);
                        let decision = limiter.charge(&tenant, &charges).await.unwrap();
                        prop_assert_eq!(decision, reference.charge(&charges, now));
                    }
                    Action::Settle(bucket, cost, used) => {
                        let settlement = settlement(&limits, bucket, cost, used);
                        limiter.settle(&tenant, std::slice::from_ref(&settlement)).await.unwrap();
                        reference.settle(&settlement, now);
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn under_pressure_exactly_the_burst_and_the_rate_are_let_in() {
    let limiter = LocalLimiter::new(4);
    let limit = Limit::new(7_000, Duration::from_secs(1), 80).unwrap();
    let mut allowed = 0;
    for _ in 0..10_000 {
        for _ in 0..3 {
            allowed += u64::from(limiter.charge(&tenant("t"), &one("a", limit, 1)).await.unwrap().allowed);
        }
        advance(Duration::from_millis(1)).await;
    }
    // A fourth of each: 1,750 per second for ten seconds (without the last millisecond), and 20 at once.
    assert_eq!(allowed, 17_498 + 20);
}

#[tokio::test(start_paused = true)]
async fn tenants_keys_policies_and_limits_have_buckets_of_their_own() {
    let limiter = LocalLimiter::new(1);
    let limit = Limit::new(1, Duration::from_secs(1), 1).unwrap();
    let other = Limit::new(2, Duration::from_secs(1), 1).unwrap();
    // More than there are shards.
    for n in 0..3 * SHARDS {
        let name = format!("tenant {n}");
        assert!(limiter.charge(&tenant(&name), &one("x", limit, 1)).await.unwrap().allowed, "{name}");
    }
    for charge in [
        ("a", one("x", limit, 1)),
        ("b", one("x", limit, 1)),
        ("a", one("y", limit, 1)),
        ("a", one("x", other, 1)),
        ("a", one("x", limit, 1).map(|charge| Charge { policy: "other", ..charge })),
        ("at", one("estx", limit, 1).map(|charge| Charge { policy: "", ..charge })),
    ] {
        assert!(limiter.charge(&tenant(charge.0), &charge.1).await.unwrap().allowed, "{charge:?}");
        assert!(!limiter.charge(&tenant(charge.0), &charge.1).await.unwrap().allowed, "{charge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decided_is_an_error_and_takes_nothing() {
    let limiter = LocalLimiter::new(1);
    let limit = Limit::new(2, Duration::from_secs(1), 2).unwrap();
    let [charge] = one("x", limit, 1);
    assert!(limiter.charge(&tenant("t"), &[charge.clone(), charge.clone()]).await.is_err());
    let error = limiter.charge(&tenant("t"), &one("x", limit, 3)).await.unwrap_err();
    assert!(error.message.contains("'test'") && error.message.contains("at most 2"), "{error}");
    let settlement = Settlement { charge: charge.clone(), used: 2 };
    assert!(limiter.settle(&tenant("t"), &[settlement.clone(), settlement]).await.is_err());
    assert!(limiter.charge(&tenant("t"), &one("x", limit, 2)).await.unwrap().allowed);
}

#[tokio::test(start_paused = true)]
async fn debts_are_bounded_and_paid_off() {
    let limiter = LocalLimiter::new(1);
    let limit = Limit::new(1_000, Duration::from_secs(1), 10).unwrap();
    let [charge] = one("x", limit, 10);
    for _ in 0..3 {
        limiter.settle(&tenant("t"), &[Settlement { charge: charge.clone(), used: u64::MAX }]).await.unwrap();
    }
    let refused = limiter.charge(&tenant("t"), &one("x", limit, 0)).await.unwrap();
    assert!(!refused.allowed && refused.standings[0].remaining == 0);
    assert_eq!(refused.retry_after(), Duration::from_micros(DEEPEST - limit.brim()));
    advance(refused.retry_after() - Duration::from_micros(1)).await;
    assert!(!limiter.charge(&tenant("t"), &one("x", limit, 0)).await.unwrap().allowed);
    advance(Duration::from_micros(1)).await;
    assert!(limiter.charge(&tenant("t"), &one("x", limit, 0)).await.unwrap().allowed);
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_the_fullest_buckets_stay() {
    const MOST: usize = 64;
    let limiter = LocalLimiter::with_room(1, MOST);
    let limit = Limit::new(1, Duration::from_secs(1), 10).unwrap();
    let t = tenant("t");
    assert!(limiter.charge(&t, &one("greedy", limit, 10)).await.unwrap().allowed);
    for n in 0..10 * MOST {
        assert!(limiter.charge(&t, &one(&n.to_string(), limit, 1)).await.unwrap().allowed);
        assert!(limiter.shard(&t).unwrap().buckets.len() <= MOST);
    }
    assert!(!limiter.charge(&t, &one("greedy", limit, 1)).await.unwrap().allowed, "it was forgotten");
    // All but the greedy one are empty again: they make room, and nothing that is in use has to.
    advance(Duration::from_secs(2)).await;
    for n in 0..MOST {
        limiter.charge(&t, &one(&format!("late {n}"), limit, 2)).await.unwrap();
    }
    let late = one("late 0", limit, 9);
    assert!(!limiter.charge(&t, &late).await.unwrap().allowed, "a bucket in use was forgotten");
}
