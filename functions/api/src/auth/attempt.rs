//! An attempt to sign in: what has to come back from the provider, and where the browser goes on then. The browser
//! keeps it in a cookie meanwhile.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conductor_domain::token::SECRET_BYTES;
use sha2::{Digest, Sha256};

/// The longest path that an attempt remembers, in bytes.
const MAX_PATH: usize = 1024;

/// An attempt. Nobody can guess the first three.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Comes back in the URL: the browser that began is the one that ends.
    pub state: String,
    /// Comes back in the id token: it was made for this attempt.
    pub nonce: String,
    /// Whoever exchanges the code is who asked for it (PKCE).
    pub verifier: String,
    /// The page that was wanted.
    pub to: String,
}

impl Attempt {
    /// A new attempt.
    pub fn new(secret: impl Fn() -> [u8; SECRET_BYTES], to: Option<&str>) -> Self {
        let text = || URL_SAFE_NO_PAD.encode(secret());
        let to = to.filter(|path| is_ours(path)).unwrap_or("/").to_owned();
        Self { state: text(), nonce: text(), verifier: text(), to }
    }

    /// What the provider is told of the verifier (S256).
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }

    /// As a cookie's value.
    pub fn text(&self) -> String {
        let Self { state, nonce, verifier, to } = self;
        format!("{state}.{nonce}.{verifier}.{}", URL_SAFE_NO_PAD.encode(to))
    }

    /// Reads a cookie's value.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::to_owned);
        let (state, nonce, verifier, to) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_whole = parts.next().is_none() && [&state, &nonce, &verifier].iter().all(|part| !part.is_empty());
        let to = String::from_utf8(URL_SAFE_NO_PAD.decode(to).ok()?).ok()?;
        (is_whole && is_ours(&to)).then_some(Self { state, nonce, verifier, to })
    }
}

/// Whether a browser that goes there stays with us: a path, and nothing that a browser would read as another host.
fn is_ours(path: &str) -> bool {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    path.starts_with('/') && !path.starts_with("//") && is_plain && path.len() <= MAX_PATH
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn attempt(to: Option<&str>) -> Attempt {
        let count = Cell::new(0);
        let secret = || {
            count.set(count.get() + 1);
            [count.get(); SECRET_BYTES]
        };
        Attempt::new(secret, to)
    }

    #[test]
    fn it_is_read_back() {
        for to in ["/", "/deployments?status=Failed&text=a%20b"] {
            let attempt = attempt(Some(to));
            assert_eq!(attempt.to, to);
            assert!(Attempt::parse(&attempt.text()).is_some_and(|read| read == attempt));
        }
        let Attempt { state, nonce, verifier, .. } = attempt(None);
        assert!(state != nonce && nonce != verifier && verifier != state);
        assert_eq!(verifier.len(), 43);
    }

    #[test]
    fn no_other_text_is_read() {
        let text = attempt(None).text();
        let elsewhere = format!("a.b.c.{}", URL_SAFE_NO_PAD.encode("//evil.example"));
        let (longer, shorter) = (format!("{text}.x"), text.replacen('.', "", 1));
        let others = ["", "a", "a.b.c", "a.b.c.!", "...", longer.as_str(), shorter.as_str(), elsewhere.as_str()];
        for other in others {
            assert!(Attempt::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        let long = format!("/{}", "a".repeat(MAX_PATH));
        let paths =
            ["//evil.example", "https://evil.example", "evil", "", "/\\evil.example", "/a\r\nb", "/a b", long.as_str()];
        for path in paths {
            assert_eq!(attempt(Some(path)).to, "/", "{path:?}");
        }
    }

    #[test]
    fn the_challenge_is_the_one_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let attempt = Attempt { verifier, ..attempt(None) };
        assert_eq!(attempt.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
