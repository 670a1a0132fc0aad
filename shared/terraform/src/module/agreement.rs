//! Texts that terraform's parser and ours could take for different things: what was looked at would not be what runs.
//! They are refused, whatever they mean. What only one of the two can parse at all needs no rule.

use hcl::edit::Span;
use hcl::edit::structure::Body;
use hcl::edit::template::{ForTemplateExpr, HeredocTemplate, Template};
use hcl::edit::visit::{self, Visit};

/// What to say of such a text.
pub(super) const MESSAGE: &str =
    "not clear where a text ends or which part of it is a template; write the heredoc or the escape in another way";

/// Where a configuration file is such a text.
pub(super) fn in_body(body: &Body, text: &str) -> Option<usize> {
    let mut heredocs = Heredocs { text, found: None };
    heredocs.visit_body(body);
    heredocs.found.or_else(|| marker(text))
}

/// Where a template is such a text.
pub(super) fn in_template(template: &Template, text: &str) -> Option<usize> {
    let mut heredocs = Heredocs { text, found: None };
    heredocs.visit_template(template);
    heredocs.found.or_else(|| marker(text))
}

/// `$${` is an escape. With one more `$` or `%` before it, it depends on who counts.
fn marker(text: &str) -> Option<usize> {
    text.as_bytes().windows(4).position(|bytes| {
        let [first, second, third, fourth] = bytes else { return false };
        matches!(first, b'$' | b'%') && matches!(second, b'$' | b'%') && second == third && *fourth == b'{'
    })
}

struct Heredocs<'a> {
    text: &'a str,
    found: Option<usize>,
}

impl Heredocs<'_> {
    /// Terraform ends a heredoc at the first line that is its marker and nothing else, with any space around it; ours
    /// neither looks at its very first line nor at what stands behind the marker, and takes fewer things for space.
    fn ends_elsewhere(&self, heredoc: &HeredocTemplate) -> bool {
        let Some(span) = heredoc.span() else { return true };
        let (Some(whole), Some(rest)) = (self.text.get(span.clone()), self.text.get(span.end..)) else { return true };
        let Some((_, content)) = whole.split_once('\n') else { return true };
        let (lines, last) = content.rsplit_once('\n').unwrap_or(("", content));
        let is_marker = |line: &str| line.trim() == heredoc.delimiter.as_str();
        let behind = rest.split('\n').next().unwrap_or_default();
        lines.split('\n').any(is_marker) || !is_marker(last) || !behind.trim().is_empty()
    }
}

impl Visit for Heredocs<'_> {
    fn visit_heredoc_template(&mut self, heredoc: &HeredocTemplate) {
        if self.found.is_none() && self.ends_elsewhere(heredoc) {
            self.found = Some(heredoc.span().map_or(0, |span| span.start));
        }
        visit::visit_heredoc_template(self, heredoc);
    }

    fn visit_for_template_expr(&mut self, directive: &ForTemplateExpr) {
        // The visitor itself leaves it out.
        self.visit_expr(&directive.collection_expr);
        visit::visit_for_template_expr(self, directive);
    }
}

#[cfg(test)]
mod tests {
    use hcl::edit::parser;

    use super::*;

    fn check(text: &str, expect: bool) {
        let body = parser::parse_body(text).expect("a configuration");
        assert_eq!(in_body(&body, text).is_none(), expect, "{text:?}");
    }

    #[test]
    fn a_heredoc_ends_where_terraform_ends_it() {
        check("a = <<EOT\nEOT\n", true);
        check("a = <<EOT\ntext EOT\nEOTS\nEOT\n", true);
        check("a = <<-EOT\r\n  text\r\n  EOT\r\nb = 1\r\n", true);
        check("a = <<-EOT\n  ${b}\n  %{ for c in d }x%{ endfor }\n  EOT  \nb = [<<X\nX\n]\n", true);
        // Ours goes on to the second marker.
        check("a = <<EOT\nEOT\nb = 1\nc = <<EOT\nEOT\n", false);
        check("a = <<EOT\nx\n\u{a0}EOT\nEOT\n", false);
        check("a = <<EOT\nx\n\u{b}EOT\nEOT\n", false);
        check("a = <<EOT\nx\n\rEOT\nEOT\n", false);
        // Terraform's goes on to the second.
        check("a = <<EOT\nx\nEOT # text\n", false);
        check("a = f(<<EOT\nx\nEOT)\n", false);
        check("a = <<EOT\n%{ for b in [<<X\nX\n,<<X\nX\n] }x%{ endfor }\nEOT\n", false);
    }

    #[test]
    fn an_escape_is_one_that_everybody_counts_alike() {
        check("a = \"$${b} %%{c} $$ %% 100%\"\n", true);
        check("a = \"${b}$${c}\"\n", true);
        check("a = \"$$${b}\"\n", false);
        check("a = \"%$${b}\"\n", false);
        check("a = \"$%%{b}\"\n", false);
        check("a = <<EOT\n%%%{b}\nEOT\n", false);
        check("# $$${b}\n", false);
    }
}
