//! The credentials file of a work folder: a profile for the provider, a profile for the backend.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Its name in the work folder.
pub const CREDENTIALS_FILE: &str = "credentials";

/// Keys of one session. [`fmt::Debug`] shows only the key's id.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Not secret.
    pub access_key_id: String,
    /// Secret.
    pub secret_access_key: String,
    /// Secret; `None` for keys that do not expire.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The content of a shared credentials file with these profiles. Fails where a value would break out of its line.
pub fn credentials_file(profiles: &[(&str, &Credentials)]) -> io::Result<String> {
    let mut content = String::new();
    for (name, credentials) in profiles {
        let (id, secret) = (credentials.access_key_id.as_str(), credentials.secret_access_key.as_str());
        let token = credentials.session_token.as_deref();
        let values = [*name, id, secret, token.unwrap_or_default()];
        if values.iter().any(|value| value.chars().any(char::is_control)) || name.contains([']', '[']) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("profile `{name}` has a control character"),
            ));
        }
        content.push_str(&format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"));
        if let Some(token) = token {
            content.push_str(&format!("aws_session_token = {token}\n"));
        }
    }
    Ok(content)
}

/// Writes a file that only this user can read (0600), whole or not at all: whoever reads it meanwhile sees the old one.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{}.new", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    let beside = Path::new(&name);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    let written = file.write_all(content).and_then(|()| fs::rename(beside, path));
    if written.is_err() {
        let _ = fs::remove_file(beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn credentials(token: Option<&str>) -> Credentials {
        Credentials {
            access_key_id: "AKID".to_owned(),
            secret_access_key: "hunter2".to_owned(),
            session_token: token.map(str::to_owned),
        }
    }

    #[test]
    fn two_profiles_are_written() {
        let content = credentials_file(&[("provider", &credentials(Some("t"))), ("backend", &credentials(None))]);
        assert_eq!(
            content.expect("a file"),
            "[provider]\naws_access_key_id = AKID\naws_secret_access_key = hunter2\naws_session_token = t\n\
             [backend]\naws_access_key_id = AKID\naws_secret_access_key = hunter2\n"
        );
        assert!(credentials_file(&[("provider", &credentials(Some("t\n[backend]")))]).is_err());
    }

    #[test]
    fn the_file_is_private_and_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(CREDENTIALS_FILE);
        write_private(&path, b"one").expect("written");
        write_private(&path, b"two").expect("written again");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", credentials(Some("token-token"))).contains("hunter2"));
    }
}
