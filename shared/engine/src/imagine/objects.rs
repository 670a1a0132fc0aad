//! Objects in memory over objects that lie beneath: those are read, never written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::port::{Objects, StoreError};

/// Objects by name; `None` where there is none.
type Known = HashMap<String, Option<Vec<u8>>>;

/// Objects in memory over others. An object beneath is read once, also where there is none; copies share what is known.
#[derive(Debug, Clone)]
pub struct ObjectsOver<O> {
    beneath: O,
    known: Arc<Mutex<Known>>,
}

impl<O> ObjectsOver<O> {
    /// Nothing of its own yet, over these.
    pub fn new(beneath: O) -> Self {
        Self { beneath, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Objects + Clone> Objects for ObjectsOver<O> {
    async fn put(&self, name: &str, content: Vec<u8>) -> Result<(), StoreError> {
        self.known().insert(name.to_owned(), Some(content));
        Ok(())
    }

    async fn put_once(&self, name: &str, content: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        self.get(name).await?;
        Ok(self.known().entry(name.to_owned()).or_default().get_or_insert(content).clone())
    }

    /// Nothing here is ever dropped.
    async fn keep(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let known = self.known().get(name).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = self.beneath.get(name).await?;
        Ok(self.known().entry(name.to_owned()).or_insert(found).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imagine::Nothing;

    #[tokio::test]
    async fn objects_are_read_from_beneath_and_written_above() {
        let beneath = ObjectsOver::new(Nothing);
        beneath.put("there", b"beneath".to_vec()).await.unwrap();
        let above = ObjectsOver::new(beneath.clone());

        assert_eq!(above.get("there").await.unwrap(), Some(b"beneath".to_vec()));
        assert_eq!(above.put_once("there", b"above".to_vec()).await.unwrap(), b"beneath".to_vec());
        above.put("there", b"above".to_vec()).await.unwrap();
        assert_eq!(above.clone().get("there").await.unwrap(), Some(b"above".to_vec()));
        assert_eq!(beneath.get("there").await.unwrap(), Some(b"beneath".to_vec()));
    }

    #[tokio::test]
    async fn what_was_not_there_stays_so_until_it_is_written_above() {
        let beneath = ObjectsOver::new(Nothing);
        let above = ObjectsOver::new(beneath.clone());
        assert_eq!(above.get("late").await.unwrap(), None);
        beneath.put("late", b"beneath".to_vec()).await.unwrap();
        assert_eq!(above.get("late").await.unwrap(), None);
        assert_eq!(above.put_once("late", b"above".to_vec()).await.unwrap(), b"above".to_vec());
        assert_eq!(above.put_once("late", b"later".to_vec()).await.unwrap(), b"above".to_vec());
        above.keep("late").await.unwrap();
        assert_eq!(beneath.get("late").await.unwrap(), Some(b"beneath".to_vec()));
    }
}
