//! Sensitive values: they lie in the vault; the table has their names and a keyed hash.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::port::{Clock, Objects, Ports, StoreError};
use crate::{Engine, Error};

/// The vault object with the key of the hash, made by whoever needs it first.
const HASH_KEY: &str = "keys/parameters";

impl<P: Ports> Engine<P> {
    /// Keyed hash of parameters, hex. Equal parameters have equal hashes, and nobody without the vault can try values.
    pub(crate) async fn parameters_hash(&self, parameters: &Map<String, Value>) -> Result<String, Error> {
        let key = self.hash_key().await?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key)
            .map_err(|_| StoreError::Unreadable(format!("the key in {HASH_KEY}")))?;
        mac.update(canonical(&Value::Object(parameters.clone())).as_bytes());
        Ok(hex::encode(mac.finalize().into_bytes()))
    }

    async fn hash_key(&self) -> Result<Vec<u8>, StoreError> {
        if let Some(key) = self.hash_key.get() {
            return Ok(key.clone());
        }
        let fresh: Vec<u8> = (0..4).flat_map(|_| self.clock.fresh_id().into_bytes()).collect();
        let key = match self.vault.get(HASH_KEY).await? {
            Some(key) => key,
            None => self.vault.put_once(HASH_KEY, fresh).await?,
        };
        Ok(self.hash_key.get_or_init(|| key).clone())
    }

    /// Puts sensitive values into the vault, as an object that is not kept yet; nothing, where there are none.
    pub(crate) async fn hide(&self, object: String, values: Map<String, Value>) -> Result<Option<String>, Error> {
        if values.is_empty() {
            return Ok(None);
        }
        self.vault.put(&object, Value::Object(values).to_string().into_bytes()).await?;
        Ok(Some(object))
    }

    /// Reads an object of sensitive values by name; no object, no values.
    pub(crate) async fn sensitive(&self, object: Option<&str>) -> Result<BTreeMap<String, Value>, Error> {
        let Some(object) = object else { return Ok(BTreeMap::new()) };
        let content = self
            .vault
            .get(object)
            .await?
            .ok_or_else(|| StoreError::Unreadable(format!("the vault object {object} is gone")))?;
        // The cause would quote the content.
        let values = serde_json::from_slice(&content)
            .map_err(|_| StoreError::Unreadable(format!("the vault object {object} is not a JSON object")))?;
        Ok(values)
    }
}

/// JSON text that is equal for equal values: maps are sorted, and `1` and `1.0` are one number, as terraform has it.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut sorted: Vec<_> = map.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_str());
            let fields: Vec<_> = sorted
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => whole.to_string(),
            (_, Some(whole), _) => whole.to_string(),
            (_, _, Some(real)) if real.fract() == 0.0 && real.abs() < 9e15 => (real as i64).to_string(),
            _ => number.to_string(),
        },
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;
    use serde_json::json;

    #[test]
    fn equal_values_have_one_text() {
        let check = |a, b, same| assert_eq!(canonical(&a) == canonical(&b), same, "{a} {b}");
        check(json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}), true);
        check(json!(1), json!(1.0), true);
        check(json!(1), json!("1"), false);
        check(json!([1, 2]), json!([2, 1]), false);
        check(json!(1.5), json!(1.25), false);
    }
}
