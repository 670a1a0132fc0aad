//! Protobuf messages of the plugin protocol (5.0 to 5.10, 6.0 to 6.10), as far as their fields are told apart here: a
//! field is kept or left out as it stands there, and none is ever written anew. Pure. What cannot be read gives `None`.

use crate::module::Needs;

/// Fields of `GetProviderSchema.Response`, the same in both protocols. The others are the provider's own schema (1),
/// that of `provider_meta` (5), diagnostics (4), functions (7), and what terraform 1.11 does not know (9 to 11).
const RESOURCES: u64 = 2;
const DATA: u64 = 3;
const CAPABILITIES: u64 = 6;
const EPHEMERAL: u64 = 8;

/// A field of `ServerCapabilities`: `get_provider_schema_optional`.
const OPTIONAL: u64 = 2;

/// A field of an entry of any map.
const KEY: u64 = 1;

/// A field as it stands in its message.
struct Field<'a> {
    number: u64,
    value: Value<'a>,
    whole: &'a [u8],
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// 4 or 8 bytes, of which nothing here is made.
    Fixed,
}

/// A `GetProviderSchema.Response` with the schemas that are needed, and all else that it has.
pub(super) fn reduced(schemas: &[u8], needs: &Needs) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    for field in fields(schemas)? {
        let types = match field.number {
            RESOURCES => Some(&needs.resources),
            DATA => Some(&needs.data),
            EPHEMERAL => Some(&needs.ephemeral),
            _ => None,
        };
        let is_needed = match types {
            Some(types) => types.contains(key(&field)?),
            None => true,
        };
        if is_needed {
            kept.extend_from_slice(field.whole);
        }
    }
    Some(kept)
}

/// Whether a provider with these schemas says that it need not be asked for them before anything else.
pub(super) fn is_optional(schemas: &[u8]) -> Option<bool> {
    for field in fields(schemas)? {
        if let (CAPABILITIES, Value::Bytes(capabilities)) = (field.number, field.value) {
            let said = |field: &Field<'_>| field.number == OPTIONAL && matches!(field.value, Value::Number(1..));
            return Some(fields(capabilities)?.iter().any(said));
        }
    }
    Some(false)
}

/// Whether a message has a field of this number.
pub(super) fn has(message: &[u8], number: u64) -> Option<bool> {
    Some(fields(message)?.iter().any(|field| field.number == number))
}

fn key<'a>(entry: &Field<'a>) -> Option<&'a str> {
    let Value::Bytes(entry) = entry.value else { return None };
    let mut key: &[u8] = &[];
    for field in fields(entry)?.into_iter().filter(|field| field.number == KEY) {
        let Value::Bytes(text) = field.value else { return None };
        key = text;
    }
    std::str::from_utf8(key).ok()
}

fn fields(mut message: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        fields.push(field(&mut message)?);
    }
    Some(fields)
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let start = *rest;
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Fixed)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| Value::Fixed)?,
        _ => return None,
    };
    let number = tag >> 3;
    let whole = &start[..start.len() - rest.len()];
    (number > 0).then_some(Field { number, value, whole })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A field of bytes, or a message.
    pub(in crate::provider) fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![(number << 3) | 2];
        let mut length = content.len();
        while length >= 0x80 {
            field.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(content);
        field
    }

    /// A field that is a small number.
    pub(in crate::provider) fn number(number: u8, value: u8) -> Vec<u8> {
        vec![number << 3, value]
    }

    /// An entry of a map of schemas, as long as one of the AWS provider's.
    pub(in crate::provider) fn schema(map: u8, name: &str) -> Vec<u8> {
        bytes(map, &[bytes(1, name.as_bytes()), bytes(2, &[b'x'; 3000])].concat())
    }

    pub(in crate::provider) fn needs(resources: &[&str], data: &[&str], ephemeral: &[&str]) -> Needs {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Needs { resources: set(resources), data: set(data), ephemeral: set(ephemeral) }
    }

    #[test]
    fn the_needed_schemas_are_kept_and_all_else_too() {
        let fields = [
            ("provider", bytes(1, b"provider")),
            ("bucket", schema(2, "aws_s3_bucket")),
            ("queue", schema(2, "aws_sqs_queue")),
            ("objects", schema(3, "aws_s3_objects")),
            ("bucket data", schema(3, "aws_s3_bucket")),
            ("warning", bytes(4, b"deprecated")),
            ("meta", bytes(5, b"meta")),
            ("capabilities", bytes(6, &number(2, 1))),
            ("function", schema(7, "arn_parse")),
            ("secret", schema(8, "aws_secret")),
            ("list", schema(9, "aws_s3_bucket")),
            ("a number", number(12, 7)),
            ("4 bytes", vec![(13 << 3) | 5, 1, 2, 3, 4]),
            ("8 bytes", vec![(14 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8]),
        ];
        let without = |left_out: &[&str]| -> Vec<u8> {
            let kept = fields.iter().filter(|(name, _)| !left_out.contains(name));
            kept.flat_map(|(_, field)| field.clone()).collect()
        };
        let check = |needs: &Needs, left_out: &[&str]| {
            assert_eq!(reduced(&without(&[]), needs), Some(without(left_out)), "{needs:?}");
        };
        check(&needs(&[], &[], &[]), &["bucket", "queue", "objects", "bucket data", "secret"]);
        check(
            &needs(&["aws_s3_bucket", "random_id"], &["aws_sqs_queue"], &["aws_s3_bucket"]),
            &["queue", "objects", "bucket data", "secret"],
        );
        check(&needs(&[], &["aws_s3_bucket"], &[]), &["bucket", "queue", "objects", "secret"]);
        check(&needs(&[], &[], &["aws_secret"]), &["bucket", "queue", "objects", "bucket data"]);
        let all = needs(&["aws_s3_bucket", "aws_sqs_queue"], &["aws_s3_objects", "aws_s3_bucket"], &["aws_secret"]);
        check(&all, &[]);
    }

    #[test]
    fn what_cannot_be_read_is_not_reduced() {
        let check = |message: &[u8]| assert_eq!(reduced(message, &Needs::default()), None, "{message:?}");
        check(&schema(2, "aws_s3_bucket")[..100]);
        check(&bytes(2, &[(1 << 3) | 3, (1 << 3) | 4]));
        check(&[(2 << 3) | 3, (2 << 3) | 4]);
        check(&number(2, 1));
        check(&bytes(2, &number(1, 1)));
        check(&bytes(2, &bytes(1, &[0xff, 0xfe])));
        check(&[(1 << 3) | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        check(&[0x80]);
        check(&[2, 0]);
        assert_eq!(reduced(&[], &Needs::default()), Some(Vec::new()));
    }

    #[test]
    fn a_map_may_name_a_key_after_its_value_or_not_at_all() {
        let late = bytes(2, &[bytes(2, b"schema"), bytes(1, b"aws_s3_bucket")].concat());
        let none = bytes(2, &bytes(2, b"schema"));
        let all = [late.clone(), none.clone()].concat();
        assert_eq!(reduced(&all, &needs(&["aws_s3_bucket"], &[], &[])), Some(late));
        assert_eq!(reduced(&all, &needs(&[""], &[], &[])), Some(none));
    }

    #[test]
    fn a_provider_says_whether_it_must_be_asked() {
        let check = |message: &[u8], expect: Option<bool>| assert_eq!(is_optional(message), expect, "{message:?}");
        check(&bytes(6, &[number(1, 1), number(2, 1)].concat()), Some(true));
        check(&bytes(6, &number(2, 0)), Some(false));
        check(&bytes(6, &number(1, 1)), Some(false));
        check(&bytes(1, b"provider"), Some(false));
        check(&bytes(6, &[0x80]), None);
        check(&[0x80], None);
    }

    #[test]
    fn a_field_is_found() {
        let message = [bytes(1, b"config"), bytes(2, b"")].concat();
        assert_eq!((has(&message, 1), has(&message, 2), has(&message, 3)), (Some(true), Some(true), Some(false)));
        assert_eq!((has(&[], 2), has(&[0x80], 2)), (Some(false), None));
    }
}
