//! The metrics recorder behind `/metrics`.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds: from a cache hit to a slow model, fine where the goals lie (p95 under 2 s).
const SECONDS: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0];

/// Between two rounds of keeping the recorder's memory bounded.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the process's recorder.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()
}

/// Folds new samples into the histograms for as long as the process lives, so that they do not pile up where nobody
/// scrapes.
pub(crate) fn keep_up(metrics: PrometheusHandle) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.run_upkeep();
        }
    });
}
