//! What a problem with a Score file is, and the list of their codes.

use serde::Serialize;

use super::yaml::Position;

/// One thing that is wrong with a Score file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Stable, `snake_case`; one of [`code::ALL`].
    pub code: &'static str,
    /// Where, as a JSON Pointer (RFC 6901); empty for the whole file.
    pub pointer: String,
    /// The line in the text, from 1; none if the file came as JSON values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column in that line, in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The rule that is broken, in words.
    pub detail: String,
}

impl Problem {
    /// A problem that has no line yet.
    pub(super) fn new(code: &'static str, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, pointer: pointer.into(), line: None, column: None, detail: detail.into() }
    }

    /// The same problem, with the line and column of `position`.
    pub(super) fn at(mut self, position: Option<Position>) -> Self {
        self.line = position.map(|position| position.line);
        self.column = position.map(|position| position.column);
        self
    }
}

/// The pointer of `key` below `pointer`, escaped as RFC 6901 says.
pub(super) fn child(pointer: &str, key: &str) -> String {
    let escaped = key.replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{escaped}")
}

/// The codes of all problems that reading a Score file can have.
pub mod code {
    /// The text is longer than [`MAX_FILE_BYTES`](crate::score::MAX_FILE_BYTES), or its names are too long for its values.
    pub const SCORE_TOO_LARGE: &str = "score_too_large";
    /// The text is no YAML, or uses what is refused: several documents, merge keys, aliases that explode.
    pub const YAML_INVALID: &str = "yaml_invalid";
    /// A key twice in the same map.
    pub const DUPLICATE_KEY: &str = "duplicate_key";
    /// A key that the dialect does not know.
    pub const UNKNOWN_KEY: &str = "unknown_key";
    /// A key that the dialect demands.
    pub const MISSING_KEY: &str = "missing_key";
    /// Keys that exclude each other.
    pub const CONFLICTING_KEYS: &str = "conflicting_keys";
    /// A value of another type than the rule says.
    pub const WRONG_TYPE: &str = "wrong_type";
    /// A text or key that does not look as the rule says.
    pub const PATTERN_MISMATCH: &str = "pattern_mismatch";
    /// A text or key with too many characters.
    pub const TOO_LONG: &str = "too_long";
    /// A text or key with too few characters, or a map with too few entries.
    pub const TOO_SHORT: &str = "too_short";
    /// A number outside its range.
    pub const OUT_OF_RANGE: &str = "out_of_range";
    /// A text that is none of the values allowed.
    pub const NOT_ONE_OF: &str = "not_one_of";
    /// An annotation `conductor.dev/…` whose text cannot be read.
    pub const ANNOTATION_INVALID: &str = "annotation_invalid";
    /// Two ways to say how a resource is shared, which differ.
    pub const SHARING_CONFLICT: &str = "sharing_conflict";
    /// A placeholder that cannot be read.
    pub const PLACEHOLDER_INVALID: &str = "placeholder_invalid";
    /// A placeholder that starts with something else than the dialect knows.
    pub const PLACEHOLDER_UNKNOWN_ROOT: &str = "placeholder_unknown_root";
    /// A placeholder of a resource that is not in the file.
    pub const PLACEHOLDER_UNKNOWN_RESOURCE: &str = "placeholder_unknown_resource";
    /// A placeholder of an output that the resource does not have.
    pub const PLACEHOLDER_UNKNOWN_OUTPUT: &str = "placeholder_unknown_output";
    /// A placeholder of metadata that the file does not have.
    pub const PLACEHOLDER_UNKNOWN_METADATA: &str = "placeholder_unknown_metadata";
    /// A dependency, not optional, on a resource that is not in the file.
    pub const UNKNOWN_DEPENDENCY: &str = "unknown_dependency";
    /// Resources that depend on each other in a circle.
    pub const DEPENDENCY_CYCLE: &str = "dependency_cycle";

    /// All of them.
    pub const ALL: &[&str] = &[
        SCORE_TOO_LARGE,
        YAML_INVALID,
        DUPLICATE_KEY,
        UNKNOWN_KEY,
        MISSING_KEY,
        CONFLICTING_KEYS,
        WRONG_TYPE,
        PATTERN_MISMATCH,
        TOO_LONG,
        TOO_SHORT,
        OUT_OF_RANGE,
        NOT_ONE_OF,
        ANNOTATION_INVALID,
        SHARING_CONFLICT,
        PLACEHOLDER_INVALID,
        PLACEHOLDER_UNKNOWN_ROOT,
        PLACEHOLDER_UNKNOWN_RESOURCE,
        PLACEHOLDER_UNKNOWN_OUTPUT,
        PLACEHOLDER_UNKNOWN_METADATA,
        UNKNOWN_DEPENDENCY,
        DEPENDENCY_CYCLE,
    ];
}

#[cfg(test)]
mod tests {
    use super::child;

    #[test]
    fn a_pointer_escapes_tildes_and_slashes() {
        assert_eq!(child("/a", "b/c~d"), "/a/b~1c~0d");
        assert_eq!(child("", "conductor.dev/pool"), "/conductor.dev~1pool");
    }
}
