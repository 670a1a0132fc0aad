//! Masking: the first line is a secret, the rest is what is said.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conductor_terraform::mask::{MASKED, Masker};
use serde_json::Value;

/// Shorter texts are no secrets.
const SHORTEST: usize = 4;

/// A secret, and a text in which it may stand.
pub fn mask(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let Some((secret, text)) = input.split_once('\n') else { return };
    let masker = Masker::new([secret]);
    if secret.trim().chars().count() < SHORTEST {
        assert_eq!(masker.apply(text), text, "{secret:?}");
        return;
    }
    let json = Value::from(secret).to_string();
    let in_a_url: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let in_base64 = STANDARD.encode(secret);
    for form in [secret, &json[1..json.len() - 1], in_a_url.as_str(), in_base64.as_str()] {
        // What stands for a secret may be a part of one.
        if form.contains(['(', ')']) || MASKED.contains(form) {
            continue;
        }
        for said in [text.to_owned(), form.to_owned(), format!("{text}{form}{text}"), form.repeat(3)] {
            let shown = masker.apply(&said);
            assert!(!shown.contains(form), "{secret:?} in {shown:?}");
        }
    }
}
