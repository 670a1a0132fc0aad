//! The patterns of the official schema, as checks of characters. Lengths in characters are checked beside them.

/// `^score\.dev/v1b1$`: the only version of Score that is read.
pub(super) fn api_version(text: &str) -> bool {
    text == "score.dev/v1b1"
}

/// `^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$`: an RFC 1123 label of 2 to 63 characters.
pub(super) fn label(text: &str) -> bool {
    framed(text, 2, is_lower_alphanumeric, |byte| is_lower_alphanumeric(byte) || byte == b'-')
}

/// `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`: an RFC 1123 label of 1 to 63 characters.
pub(super) fn short_label(text: &str) -> bool {
    framed(text, 1, is_lower_alphanumeric, |byte| is_lower_alphanumeric(byte) || byte == b'-')
}

/// `^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`: the name of a shared resource or of a pool.
pub(super) fn name(text: &str) -> bool {
    framed(text, 1, is_alphanumeric, |byte| is_alphanumeric(byte) || b"._-".contains(&byte))
}

/// `^[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9]$`: a resource type or class.
pub(super) fn type_name(text: &str) -> bool {
    framed(text, 2, is_alphanumeric, |byte| is_alphanumeric(byte) || byte == b'-')
}

/// Labels of any length, joined by dots: a resource's `id`.
pub(super) fn resource_id(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| is_lower_alphanumeric(byte) || byte == b'-')
    })
}

/// A name of 2 to 63 characters, with a host name of labels and a slash before it, or without.
pub(super) fn annotation_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let name_is_good = framed(name, 2, is_alphanumeric, |byte| is_alphanumeric(byte) || b"._-".contains(&byte));
    name_is_good && prefix.is_none_or(|prefix| prefix.split('.').all(label))
}

/// `^[^=]+$`: the name of an environment variable.
pub(super) fn variable_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('=')
}

/// `^[A-Za-z0-9_-]+$`: the name of an HTTP header.
pub(super) fn header_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| is_alphanumeric(byte) || byte == b'_' || byte == b'-')
}

/// `^0?[0-7]{3}$`: a file mode.
pub(super) fn file_mode(text: &str) -> bool {
    let octal = |digits: &str| digits.len() == 3 && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    octal(text) || text.strip_prefix('0').is_some_and(octal)
}

/// `^(0\.\d+|[1-9]\d*(\.\d+)?)(K|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$`: an amount of memory.
pub(super) fn memory(text: &str) -> bool {
    const UNITS: [&str; 12] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "K", "M", "G", "T", "P", "E"];
    let number = UNITS.iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or(text);
    match number.split_once('.') {
        Some((whole, fraction)) => (whole == "0" || is_positive(whole)) && is_digits(fraction),
        None => is_positive(number),
    }
}

/// `^\d+(?:m|\.\d+)?$`: a number of CPUs.
pub(super) fn cpu(text: &str) -> bool {
    match text.split_once('.') {
        Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
        None => is_digits(text.strip_suffix('m').unwrap_or(text)),
    }
}

/// A UUID as it is usually written: the id of a resource that exists.
pub(super) fn uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// A semantic version (semver 2.0.0).
pub(super) fn version(text: &str) -> bool {
    semver::Version::parse(text).is_ok()
}

/// `minimum` to 63 characters, the first and last of which are `edge`, all of them `inner`.
fn framed(text: &str, minimum: usize, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    (minimum..=63).contains(&text.len())
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(edge)
        && text.bytes().next_back().is_some_and(edge)
}

fn is_positive(text: &str) -> bool {
    !text.starts_with('0') && is_digits(text)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(matches: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(matches(text), "{text:?} should match");
        }
        for text in bad {
            assert!(!matches(text), "{text:?} should not match");
        }
    }

    #[test]
    fn names_are_labels() {
        let longest = "a".repeat(63);
        let too_long = "a".repeat(64);
        check(
            label,
            &["ab", "a-b", "1a", longest.as_str()],
            &["", "a", "-ab", "ab-", "aB", "a_b", "ä-b", too_long.as_str(), "ab\n"],
        );
        check(short_label, &["a", "ab"], &["", "-", "A"]);
        check(name, &["a", "Prod.db_1"], &["", ".a", "a b", "a/b"]);
        check(type_name, &["s3", "Resource-One"], &["s", "a.b", "-a"]);
    }

    #[test]
    fn ids_are_labels_joined_by_dots() {
        check(resource_id, &["a", "a.b", "a--b.c", "shared-type-three"], &["", ".a", "a.", "a..b", "-a", "a-.b", "A"]);
        check(
            uuid,
            &["0190b5c4-7c2e-7000-8000-000000000001"],
            &["", "0190b5c4", "0190b5c4-7c2e-7000-8000-00000000000g", "0190b5c47c2e-7000-8000-000000000001-"],
        );
    }

    #[test]
    fn annotations_may_have_a_host_name_before_them() {
        check(
            annotation_name,
            &["tags", "prefix.com/Another-Key_Annotation.2", "conductor.dev/depends-on"],
            &["a", "/ab", "a.b/cd", "aa.bb/c", "aa/bb/cc", "Aa.bb/cc", ".ab"],
        );
    }

    #[test]
    fn amounts_have_units() {
        check(
            memory,
            &["1", "128M", "1.5Gi", "0.5K", "10Ei", "1.0"],
            &["", "0", "0K", "01", ".5", "1.", "1KiB", "1k", "-1", "0.", "1 M"],
        );
        check(cpu, &["0", "1", "1000m", "0.24", "00.1"], &["", "m", ".5", "1.", "1.5m", "-1", "1M"]);
        check(file_mode, &["600", "0644"], &["", "60", "00644", "0888", "1644"]);
    }

    #[test]
    fn other_names_follow_their_pattern() {
        check(variable_name, &["A", "a b", "é"], &["", "A=B"]);
        check(header_name, &["X-Name_1"], &["", "a b", "é"]);
        check(version, &["1.2.3", "1.0.0-rc.1"], &["1.2", "v1.2.3", ""]);
    }
}
