//! State objects: they come from a backend that may be somebody else's.

use std::collections::BTreeSet;

use conductor_terraform::mask::secrets_in;
use conductor_terraform::state::{StateError, parse};

/// Bytes that claim to be a state.
pub fn state(data: &[u8]) {
    let state = match parse(data) {
        Ok(state) => state,
        Err(StateError::Version(version)) => {
            assert_ne!(version, 4);
            return;
        }
        Err(StateError::Invalid(_) | StateError::TooLong) => return,
    };
    assert_eq!(parse(data).ok().as_ref(), Some(&state));
    assert_eq!(state.resources(), state.addresses.len());
    let secrets: BTreeSet<&str> = state.secrets.iter().collect();
    assert_eq!(secrets.len(), state.secrets.iter().count(), "a secret stands twice");
    for (name, output) in state.outputs.iter().filter(|(_, output)| output.sensitive) {
        let hidden = secrets_in(&output.value).iter().all(|secret| secrets.contains(secret.as_str()));
        assert!(hidden, "a secret of the output {name} is not known");
    }
}
