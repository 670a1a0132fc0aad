//! The line in which a provider says where it listens: `1|5|unix|<socket>|grpc|`, as its library (go-plugin) writes it.
//! Pure.

use std::path::{Path, PathBuf};

/// The version of such lines.
const CORE: &str = "1";

/// Versions of the protocol between terraform and providers.
const PROTOCOLS: [u32; 2] = [5, 6];

/// Where a provider listens, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// 5 or 6.
    pub(super) protocol: u32,
    /// Its socket.
    pub(super) socket: PathBuf,
}

/// Reads the line of a provider that was told to make its socket in `folder`.
pub(super) fn parse(line: &str, folder: &Path) -> Option<Address> {
    let mut parts = line.trim_end().split('|');
    let (core, protocol, network) = (parts.next()?, parts.next()?, parts.next()?);
    let (socket, speech) = (PathBuf::from(parts.next()?), parts.next()?);
    // A certificate would mean TLS, of which `TF_REATTACH_PROVIDERS` knows nothing.
    let certificate = parts.next().unwrap_or_default();
    let protocol = protocol.parse().ok().filter(|version| PROTOCOLS.contains(version))?;
    let is_known = core == CORE && network == "unix" && speech == "grpc" && certificate.is_empty();
    (is_known && socket.parent() == Some(folder)).then_some(Address { protocol, socket })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_says_where_it_listens() {
        let check = |line: &str, expect: Option<u32>| {
            let address = parse(line, Path::new("/s/7-0"));
            let expect = expect.map(|protocol| Address { protocol, socket: "/s/7-0/plugin2678270607".into() });
            assert_eq!(address, expect, "{line}");
        };
        check("1|5|unix|/s/7-0/plugin2678270607|grpc|\n", Some(5));
        check("1|6|unix|/s/7-0/plugin2678270607|grpc", Some(6));
        check("1|6|unix|/s/7-0/plugin2678270607|grpc||true\n", Some(6));
        check("1|4|unix|/s/7-0/plugin2678270607|grpc|\n", None);
        check("2|5|unix|/s/7-0/plugin2678270607|grpc|\n", None);
        check("1|5|tcp|127.0.0.1:10000|grpc|\n", None);
        check("1|5|unix|/s/7-0/plugin2678270607|netrpc|\n", None);
        check("1|5|unix|/s/7-0/plugin2678270607|grpc|MIIB…\n", None);
        check("1|5|unix|/s/plugin2678270607|grpc|\n", None);
        check("1|5|unix|/s/7-0/../plugin2678270607|grpc|\n", None);
        check("Starting…\n", None);
        check("", None);
    }
}
