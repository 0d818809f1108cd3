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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::super::link::Provider;
    use super::*;
    use crate::ProviderConfig;

    #[test]
    fn tokens_and_dollars_are_counted_once_by_provider() {
        // A second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ProviderConfig {
            name: "paid".into(),
            base_url: "http://127.0.0.1:1/v1".into(),
            model: "m".into(),
            price_per_million_prompt_tokens: 2.5,
            price_per_million_completion_tokens: 10.0,
            ..ProviderConfig::default()
        };
        let link = Link { provider: Provider::open(config).unwrap(), stand_in: false };
        let bill = || Bill::new(link.clone(), link.provider.limits.reserve(1).unwrap(), 1_000);
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let mut paid = bill();
            paid.pay(Usage { prompt_tokens: 100_000, completion_tokens: 20_000 });
            drop(paid);
            let mut left = bill();
            left.wrote(400);
            drop(left);
            bill().void();
        });
        let told = recorder.handle().render();
        for line in [
            r#"rag_tokens_total{provider="paid",kind="prompt"} 101000"#,
            r#"rag_tokens_total{provider="paid",kind="completion"} 20100"#,
            // 0.25 + 0.2 dollars, then 0.0025 + 0.001 for what was left.
            r#"rag_cost_usd_total{provider="paid"} 0.4535"#,
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
    }
}
