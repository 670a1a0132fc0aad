//! The rules of both dialects, as tables: Score v1b1 as in its official JSON Schema, and Conductor's own.
//!
//! Conductor's own dialect is Score with less that is required, and with the extras of [`EXTRAS`] on a resource. In Score
//! each extra is an annotation of the resource.

use super::model::Dialect;
use super::pattern;
use super::shape::{ANY_TEXT, Choice, Field, Pattern, Shape, Text, optional, required};
use crate::template::MAX_VERSION_TEXT;

/// What a whole file of a dialect must look like.
pub(super) fn root(dialect: Dialect) -> &'static Shape {
    match dialect {
        Dialect::ScoreV1b1 => &SCORE,
        Dialect::Conductor => &CONDUCTOR,
    }
}

/// What Score does not know about a resource, and Conductor does.
pub(super) struct Extra {
    /// Its key in Conductor's dialect.
    pub key: &'static str,
    /// Its annotation in Score, after `conductor.dev/`.
    pub annotation: &'static str,
    pub shape: &'static Shape,
    pub form: Form,
}

/// How the text of an annotation is read.
pub(super) enum Form {
    /// As it is.
    Text,
    /// As `true` or `false`.
    Boolean,
    /// As JSON.
    Json,
}

/// All extras.
pub(super) static EXTRAS: [Extra; 8] = [
    Extra { key: "reference", annotation: "reference", shape: &REFERENCE, form: Form::Json },
    Extra { key: "sharing", annotation: "sharing", shape: &SHARING, form: Form::Text },
    Extra { key: "matching", annotation: "matching", shape: &MATCHING, form: Form::Json },
    Extra { key: "dependsOn", annotation: "depends-on", shape: &DEPENDS_ON, form: Form::Json },
    Extra { key: "pool", annotation: "pool", shape: &NAME, form: Form::Text },
    Extra { key: "templateVersion", annotation: "template-version", shape: &VERSION, form: Form::Text },
    Extra { key: "movedFrom", annotation: "moved-from", shape: &SHORT_LABEL, form: Form::Text },
    Extra { key: "retain", annotation: "retain", shape: &BOOLEAN, form: Form::Boolean },
];

// Whole files.

static SCORE: Shape = Shape::Object {
    fields: &[
        required("apiVersion", &API_VERSION),
        required("metadata", &METADATA),
        optional("service", &SERVICE),
        required("containers", &CONTAINERS),
        optional("resources", &RESOURCES),
    ],
    open: false,
    choice: Choice::Free,
};

static CONDUCTOR: Shape = Shape::Object {
    fields: &[
        optional("metadata", &OWN_METADATA),
        optional("service", &SERVICE),
        optional("containers", &CONTAINERS),
        required("resources", &OWN_RESOURCES),
    ],
    open: false,
    choice: Choice::Free,
};

static API_VERSION: Shape = Shape::Text(Text {
    pattern: Some(Pattern { matches: pattern::api_version, rule: "`score.dev/v1b1`" }),
    ..ANY_TEXT
});

static METADATA: Shape = Shape::Object {
    fields: &[required("name", &LABEL), optional("annotations", &ANNOTATIONS)],
    open: true,
    choice: Choice::Free,
};

static OWN_METADATA: Shape = Shape::Object {
    fields: &[optional("name", &SHORT_LABEL), optional("annotations", &ANNOTATIONS)],
    open: true,
    choice: Choice::Free,
};

static ANNOTATIONS: Shape = Shape::Map {
    keys: Text {
        minimum: 2,
        maximum: 316,
        pattern: Some(Pattern {
            matches: pattern::annotation_name,
            rule: "2 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-', starting and ending with a letter or \
                   digit, with a host name and '/' before them or without",
        }),
        ..ANY_TEXT
    },
    values: &STRING,
    minimum: 0,
};

// Services.

static SERVICE: Shape = Shape::Object { fields: &[optional("ports", &PORTS)], open: false, choice: Choice::Free };

static PORTS: Shape = Shape::Map { keys: LABEL_RULE, values: &SERVICE_PORT, minimum: 0 };

static SERVICE_PORT: Shape = Shape::Object {
    fields: &[required("port", &PORT), optional("protocol", &PROTOCOL), optional("targetPort", &PORT)],
    open: false,
    choice: Choice::Free,
};

static PORT: Shape = Shape::Integer { minimum: 1, maximum: 65_535 };

static PROTOCOL: Shape = Shape::Text(Text { values: &["TCP", "UDP"], ..ANY_TEXT });

// Resources.

static RESOURCES: Shape = Shape::Map { keys: LABEL_RULE, values: &RESOURCE, minimum: 0 };

static OWN_RESOURCES: Shape = Shape::Map { keys: SHORT_LABEL_RULE, values: &OWN_RESOURCE, minimum: 0 };

static RESOURCE: Shape = Shape::Object {
    fields: &[
        required("type", &TYPE),
        optional("class", &TYPE),
        optional("id", &ID),
        optional("metadata", &RESOURCE_METADATA),
        optional("params", &OPEN_MAP),
    ],
    open: false,
    choice: Choice::Free,
};

static OWN_RESOURCE: Shape = Shape::Object {
    fields: &[
        required("type", &TYPE),
        optional("class", &TYPE),
        optional("id", &ID),
        optional("metadata", &RESOURCE_METADATA),
        optional("params", &OPEN_MAP),
        optional("reference", &REFERENCE),
        optional("sharing", &SHARING),
        optional("matching", &MATCHING),
        optional("dependsOn", &DEPENDS_ON),
        optional("pool", &NAME),
        optional("templateVersion", &VERSION),
        optional("movedFrom", &SHORT_LABEL),
        optional("retain", &BOOLEAN),
    ],
    open: false,
    choice: Choice::Free,
};

static TYPE: Shape = Shape::Text(Text {
    minimum: 2,
    maximum: 63,
    pattern: Some(Pattern {
        matches: pattern::type_name,
        rule: "2 to 63 characters of A-Z, a-z, 0-9 and '-', not starting or ending with '-'",
    }),
    ..ANY_TEXT
});

static ID: Shape = Shape::Text(Text {
    minimum: 2,
    maximum: 63,
    pattern: Some(Pattern {
        matches: pattern::resource_id,
        rule: "labels of a-z, 0-9 and '-', not starting or ending with '-', joined by '.'",
    }),
    ..ANY_TEXT
});

static RESOURCE_METADATA: Shape =
    Shape::Object { fields: &[optional("annotations", &ANNOTATIONS)], open: true, choice: Choice::Free };

// Extras.

static REFERENCE: Shape = Shape::Object {
    fields: &[required("mode", &REFERENCE_MODE), optional("name", &NAME), optional("id", &UUID)],
    open: false,
    choice: Choice::Free,
};

static REFERENCE_MODE: Shape = Shape::Text(Text { values: &["dedicated", "shared", "existing"], ..ANY_TEXT });

static SHARING: Shape = Shape::Text(Text { values: &["dedicated", "shared", "always"], ..ANY_TEXT });

static MATCHING: Shape = Shape::Object {
    fields: &[
        optional("scope", &MATCHING_SCOPE),
        optional("sharingPolicy", &MATCHING_POLICY),
        optional("matchOn", &NON_EMPTY_LIST),
        optional("maxConsumers", &COUNT),
    ],
    open: false,
    choice: Choice::Free,
};

static MATCHING_SCOPE: Shape = Shape::Text(Text { values: &["environment", "organisation", "global"], ..ANY_TEXT });

static MATCHING_POLICY: Shape = Shape::Text(Text { values: &["dedicated", "shared", "conditional"], ..ANY_TEXT });

static DEPENDS_ON: Shape = Shape::List(&DEPENDENCY);

static DEPENDENCY: Shape = Shape::TextOr { text: &SHORT_LABEL, other: &DEPENDENCY_OBJECT };

static DEPENDENCY_OBJECT: Shape = Shape::Object {
    fields: &[required("resource", &SHORT_LABEL), optional("optional", &BOOLEAN)],
    open: false,
    choice: Choice::Free,
};

static VERSION: Shape = Shape::Text(Text {
    maximum: MAX_VERSION_TEXT,
    pattern: Some(Pattern { matches: pattern::version, rule: "a semantic version, such as `1.2.3`" }),
    ..ANY_TEXT
});

static NAME: Shape = Shape::Text(Text {
    minimum: 1,
    maximum: 63,
    pattern: Some(Pattern {
        matches: pattern::name,
        rule: "1 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-', starting and ending with a letter or digit",
    }),
    ..ANY_TEXT
});

static UUID: Shape = Shape::Text(Text {
    pattern: Some(Pattern { matches: pattern::uuid, rule: "the id of a resource, a UUID" }),
    ..ANY_TEXT
});

static COUNT: Shape = Shape::Integer { minimum: 1, maximum: u32::MAX };

// Containers.

static CONTAINERS: Shape = Shape::Map { keys: LABEL_RULE, values: &CONTAINER, minimum: 1 };

static CONTAINER: Shape = Shape::Object {
    fields: &[
        required("image", &NON_EMPTY),
        optional("command", &STRINGS),
        optional("args", &STRINGS),
        optional("variables", &VARIABLES),
        optional("files", &FILES),
        optional("volumes", &VOLUMES),
        optional("before", &BEFORE),
        optional("resources", &COMPUTE),
        optional("livenessProbe", &PROBE),
        optional("readinessProbe", &PROBE),
    ],
    open: false,
    choice: Choice::Free,
};

static VARIABLES: Shape = Shape::Map {
    keys: Text {
        minimum: 1,
        pattern: Some(Pattern { matches: pattern::variable_name, rule: "without '='" }),
        ..ANY_TEXT
    },
    values: &STRING,
    minimum: 0,
};

static FILES: Shape = Shape::ListOr { list: &FILE_LIST, other: &FILE_MAP };

static FILE_LIST: Shape = Shape::List(&LISTED_FILE);

static FILE_MAP: Shape = Shape::Map { keys: ANY_TEXT, values: &FILE, minimum: 0 };

const FILE_SOURCES: &[&str] = &["content", "binaryContent", "source"];

/// In a map the key is the target, and `target` is refused.
static FILE: Shape = Shape::Object {
    fields: &[
        optional("mode", &FILE_MODE),
        optional("source", &NON_EMPTY),
        optional("content", &STRING),
        optional("binaryContent", &STRING),
        optional("noExpand", &BOOLEAN),
    ],
    open: false,
    choice: Choice::ExactlyOne(FILE_SOURCES),
};

static LISTED_FILE: Shape = Shape::Object {
    fields: &[
        optional("target", &NON_EMPTY),
        optional("mode", &FILE_MODE),
        optional("source", &NON_EMPTY),
        optional("content", &STRING),
        optional("binaryContent", &STRING),
        optional("noExpand", &BOOLEAN),
    ],
    open: false,
    choice: Choice::ExactlyOne(FILE_SOURCES),
};

static FILE_MODE: Shape = Shape::Text(Text {
    pattern: Some(Pattern { matches: pattern::file_mode, rule: "three octal digits, with a 0 before them or without" }),
    ..ANY_TEXT
});

static VOLUMES: Shape = Shape::ListOr { list: &VOLUME_LIST, other: &VOLUME_MAP };

static VOLUME_LIST: Shape = Shape::List(&LISTED_VOLUME);

static VOLUME_MAP: Shape = Shape::Map { keys: ANY_TEXT, values: &VOLUME, minimum: 0 };

static VOLUME: Shape = Shape::Object {
    fields: &[required("source", &STRING), optional("path", &STRING), optional("readOnly", &BOOLEAN)],
    open: false,
    choice: Choice::Free,
};

static LISTED_VOLUME: Shape = Shape::Object {
    fields: &[
        required("source", &STRING),
        optional("path", &STRING),
        optional("target", &STRING),
        optional("readOnly", &BOOLEAN),
    ],
    open: false,
    choice: Choice::Free,
};

static BEFORE: Shape = Shape::Map { keys: LABEL_RULE, values: &BEFORE_CONTAINER, minimum: 0 };

static BEFORE_CONTAINER: Shape =
    Shape::Object { fields: &[required("ready", &READY)], open: false, choice: Choice::Free };

static READY: Shape = Shape::Text(Text { values: &["started", "healthy", "complete"], ..ANY_TEXT });

static COMPUTE: Shape = Shape::Object {
    fields: &[optional("limits", &LIMITS), optional("requests", &LIMITS)],
    open: false,
    choice: Choice::Free,
};

static LIMITS: Shape =
    Shape::Object { fields: &[optional("memory", &MEMORY), optional("cpu", &CPU)], open: false, choice: Choice::Free };

static MEMORY: Shape = Shape::Text(Text {
    pattern: Some(Pattern { matches: pattern::memory, rule: "an amount of memory, such as `125M` or `1.5Gi`" }),
    ..ANY_TEXT
});

static CPU: Shape = Shape::Text(Text {
    pattern: Some(Pattern { matches: pattern::cpu, rule: "a number of CPUs, such as `2`, `0.5` or `125m`" }),
    ..ANY_TEXT
});

static PROBE: Shape = Shape::Object {
    fields: &[optional("httpGet", &HTTP_PROBE), optional("exec", &EXEC_PROBE)],
    open: false,
    choice: Choice::AtLeastOne(&["httpGet", "exec"]),
};

static EXEC_PROBE: Shape =
    Shape::Object { fields: &[required("command", &STRINGS)], open: false, choice: Choice::Free };

static HTTP_PROBE: Shape = Shape::Object {
    fields: &[
        optional("host", &NON_EMPTY),
        optional("scheme", &SCHEME),
        required("path", &STRING),
        required("port", &PORT),
        optional("httpHeaders", &HEADERS),
    ],
    open: false,
    choice: Choice::Free,
};

static SCHEME: Shape = Shape::Text(Text { values: &["HTTP", "HTTPS"], ..ANY_TEXT });

static HEADERS: Shape = Shape::List(&HEADER);

static HEADER: Shape = Shape::Object {
    fields: &[required("name", &HEADER_NAME), required("value", &NON_EMPTY)],
    open: false,
    choice: Choice::Free,
};

static HEADER_NAME: Shape = Shape::Text(Text {
    pattern: Some(Pattern { matches: pattern::header_name, rule: "one or more of A-Z, a-z, 0-9, '_' and '-'" }),
    ..ANY_TEXT
});

// Common parts.

static BOOLEAN: Shape = Shape::Boolean;

static STRING: Shape = Shape::Text(ANY_TEXT);

static STRINGS: Shape = Shape::List(&STRING);

static NON_EMPTY: Shape = Shape::Text(Text { minimum: 1, ..ANY_TEXT });

static NON_EMPTY_LIST: Shape = Shape::List(&NON_EMPTY);

static NO_FIELDS: [Field; 0] = [];

static OPEN_MAP: Shape = Shape::Object { fields: &NO_FIELDS, open: true, choice: Choice::Free };

static LABEL: Shape = Shape::Text(LABEL_RULE);

static SHORT_LABEL: Shape = Shape::Text(SHORT_LABEL_RULE);

const LABEL_RULE: Text = Text {
    minimum: 2,
    maximum: 63,
    pattern: Some(Pattern {
        matches: pattern::label,
        rule: "2 to 63 characters of a-z, 0-9 and '-', not starting or ending with '-'",
    }),
    ..ANY_TEXT
};

const SHORT_LABEL_RULE: Text = Text {
    minimum: 1,
    maximum: 63,
    pattern: Some(Pattern {
        matches: pattern::short_label,
        rule: "1 to 63 characters of a-z, 0-9 and '-', not starting or ending with '-'",
    }),
    ..ANY_TEXT
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extra_is_a_key_of_a_resource_in_conductors_dialect() {
        let Shape::Object { fields, .. } = &OWN_RESOURCE else { panic!("a resource is an object") };
        let Shape::Object { fields: score, .. } = &RESOURCE else { panic!("a resource is an object") };
        let own: Vec<_> = fields.iter().map(|field| field.name).collect();
        let composed: Vec<_> =
            score.iter().map(|field| field.name).chain(EXTRAS.iter().map(|extra| extra.key)).collect();
        assert_eq!(own, composed);
    }

    #[test]
    fn an_annotation_is_the_kebab_name_of_its_key() {
        for extra in &EXTRAS {
            let kebab: String = extra
                .key
                .chars()
                .flat_map(|char| match char.is_ascii_uppercase() {
                    true => vec!['-', char.to_ascii_lowercase()],
                    false => vec![char],
                })
                .collect();
            assert_eq!(extra.annotation, kebab);
        }
    }
}
