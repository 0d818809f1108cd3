//! What an answer costs: counted once, however it ends.

use ragstone_core::Usage;

use super::link::Link;
use crate::limits::{Reservation, estimate};

/// The cost of one answer under way. Dropped unpaid, because the model broke off or the caller left, it is estimated.
pub(super) struct Bill {
    link: Link,
    reservation: Option<Reservation>,
    prompt_tokens: u32,
    bytes: usize,
}

impl Bill {
    pub(super) fn new(link: Link, reservation: Reservation, prompt_tokens: u32) -> Self {
        Self { link, reservation: Some(reservation), prompt_tokens, bytes: 0 }
    }

    /// So much more text was written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// What it is so far, where nobody has counted.
    pub(super) fn estimate(&self) -> Usage {
        Usage { prompt_tokens: self.prompt_tokens, completion_tokens: estimate(self.bytes) }
    }

    /// Nothing was read or written.
    pub(super) fn void(mut self) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(0);
        }
    }

    /// Counts what it came to.
    pub(super) fn pay(&mut self, usage: Usage) {
        let Some(reservation) = self.reservation.take() else { return };
        reservation.settle(usage.prompt_tokens.saturating_add(usage.completion_tokens));
        let provider = self.link.name().to_owned();
        for (kind, tokens) in [("prompt", usage.prompt_tokens), ("completion", usage.completion_tokens)] {
            let counter = metrics::counter!("rag_tokens_total", "provider" => provider.clone(), "kind" => kind);
            counter.increment(u64::from(tokens));
        }
        // A counter would know whole dollars only; this gauge only ever grows.
        metrics::gauge!("rag_cost_usd_total", "provider" => provider).increment(self.link.provider.price.of(usage));
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.pay(self.estimate());
    }
}
