//! A deployment's Score file, as whoever may see the deployment may see it.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::deployment::Deployment;
use conductor_domain::score;
use serde_json::Value;

use crate::port::{Ports, StoreError};
use crate::{Engine, Error};

/// What is shown of a deployment's Score file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownFile {
    /// It has none.
    None,
    /// It was never planned, so that nobody has held the file against its templates and knows what is sensitive in it.
    NotPlanned,
    /// The file as it was sent: nothing in it is sensitive.
    AsSent(String),
    /// The file written anew, with a mask for each sensitive value.
    Masked(String),
}

impl<P: Ports> Engine<P> {
    /// The file of a deployment, without what is sensitive in it.
    pub async fn shown_file(&self, deployment: &Deployment) -> Result<ShownFile, Error> {
        let Some(object) = &deployment.score else { return Ok(ShownFile::None) };
        if deployment.started_at.is_none() {
            return Ok(ShownFile::NotPlanned);
        }
        let text = self.score_text(object).await?;
        let secrets = self.sensitive(deployment.secrets.as_deref()).await?;
        if secrets.is_empty() {
            return Ok(ShownFile::AsSent(text));
        }
        let (pointers, texts) = hidden(&secrets);
        let masked = score::shown(&text, &pointers, &texts)
            .map_err(|_| StoreError::Unreadable(format!("{object} is no Score file any more")))?;
        Ok(ShownFile::Masked(masked))
    }
}

/// Pointers to the sensitive parameters of a file, and every text in them, given the parameters by resource.
fn hidden(secrets: &BTreeMap<String, Value>) -> (BTreeSet<String>, Vec<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    let (mut pointers, mut texts) = (BTreeSet::new(), Vec::new());
    for (resource, parameters) in secrets {
        for (name, value) in parameters.as_object().into_iter().flatten() {
            pointers.insert(format!("/resources/{}/params/{}", escaped(resource), escaped(name)));
            gather(value, &mut texts);
        }
    }
    (pointers, texts)
}

fn gather(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => texts.push(number.to_string()),
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(map) => map.values().for_each(|item| gather(item, texts)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sensitive_parameter_is_hidden_by_its_place_and_by_its_texts() {
        let secrets = BTreeMap::from([
            ("a/b".to_owned(), json!({"token": "hunter2", "keys": [{"x": "deep"}, 12345, true, null]})),
            ("db".to_owned(), json!({"~": "tilde"})),
        ]);
        let (pointers, mut texts) = hidden(&secrets);
        let expect = ["/resources/a~1b/params/keys", "/resources/a~1b/params/token", "/resources/db/params/~0"];
        assert_eq!(pointers.into_iter().collect::<Vec<_>>(), expect);
        texts.sort();
        assert_eq!(texts, ["12345", "deep", "hunter2", "tilde"]);
    }
}
