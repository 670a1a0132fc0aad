//! What terraform says while it runs: for the log, and what the lease has to know of it.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::log::Level;
use conductor_engine::Control;
use conductor_terraform::events::{Action as Change, Body, Event, Severity};
use conductor_terraform::run::Action;

use crate::executor::lines::Lines;
use crate::executor::words;

/// Listens to the commands of one action.
pub(super) struct Heard<'a> {
    pub(super) action: Action,
    pub(super) lines: &'a Lines,
    pub(super) control: &'a Control,
    /// What terraform has begun to make, and by which name the lease knows it.
    pub(super) begun: &'a mut BTreeMap<String, String>,
    /// What the state had when terraform started.
    pub(super) there: &'a BTreeSet<String>,
    /// How many commands have begun.
    pub(super) commands: usize,
    /// True where terraform has begun to change something.
    pub(super) changes: bool,
    /// Diagnostics that are said when terraform has ended: they may quote what only the state that it has stored by then
    /// knows to be secret.
    pub(super) late: Vec<Event>,
}

impl Heard<'_> {
    pub(super) fn event(&mut self, event: &Event) {
        if let Body::Diagnostic(diagnostic) = &event.body
            && (self.changes || diagnostic.severity == Severity::Error)
        {
            self.late.push(event.clone());
            return;
        }
        self.lines.event(event);
        match &event.body {
            Body::Version { .. } => self.begin(),
            // A replacement is told as a delete and a create.
            Body::ApplyStart(hook) => {
                self.changes = true;
                if matches!(hook.action, Some(Change::Create | Change::Replace)) {
                    self.make(&hook.address);
                }
            }
            Body::ApplyComplete(hook) | Body::ApplyErrored(hook) => {
                if let Some(told) = self.begun.get(&hook.address) {
                    self.control.finished(told);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self) {
        let step = match (self.action, self.commands) {
            (Action::Create, _) => "applying",
            (Action::Destroy, _) => "destroying",
            (Action::Update, 0) => "planning",
            (Action::Update, _) => "applying the plan",
        };
        self.commands += 1;
        self.lines.say(Level::Info, step);
    }

    /// The lease says what terraform has begun to make: if this worker dies, that may exist without being in the state.
    fn make(&mut self, address: &str) {
        let told = words::address(address, self.lines.masker());
        self.control.begins(&told, self.there.contains(address));
        self.begun.insert(address.to_owned(), told);
    }
}
