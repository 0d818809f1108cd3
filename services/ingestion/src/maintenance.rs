//! What happens by itself beside the jobs: the indexes are kept as the catalog has them, moves between shards are ended,
//! bodies that nothing needs and idempotency keys whose time is over are removed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ragstone_core::Result;
use ragstone_rpc::Trouble;
use tokio_util::sync::CancellationToken;

use crate::bodies::Bodies;
use crate::indexes::Indexes;

/// How often the indexes are looked at.
const TICK: Duration = Duration::from_secs(2);
/// How often bodies and keys are swept, and how old a body must be before it counts as left behind: no upload takes that long.
const SWEEP: Duration = Duration::from_secs(3600);

/// The background work.
pub(crate) struct Maintenance {
    pub(crate) indexes: Indexes,
    pub(crate) bodies: Arc<Bodies>,
    /// Why the indexes are not as the catalog has them; readiness tells it.
    pub(crate) trouble: Trouble,
}

impl Maintenance {
    /// Works until `shutdown` fires.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut reconciled = false;
        let mut swept = Instant::now();
        loop {
            // Every step may be repeated: nothing is lost when one is broken off.
            tokio::select! {
                () = self.tick(&mut reconciled, &mut swept) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn tick(&self, reconciled: &mut bool, swept: &mut Instant) {
        if !*reconciled {
            let outcome = self.indexes.targets.reconcile().await;
            *reconciled = outcome.is_ok();
            self.tell(&outcome);
            report("the indexes cannot be used yet", outcome);
        }
        report("the indexes cannot be looked after", self.indexes.look_after().await);
        if *reconciled {
            self.tell(&self.indexes.check_serving().await);
        }
        if swept.elapsed() > SWEEP {
            *swept = Instant::now();
            report("bodies could not be swept", self.sweep().await);
            report("idempotency keys could not be forgotten", self.forget_keys().await);
        }
        tokio::time::sleep(TICK).await;
    }

    fn tell(&self, outcome: &Result<()>) {
        self.trouble.set(outcome.as_ref().err().map(|error| error.message.clone()));
    }

    async fn sweep(&self) -> Result<()> {
        let swept = self.bodies.sweep(&*self.indexes.targets.catalog, SWEEP).await?;
        if swept > 0 {
            tracing::info!(swept, "bodies that nothing needed were removed");
        }
        Ok(())
    }

    async fn forget_keys(&self) -> Result<()> {
        let forgotten = self.indexes.targets.catalog.forget_idempotency_keys().await?;
        tracing::debug!(forgotten, "idempotency keys whose time is over were forgotten");
        Ok(())
    }
}

/// Tells of a failure; the next tick tries again.
fn report(what: &str, outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(error = error.chain(), "{what}");
    }
}
