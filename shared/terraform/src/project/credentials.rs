//! The credentials file of a work folder: a profile for the provider, a profile for the backend.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

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
    /// When they end, as RFC 3339 has it; `None` for keys that do not expire.
    pub expires_at: Option<String>,
}

impl Credentials {
    /// What of them must not be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        [Some(&self.secret_access_key), self.session_token.as_ref()].into_iter().flatten().map(String::as_str)
    }

    /// What a `credential_process` prints.
    pub fn printed(&self) -> String {
        let printed = json!({
            "Version": 1,
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "SessionToken": self.session_token,
            "Expiration": self.expires_at,
        });
        printed.to_string()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Where the keys of a profile are.
#[derive(Debug, Clone, Copy)]
pub enum Profile<'a> {
    /// In the file.
    Keys(&'a Credentials),
    /// A program prints them, each time they are needed: `<program> --credentials <file>`.
    Process {
        /// The program.
        program: &'a Path,
        /// What it prints.
        file: &'a Path,
    },
}

/// The content of a shared credentials file with these profiles. Fails where a value would break out of its line, or a
/// path out of its word.
pub fn credentials_file(profiles: &[(&str, Profile<'_>)]) -> io::Result<String> {
    let mut content = String::new();
    for (name, profile) in profiles {
        if name.contains([']', '[']) || has_control(name) {
            return Err(invalid(format!("`{name}` is no name of a profile")));
        }
        content.push_str(&format!("[{name}]\n"));
        match profile {
            Profile::Keys(credentials) => {
                let (id, secret) = (credentials.access_key_id.as_str(), credentials.secret_access_key.as_str());
                let token = credentials.session_token.as_deref();
                if [id, secret, token.unwrap_or_default()].into_iter().any(has_control) {
                    return Err(invalid(format!("profile `{name}` has a control character")));
                }
                content.push_str(&format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\n"));
                if let Some(token) = token {
                    content.push_str(&format!("aws_session_token = {token}\n"));
                }
            }
            Profile::Process { program, file } => {
                let (program, file) = (word(program)?, word(file)?);
                content.push_str(&format!("credential_process = {program} --credentials {file}\n"));
            }
        }
    }
    Ok(content)
}

/// A path as one word of a command. The SDKs differ in what they do with quotes, so it must need none.
fn word(path: &Path) -> io::Result<&str> {
    let plain = |text: &&str| text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@%,".contains(c));
    let text = path.to_str().filter(plain);
    text.ok_or_else(|| invalid(format!("the path {} has more than letters, digits and /._-+@%,", path.display())))
}

fn has_control(value: &str) -> bool {
    value.chars().any(char::is_control)
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
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
            expires_at: token.map(|_| "2026-11-22T01:28:47Z".to_owned()),
        }
    }

    #[test]
    fn profiles_are_written() {
        let (short, long) = (credentials(Some("t")), credentials(None));
        let (program, file) = (Path::new("/opt/provisioner"), Path::new("/w/1-2/backend.json"));
        let process = Profile::Process { program, file };
        let profiles = [("provider", Profile::Keys(&short)), ("long", Profile::Keys(&long)), ("backend", process)];
        assert_eq!(
            credentials_file(&profiles).expect("a file"),
            "[provider]\naws_access_key_id = AKID\naws_secret_access_key = hunter2\naws_session_token = t\n\
             [long]\naws_access_key_id = AKID\naws_secret_access_key = hunter2\n\
             [backend]\ncredential_process = /opt/provisioner --credentials /w/1-2/backend.json\n"
        );
    }

    #[test]
    fn a_process_prints_what_the_sdks_read() {
        assert_eq!(
            credentials(Some("t")).printed(),
            r#"{"AccessKeyId":"AKID","Expiration":"2026-11-22T01:28:47Z","SecretAccessKey":"hunter2","SessionToken":"t","Version":1}"#
        );
    }

    #[test]
    fn a_value_cannot_break_out_of_its_place() {
        let broken = credentials(Some("t\n[backend]"));
        assert!(credentials_file(&[("provider", Profile::Keys(&broken))]).is_err());
        let good = credentials(None);
        for name in ["a]", "a\n[b"] {
            assert!(credentials_file(&[(name, Profile::Keys(&good))]).is_err(), "{name}");
        }
        for path in ["/w/a b", "/w/\"a\"", "/w/$HOME", "/w/a;b", "/w/#a", "/w/a\nb"] {
            let process = Profile::Process { program: Path::new("/opt/provisioner"), file: Path::new(path) };
            assert!(credentials_file(&[("provider", process)]).is_err(), "{path}");
        }
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
    fn secrets_are_known_and_not_shown() {
        assert_eq!(credentials(Some("token-token")).secrets().collect::<Vec<_>>(), ["hunter2", "token-token"]);
        assert_eq!(credentials(None).secrets().collect::<Vec<_>>(), ["hunter2"]);
        assert!(!format!("{:?}", credentials(Some("token-token"))).contains("hunter2"));
    }
}
