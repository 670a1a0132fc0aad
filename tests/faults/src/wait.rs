//! Waiting for conditions, with a deadline.

use std::time::Duration;

use conductor_acceptance::Deployment;
use tokio::time::{Instant, sleep, timeout};

use crate::Faults;

/// How long anything may take: a dead run is waited for one and a half minutes.
const DEADLINE: Duration = Duration::from_secs(400);
/// How often files and processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the API is asked: many tests wait at once.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often the sweeper runs while a test waits.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// What a look finds at last.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("not after {DEADLINE:?}: {what}"))
}

impl Faults {
    /// What a look at a deployment finds at last. Meanwhile the sweeper runs more often than by its schedule.
    pub async fn watch<T>(&self, id: &str, what: &str, mut look: impl AsyncFnMut(&Deployment) -> Option<T>) -> T {
        let began = Instant::now();
        let mut swept = began;
        loop {
            let deployment = self.deployment(id).await;
            if let Some(found) = look(&deployment).await {
                return found;
            }
            assert!(began.elapsed() < DEADLINE, "{what}: not after {DEADLINE:?}: {:#}", deployment.0);
            if swept.elapsed() >= SWEEP_EVERY {
                self.sweep().await;
                swept = Instant::now();
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// A deployment once a condition holds for it.
    pub async fn until(&self, id: &str, what: &str, holds: impl Fn(&Deployment) -> bool) -> Deployment {
        self.watch(id, what, async |deployment: &Deployment| holds(deployment).then(|| deployment.clone())).await
    }

    /// A deployment once it has ended.
    pub async fn ended(&self, id: &str) -> Deployment {
        self.until(id, "ended", has_ended).await
    }
}

/// True for a deployment that has ended.
pub(crate) fn has_ended(deployment: &Deployment) -> bool {
    !matches!(deployment.status(), "Pending" | "InProgress")
}
