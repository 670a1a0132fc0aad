//! Which file a path in a configuration names, as far as that can be told before it runs.
//!
//! Where terraform runs, a path that begins with nothing else lies in the folder that Conductor makes for the run,
//! beside what it puts there: only what begins with `path.module` is the template's own.

use hcl::edit::expr::{Expression, TraversalOperator};
use hcl::edit::template::{Element, Template};

use super::json::Json;
use super::syntax::{self, Value};
use super::tree::join;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// This file or folder of the archive.
    Inside(String),
    /// Something else: how it is written.
    Outside(String),
    /// That is known only when it runs.
    Unknown,
}

/// What a value names that stands in this folder of the archive.
pub(super) fn of_value(value: Value<'_>, folder: &str) -> Reach {
    match value {
        Value::Hcl(expression, _) => of_expression(expression, folder),
        Value::Json(Json::Text(text, _)) => {
            syntax::template(text).map_or(Reach::Unknown, |template| of_template(&template, folder))
        }
        Value::Json(_) => Reach::Unknown,
    }
}

/// What an expression names.
pub(super) fn of_expression(expression: &Expression, folder: &str) -> Reach {
    match expression {
        Expression::Parenthesis(inner) => of_expression(inner.inner(), folder),
        Expression::String(text) => Reach::Outside(text.value().clone()),
        Expression::StringTemplate(template) => of_template(template, folder),
        expression => match path(expression) {
            Some("module") => Reach::Inside(folder.to_owned()),
            Some(other) => Reach::Outside(format!("path.{other}")),
            None => Reach::Unknown,
        },
    }
}

fn of_template(template: &Template, folder: &str) -> Reach {
    let mut elements = template.iter();
    let first = match elements.next() {
        Some(Element::Interpolation(first)) => path(&first.expr),
        Some(Element::Literal(text)) if template.len() == 1 => return Reach::Outside(text.as_str().to_owned()),
        _ => None,
    };
    let rest: Option<String> = elements.map(|element| element.as_literal().map(|text| text.as_str())).collect();
    let (Some(first), Some(rest)) = (first, rest) else { return Reach::Unknown };
    let begins_below = rest.is_empty() || rest.starts_with('/');
    let inside = if first == "module" && begins_below { join(folder, &rest) } else { None };
    inside.map_or_else(|| Reach::Outside(format!("${{path.{first}}}{rest}")), Reach::Inside)
}

/// `module` of `path.module`, and so on.
fn path(expression: &Expression) -> Option<&str> {
    let Expression::Traversal(traversal) = expression else { return None };
    let is_path = traversal.expr.as_variable().is_some_and(|name| name.as_str() == "path");
    match traversal.operators.as_slice() {
        [operator] if is_path => match operator.value() {
            TraversalOperator::GetAttr(name) => Some(name.as_str()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a pattern of `fileset` finds nothing but what lies below its folder.
pub(super) fn stays_below(pattern: &Expression) -> bool {
    pattern.as_str().is_some_and(|pattern| !pattern.contains("..") && !pattern.contains('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Reach {
        of_expression(&text.parse().expect("an expression"), "parts/a")
    }

    #[test]
    fn only_what_begins_with_the_modules_own_path_and_stays_in_the_archive_is_inside() {
        let inside = |text: &str, path: &str| assert_eq!(reach(text), Reach::Inside(path.to_owned()), "{text}");
        inside("path.module", "parts/a");
        inside("(path.module)", "parts/a");
        inside("\"${path.module}\"", "parts/a");
        inside("\"${path.module}/x.json\"", "parts/a/x.json");
        inside("\"${ path.module }/./b//x.json\"", "parts/a/b/x.json");
        inside("\"${path.module}/../b/x.json\"", "parts/b/x.json");
        inside("\"${path.module}/../../x.json\"", "x.json");

        let outside = |text: &str, path: &str| assert_eq!(reach(text), Reach::Outside(path.to_owned()), "{text}");
        outside("\"x.json\"", "x.json");
        outside("\"/proc/self/environ\"", "/proc/self/environ");
        outside("\"~/.aws/credentials\"", "~/.aws/credentials");
        outside("path.root", "path.root");
        outside("path.cwd", "path.cwd");
        outside("\"${path.root}/credentials\"", "${path.root}/credentials");
        outside("\"${path.module}/../../../credentials\"", "${path.module}/../../../credentials");
        outside("\"${path.module}s/x.json\"", "${path.module}s/x.json");
        outside("\"${path.module}/b/../../../../x\"", "${path.module}/b/../../../../x");

        for text in [
            "var.file",
            "\"${var.folder}/x.json\"",
            "\"${path.module}/${var.name}\"",
            "\"${path.module}/%{ if true }..%{ endif }/x\"",
            "\"/proc/${var.name}\"",
            "\"${path[\"module\"]}/x\"",
            "\"${path.module.x}/x\"",
            "\"${module}/x\"",
            "join(\"/\", [path.module, \"x\"])",
            "[path.module]",
            "<<X\n${path.module}/x\nX",
            "true ? path.module : \"/\"",
        ] {
            assert_eq!(reach(text), Reach::Unknown, "{text}");
        }
    }

    #[test]
    fn a_text_in_json_is_a_template() {
        let check = |text: &str, expect: Reach| {
            let json = Json::Text(text.to_owned(), 1);
            assert_eq!(of_value(Value::Json(&json), ""), expect, "{text}");
        };
        check("${path.module}/x", Reach::Inside("x".to_owned()));
        check("x", Reach::Outside("x".to_owned()));
        check("${var.x}", Reach::Unknown);
        check("${", Reach::Unknown);
    }

    #[test]
    fn a_pattern_that_could_lead_elsewhere_does_not_stay() {
        let check = |pattern: &str, expect: bool| {
            assert_eq!(stays_below(&pattern.parse().expect("an expression")), expect, "{pattern}");
        };
        check("\"**/*.json\"", true);
        check("\"../*\"", false);
        check("\"{..,x}/*\"", false);
        check("\"\\\\.\\\\./*\"", false);
        check("var.pattern", false);
        check("\"${var.pattern}\"", false);
    }
}
