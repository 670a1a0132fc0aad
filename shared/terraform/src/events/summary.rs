//! What a run's events add up to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Action, Body, Changes, Diagnostic, Event, Hook, OutputEvent, PlannedChange};
use crate::engine::Engine;

/// A fold over events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunSummary {
    /// Who spoke, and its version.
    pub engine: Option<(Engine, String)>,
    /// In the order in which they came.
    pub diagnostics: Vec<Diagnostic>,
    /// What the plan would do, each resource once.
    pub planned: Vec<PlannedChange>,
    /// What had changed outside of terraform.
    pub drift: Vec<PlannedChange>,
    /// The last counts: of the apply, where it got that far, else of the plan.
    pub changes: Option<Changes>,
    /// The last outputs: with values only where an apply ended well.
    pub outputs: Option<BTreeMap<String, OutputEvent>>,
    /// Resources that were finished.
    pub completed: Vec<InFlight>,
    /// Resources whose work failed.
    pub errored: Vec<InFlight>,
    in_flight: BTreeMap<String, InFlight>,
    at_stop: BTreeSet<String>,
}

/// A resource that is being worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InFlight {
    /// Its address.
    pub address: String,
    /// What is done to it.
    pub action: Option<Action>,
    /// For how long, as terraform last said; it says so every 10 seconds.
    pub elapsed_seconds: u64,
}

impl RunSummary {
    /// Takes one event in.
    pub fn observe(&mut self, event: &Event) {
        match &event.body {
            Body::Version { engine, version } => self.engine = Some((*engine, version.clone())),
            Body::Diagnostic(diagnostic) => {
                // Terraform repeats "execution halted" for each of its own contexts.
                if self.diagnostics.last() != Some(diagnostic) {
                    self.diagnostics.push(diagnostic.clone());
                }
            }
            Body::PlannedChange(change) => self.planned.push(change.clone()),
            Body::ResourceDrift(change) => self.drift.push(change.clone()),
            Body::ChangeSummary(changes) => self.changes = Some(*changes),
            Body::Outputs(outputs) => self.outputs = Some(outputs.clone()),
            Body::ApplyStart(hook) | Body::ApplyProgress(hook) => {
                let started = self.in_flight.entry(hook.address.clone()).or_insert_with(|| started(hook));
                started.elapsed_seconds = hook.elapsed_seconds.unwrap_or(started.elapsed_seconds);
            }
            Body::ApplyComplete(hook) => {
                let ended = self.end(hook);
                self.at_stop.remove(&hook.address);
                self.completed.push(ended);
            }
            Body::ApplyErrored(hook) => {
                let ended = self.end(hook);
                self.errored.push(ended);
            }
            Body::RefreshStart(_)
            | Body::RefreshComplete(_)
            | Body::ProvisionStart(_)
            | Body::ProvisionProgress(_)
            | Body::Other(_) => {}
        }
    }

    /// Terraform is told to stop: what is in flight now and fails from here on was interrupted, not at fault.
    pub fn stopping(&mut self) {
        self.at_stop.extend(self.in_flight.keys().cloned());
    }

    /// What was begun and not finished: still in flight, or in flight when terraform was stopped and failed since.
    pub fn in_flight(&self) -> Vec<InFlight> {
        let interrupted = self.errored.iter().filter(|errored| self.at_stop.contains(&errored.address));
        let mut all: Vec<InFlight> = self.in_flight.values().chain(interrupted).cloned().collect();
        all.sort_by(|a, b| a.address.cmp(&b.address));
        all
    }

    /// How many resources were finished with that are not in flight: where one is remade, the end of the old one counts
    /// for nothing. Nor does what was only read: that happens in every run.
    pub fn finished(&self) -> u32 {
        let in_flight: BTreeSet<String> = self.in_flight().into_iter().map(|resource| resource.address).collect();
        let changed = self.completed.iter().filter(|resource| resource.action != Some(Action::Read));
        let addresses: BTreeSet<&String> =
            changed.map(|resource| &resource.address).filter(|address| !in_flight.contains(*address)).collect();
        u32::try_from(addresses.len()).unwrap_or(u32::MAX)
    }

    fn end(&mut self, hook: &Hook) -> InFlight {
        let begun = self.in_flight.remove(&hook.address).unwrap_or_else(|| started(hook));
        InFlight { elapsed_seconds: hook.elapsed_seconds.unwrap_or(begun.elapsed_seconds), ..begun }
    }
}

fn started(hook: &Hook) -> InFlight {
    InFlight { address: hook.address.clone(), action: hook.action, elapsed_seconds: hook.elapsed_seconds.unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Severity;
    use super::*;

    fn resource(address: &str) -> Value {
        json!({"addr": address, "module": "", "resource": address, "resource_key": null})
    }

    fn apply(kind: &str, address: &str, elapsed: Option<u64>) -> Value {
        json!({"@level": "info", "@message": "…", "type": kind,
               "hook": {"resource": resource(address), "action": "create", "elapsed_seconds": elapsed}})
    }

    fn fold(lines: &[Value]) -> RunSummary {
        let mut summary = RunSummary::default();
        for line in lines {
            summary.observe(&Event::parse(line.to_string().as_bytes()));
        }
        summary
    }

    #[test]
    fn an_apply_adds_up() {
        let summary = fold(&[
            json!({"@level": "info", "@message": "Terraform 1.11.4", "type": "version", "terraform": "1.11.4", "ui": "1.2"}),
            json!({"type": "planned_change", "change": {"resource": resource("a"), "action": "replace", "reason": "cannot_update"}}),
            json!({"type": "change_summary", "changes": {"add": 1, "change": 0, "import": 0, "remove": 1, "operation": "plan"}}),
            json!({"type": "outputs", "outputs": {"id": {"sensitive": false, "action": "create"}}}),
            apply("apply_start", "a", None),
            apply("apply_progress", "a", Some(10)),
            apply("apply_complete", "a", Some(12)),
            json!({"type": "change_summary", "changes": {"add": 1, "change": 0, "import": 0, "remove": 1, "operation": "apply"}}),
            json!({"type": "outputs", "outputs": {"id": {"sensitive": false, "type": "string", "value": "x"}, "s": {"sensitive": true}}}),
            json!({"type": "something_new", "@message": "?"}),
        ]);
        assert_eq!(summary.engine, Some((Engine::Terraform, "1.11.4".to_owned())));
        assert_eq!(summary.changes, Some(Changes { add: 1, change: 0, destroy: 1, import: 0 }));
        assert_eq!(summary.planned.len(), 1);
        assert_eq!(summary.planned[0].action, Action::Replace);
        let outputs = summary.outputs.clone().expect("outputs");
        assert_eq!(outputs["id"].value, Some(json!("x")));
        assert_eq!(outputs["s"].value, None);
        assert_eq!(summary.completed[0].elapsed_seconds, 12);
        assert!(summary.in_flight().is_empty());
    }

    /// Lines written from OpenTofu's source (1.12, `internal/command/views`), not by the program.
    #[test]
    fn an_apply_of_opentofu_adds_up_in_the_same_way() {
        let summary = fold(&[
            json!({"@level": "info", "@message": "OpenTofu 1.10.6", "@module": "tofu.ui", "type": "version", "tofu": "1.10.6", "ui": "1.2"}),
            json!({"type": "planned_change", "change": {"resource": resource("a"), "action": "update"}}),
            json!({"type": "planned_change", "change": {"resource": resource("b"), "action": "remove"}}),
            json!({"type": "change_summary", "changes":
                {"add": 0, "change": 1, "import": 0, "remove": 0, "forget": 1, "operation": "plan"}}),
            apply("apply_start", "a", None),
            apply("apply_complete", "a", Some(1)),
            apply("ephemeral_action_started", "c", None),
            json!({"type": "change_summary", "changes":
                {"add": 0, "change": 1, "import": 0, "remove": 0, "forget": 1, "operation": "apply"}}),
            json!({"type": "outputs", "outputs": {"id": {"sensitive": false, "type": "string", "value": "x"}}}),
        ]);
        assert_eq!(summary.engine, Some((Engine::Tofu, "1.10.6".to_owned())));
        assert_eq!(summary.changes, Some(Changes { add: 0, change: 1, destroy: 0, import: 0 }));
        let actions: Vec<Action> = summary.planned.iter().map(|change| change.action).collect();
        assert_eq!(actions, [Action::Update, Action::Forget]);
        assert_eq!(summary.outputs.clone().expect("outputs")["id"].value, Some(json!("x")));
        assert!(summary.in_flight().is_empty());
    }

    #[test]
    fn what_was_interrupted_is_in_flight_and_what_failed_before_is_not() {
        let mut summary = fold(&[
            apply("apply_start", "failed", None),
            apply("apply_errored", "failed", Some(1)),
            apply("apply_start", "a", None),
            apply("apply_start", "b", None),
            apply("apply_start", "c", None),
        ]);
        summary.stopping();
        summary.observe(&Event::parse(apply("apply_errored", "a", Some(2)).to_string().as_bytes()));
        summary.observe(&Event::parse(apply("apply_complete", "b", Some(2)).to_string().as_bytes()));
        let in_flight: Vec<String> = summary.in_flight().into_iter().map(|resource| resource.address).collect();
        assert_eq!(in_flight, ["a", "c"]);
    }

    #[test]
    fn what_was_finished_is_counted_once_and_not_where_it_is_in_flight() {
        let of = |action: &str, mut line: Value| {
            line["hook"]["action"] = json!(action);
            line
        };
        let mut summary = fold(&[
            of("read", apply("apply_start", "data.read", None)),
            of("read", apply("apply_complete", "data.read", Some(1))),
            apply("apply_start", "made", None),
            apply("apply_complete", "made", Some(1)),
            of("delete", apply("apply_start", "replaced", None)),
            of("delete", apply("apply_complete", "replaced", Some(1))),
            apply("apply_start", "replaced", None),
            apply("apply_complete", "replaced", Some(1)),
            of("delete", apply("apply_start", "tainted", None)),
            of("delete", apply("apply_complete", "tainted", Some(1))),
            apply("apply_start", "tainted", None),
        ]);
        assert_eq!(summary.finished(), 2);
        summary.stopping();
        summary.observe(&Event::parse(apply("apply_errored", "tainted", Some(2)).to_string().as_bytes()));
        assert_eq!(summary.finished(), 2, "it was interrupted");
    }

    #[test]
    fn a_diagnostic_keeps_its_address_and_place() {
        let summary = fold(&[json!({"@level": "error", "type": "diagnostic", "diagnostic": {
            "severity": "error", "summary": "local-exec provisioner error", "detail": "signal: killed",
            "address": "terraform_data.a", "snippet": {"values": []},
            "range": {"filename": "main.tf", "start": {"line": 3, "column": 30, "byte": 75}, "end": {"line": 3, "column": 31, "byte": 76}}
        }})]);
        let diagnostic = &summary.diagnostics[0];
        assert_eq!(diagnostic.severity, Severity::Error);
        assert_eq!(diagnostic.address.as_deref(), Some("terraform_data.a"));
        assert_eq!(diagnostic.range.as_ref().map(|range| range.start.line), Some(3));
    }

    #[test]
    fn lines_that_are_no_events_are_kept_as_they_are() {
        for (line, message) in [("panic: runtime error", "panic: runtime error"), ("[1]", "[1]"), ("", "")] {
            let event = Event::parse(line.as_bytes());
            assert_eq!((event.message.as_str(), &event.body), (message, &Body::Other(String::new())));
        }
        let odd = Event::parse(br#"{"@message": "m", "type": "planned_change", "change": 1}"#);
        assert_eq!(odd.body, Body::Other("planned_change".to_owned()));
    }
}
