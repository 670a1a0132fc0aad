//! Addresses that a browser may be sent to, and that may be asked for keys.

use std::net::IpAddr;

use http::Uri;
use http::uri::Authority;
use serde::Deserialize;

/// What such an address must be, in the words of an error.
pub const URL_RULE: &str = "an address with https, or with http on 127.0.0.1 or localhost";

/// An address that follows [`URL_RULE`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SafeUrl(String);

impl SafeUrl {
    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing but this machine is between a browser and it, and no TLS.
    pub fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
}

impl TryFrom<String> for SafeUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_safe(&text) { Ok(Self(text)) } else { Err(format!("must be {URL_RULE}")) }
    }
}

fn is_safe(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let Some(authority) = uri.authority() else { return false };
    let reaches_safely = text.starts_with("https://") || (text.starts_with("http://") && is_here(authority.host()));
    reaches_safely && !authority.host().is_empty() && !authority.as_str().contains('@') && !text.contains('#')
}

/// Whether a host, with or without a port, is a loopback address or a name that browsers take for one whatever is said
/// elsewhere of it.
pub fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    let is_name = name == "localhost" || name.ends_with(".localhost");
    (is_name || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())) && !host.contains('@')
}

/// Whether a host is this machine.
pub fn is_here(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_host_is_one_whatever_name_servers_say() {
        let check = |host: &str, expect: bool| assert_eq!(is_loopback(host), expect, "{host:?}");
        for host in ["127.0.0.1", "127.0.0.1:4566", "127.8.9.1", "localhost:80", "LOCALHOST", "[::1]", "[::1]:4566"] {
            check(host, true);
        }
        check("abc.execute-api.localhost:4566", true);
        for host in ["", ":80", "a.example", "127.0.0.1.a.example", "localhost.a.example", "notlocalhost"] {
            check(host, false);
        }
        for host in ["10.0.0.1", "0.0.0.0", "[::2]", "a.example@127.0.0.1", "127.0.0.1/a", "127.1"] {
            check(host, false);
        }
    }

    #[test]
    fn without_tls_nothing_but_this_machine_is_asked() {
        let check = |text: &str, expect: bool| assert_eq!(is_safe(text), expect, "{text:?}");
        check("https://idp.example", true);
        check("https://idp.example/realms/a?b=c", true);
        check("http://127.0.0.1:9000", true);
        check("http://localhost:9000/a", true);
        check("http://[::1]:9000", true);
        check("http://idp.example", false);
        check("http://127.0.0.1.evil.example", false);
        check("http://localhost.evil.example", false);
        check("http://127.0.0.1@evil.example", false);
        check("https://user@idp.example", false);
        check("https://idp.example/#a", false);
        check("https://idp.example/a b", false);
        check("https://", false);
        check("ftp://127.0.0.1", false);
        check("idp.example", false);
        check("/login", false);
        check("", false);
    }
}
