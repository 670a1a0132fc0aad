//! State backends of environments, and the credentials in the secrets that they name.

use conductor_domain::backend::BackendSpec;
use conductor_domain::ids::{GenericUuid, ResourceId};
use conductor_domain::name::{EnvironmentName, OrganisationName};
use conductor_terraform::project::BackendCredentials;
use uuid::Uuid;

/// The longest place of a state: the longest text of a backend, and our own key.
const MAX_LOCATION: usize = 1024;
/// All names of credentials, which may be shown.
const NAMES: &str = "username password token client_id client_secret tenant_id access_key sas_token";

/// A JSON object that claims to be a backend, or the credentials of one.
pub fn backend(data: &[u8]) {
    if let Ok(spec) = serde_json::from_slice::<BackendSpec>(data) {
        specified(&spec);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        ["s3", "azurerm", "http", "remote", "local"].iter().for_each(|kind| credentials(kind, text));
    }
}

fn specified(spec: &BackendSpec) {
    let value = serde_json::to_value(spec).expect("JSON");
    assert_eq!(serde_json::from_value(value).ok().as_ref(), Some(spec));
    let faults = spec.check();
    for fault in &faults {
        assert!(fault.pointer.starts_with("/backend/") && fault.detail.len() < 500, "{fault:?}");
    }
    if !faults.is_empty() {
        return;
    }
    let organisation = OrganisationName::new("acme").expect("a name");
    let environment = EnvironmentName::new("prod").expect("a name");
    let at = |id: u128| ResourceId::from_untyped_uuid(Uuid::from_u128(id));
    let object = spec.object(&organisation, &environment, at(1));
    assert_ne!(object, spec.object(&organisation, &environment, at(2)), "two resources share a state");
    assert!(object.ends_with(&at(1).to_string()) || object.ends_with(&format!("{}.tfstate", at(1))), "{object:?}");
    let location = spec.location("states", &organisation, &environment, at(1)).location;
    assert!(location.len() <= MAX_LOCATION && location.contains(&object), "{location:?}");
    assert!(!location.chars().any(char::is_control), "{location:?}");
    assert!(location.split('/').all(|part| !matches!(part, "." | "..")), "{location:?} leaves its folder");
}

/// What is read as credentials has secrets, and does not print them.
fn credentials(kind: &str, text: &str) {
    let Ok(credentials) = BackendCredentials::parse(kind, text) else { return };
    let printed = format!("{credentials:?}");
    for secret in credentials.secrets().filter(|secret| secret.len() > 3 && !NAMES.contains(*secret)) {
        let plain = secret.chars().all(char::is_alphanumeric);
        assert!(!plain || !printed.contains(secret), "{printed}");
    }
}
