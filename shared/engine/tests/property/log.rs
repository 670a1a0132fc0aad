//! The log of a deployment that has ended: every step and every line once, in their order, wherever a reader goes on.

use std::collections::BTreeMap;

use conductor_domain::deployment::Deployment;
use conductor_domain::ids::OperationId;
use conductor_domain::log::Level;
use conductor_domain::operation::Operation;
use conductor_engine::{LogFilter, LogLine, LogPosition};

use crate::world::{World, shown};

/// More reads than a deployment of this world can need.
const READS: usize = 100;

/// What was said, by operation, in order.
type Told = BTreeMap<Option<OperationId>, Vec<String>>;

fn told(lines: &[LogLine]) -> Told {
    let mut told = Told::new();
    for line in lines {
        told.entry(line.operation).or_default().push(line.line.message.clone());
    }
    told
}

/// What must be told: the steps, and after each claim what its run said.
fn expected(deployment: &Deployment, operations: &[Operation], said: impl Fn(OperationId, u64) -> Vec<String>) -> Told {
    let own = deployment.steps.iter().map(|step| step.message.clone()).collect();
    let mut expected = Told::from([(None, own)]);
    for operation in operations {
        let of_step = |step: &conductor_domain::log::Step| {
            let run = step.epoch.map(|epoch| said(operation.id, epoch)).unwrap_or_default();
            std::iter::once(step.message.clone()).chain(run)
        };
        let lines: Vec<String> = operation.steps.iter().flat_map(of_step).collect();
        if !lines.is_empty() {
            expected.insert(Some(operation.id), lines);
        }
    }
    expected
}

impl World {
    /// What is wrong with the log of a deployment that is at rest.
    pub(crate) async fn wrong_in_log(
        &self,
        deployment: &Deployment,
        operations: &[Operation],
    ) -> Result<Vec<String>, String> {
        let mut wrong = Vec::new();
        let all = self.log_from(deployment, LogPosition::default()).await?;
        let expected = expected(deployment, operations, |operation, epoch| self.cloud.said(operation, epoch));
        if told(&all) != expected {
            wrong.push(format!("the log of {} is {:?}, not {expected:?}", deployment.id, told(&all)));
        }
        for cut in [all.len() / 3, all.len() / 2, all.len().saturating_sub(1)] {
            let after = all[..cut].last().map(|line| line.id.to_string()).unwrap_or_default();
            let after: LogPosition = after.parse().map_err(shown)?;
            let rest = self.log_from(deployment, after).await?;
            if told(&rest) != told(&all[cut..]) {
                wrong.push(format!("after {cut} lines the log of {} is {:?}", deployment.id, told(&rest)));
            }
        }
        Ok(wrong)
    }

    async fn log_from(&self, deployment: &Deployment, after: LogPosition) -> Result<Vec<LogLine>, String> {
        let filter = LogFilter { operation: None, level: Level::Debug };
        let mut reader = self.engine.log(&self.caller, deployment.id, filter, after).await.map_err(shown)?;
        let mut lines = Vec::new();
        for _ in 0..READS {
            let read = reader.read().await.map_err(shown)?;
            lines.extend(read.lines);
            if read.ended.is_some() {
                return Ok(lines);
            }
        }
        Err(format!("the log of {} does not end", deployment.id))
    }
}
