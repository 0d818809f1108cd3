//! What the limiters are compared with: GCRA as virtual scheduling, the other of its two forms, in exact fractions.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use proptest::prelude::*;
use ragstone_core::ports::{Charge, Decision, Limit, Settlement, Standing};

/// Theoretical arrival times of some buckets, in microseconds times the limit's count.
pub(super) struct Reference {
    limits: Vec<Limit>,
    deepest: u64,
    tats: Vec<u128>,
}

/// Something that happens to the buckets, `after` microseconds after what happened before.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) after: u64,
    pub(super) action: Action,
}

#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Costs for some of the buckets.
    Charge(Vec<(usize, u64)>),
    /// One bucket was charged so much and has used so much.
    Settle(usize, u64, u64),
}

pub(super) fn charge(limits: &[Limit], bucket: usize, cost: u64) -> Charge {
    let limit = limits[bucket];
    Charge { policy: "test", key: bucket.to_string(), limit, cost: cost.min(limit.burst()) }
}

pub(super) fn charges(limits: &[Limit], costs: &[(usize, u64)]) -> Vec<Charge> {
    costs.iter().map(|(bucket, cost)| charge(limits, *bucket, *cost)).collect()
}

pub(super) fn settlement(limits: &[Limit], bucket: usize, cost: u64, used: u64) -> Settlement {
    Settlement { charge: charge(limits, bucket, cost), used }
}

impl Reference {
    /// No level may rise above `deepest`.
    pub(super) fn new(limits: &[Limit], deepest: u64) -> Self {
        Self { limits: limits.to_vec(), deepest, tats: vec![0; limits.len()] }
    }

    /// Of the bucket at this time: now, the time of one, and the burst's, all in the bucket's own scale.
    fn scale(&self, bucket: usize, now: u64) -> (u128, u128, u128) {
        let limit = &self.limits[bucket];
        let one = limit.window().as_micros();
        (u128::from(now) * u128::from(limit.count()), one, one * u128::from(limit.burst()))
    }

    pub(super) fn charge(&mut self, costs: &[Charge], now: u64) -> Decision {
        let new_tat = |this: &Self, charge: &Charge| {
            let bucket: usize = charge.key.parse().unwrap();
            let (now, one, burst) = this.scale(bucket, now);
            let tat = this.tats[bucket].max(now) + one * u128::from(charge.cost);
            // What is larger than the burst (of a share) waits for an idle bucket.
            let tolerance = burst.max(one * u128::from(charge.cost));
            (bucket, tat, now + tolerance >= tat)
        };
        let plans: Vec<_> = costs.iter().map(|charge| new_tat(self, charge)).collect();
        let allowed = plans.iter().all(|(_, _, fits)| *fits);
        if allowed {
            plans.iter().for_each(|(bucket, tat, _)| self.tats[*bucket] = *tat);
        }
        Decision { allowed, standings: costs.iter().map(|charge| self.standing(charge, now)).collect(), local: false }
    }

    pub(super) fn settle(&mut self, Settlement { charge, used }: &Settlement, now: u64) {
        let bucket: usize = charge.key.parse().unwrap();
        let (now, one, _) = self.scale(bucket, now);
        let tat = self.tats[bucket].max(now) + one * u128::from(*used);
        let limit = &self.limits[bucket];
        let deepest = u128::from(self.deepest) * u128::from(limit.count() / limit.leak());
        self.tats[bucket] = tat.saturating_sub(one * u128::from(charge.cost)).clamp(now, now + deepest);
    }

    fn standing(&self, charge: &Charge, now: u64) -> Standing {
        let bucket: usize = charge.key.parse().unwrap();
        let (now, one, burst) = self.scale(bucket, now);
        let tat = self.tats[bucket].max(now);
        let wait = |time: u128| {
            let micros = time.saturating_sub(now).div_ceil(u128::from(self.limits[bucket].count()));
            Duration::from_micros(micros.try_into().unwrap())
        };
        let cost = one * u128::from(charge.cost);
        Standing {
            remaining: ((now + burst).saturating_sub(tat) / one).try_into().unwrap(),
            reset_after: wait(tat),
            retry_after: wait((tat + cost).saturating_sub(burst.max(cost))),
        }
    }
}

fn limit() -> impl Strategy<Value = Limit> {
    let window =
        prop_oneof![Just(3_600_000_000_u64), Just(60_000_000), 1_000_u64..100_000_000, Just(31 * 24 * 3_600_000_000),];
    let count = prop_oneof![1_u64..20, 1_u64..100_000, Just(1_000_000_007)];
    let burst = prop_oneof![1_u64..10, 1_u64..2_000];
    (count, window, burst).prop_filter_map("too large", |(count, window, burst)| {
        Limit::new(count, Duration::from_micros(window), burst).ok()
    })
}

/// Three limits and what happens to their buckets.
pub(super) fn history(length: usize) -> impl Strategy<Value = (Vec<Limit>, Vec<Step>)> {
    let after = prop_oneof![Just(0_u64), 0_u64..1_000, 0_u64..100_000, 0_u64..10_000_000, 0_u64..4_000_000_000_000];
    let cost = || prop_oneof![Just(1_u64), 0_u64..4, 0_u64..2_000];
    let some = prop::collection::vec(cost(), 3)
        .prop_flat_map(|costs| prop::sample::subsequence(costs.into_iter().enumerate().collect::<Vec<_>>(), 1..=3));
    let action = prop_oneof![
        4 => some.prop_map(Action::Charge),
        1 => (0_usize..3, cost(), cost()).prop_map(|(bucket, cost, used)| Action::Settle(bucket, cost, used)),
    ];
    let step = (after, action).prop_map(|(after, action)| Step { after, action });
    (prop::collection::vec(limit(), 3), prop::collection::vec(step, 1..length))
}
