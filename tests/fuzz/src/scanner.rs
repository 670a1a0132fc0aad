//! Where terraform itself sees the blocks of a configuration file begin: after its scanner, `hclsyntax/scan_tokens.rl`,
//! as small as it can be. What was inspected is held against it, so that nothing can be text to the one and a block to
//! the other.
//!
//! It knows less than terraform: where it is not sure that terraform would take the file as it does, it says nothing.

/// A block at the root of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'t> {
    /// `resource`
    pub kind: &'t str,
    /// `["terraform_data", "it"]`
    pub labels: Vec<&'t str>,
}

/// What terraform sees in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocks<'t> {
    /// The blocks at its root.
    pub root: Vec<Header<'t>>,
    /// The names of the provisioners below.
    pub provisioners: Vec<&'t str>,
}

/// The blocks of a file; none where this scanner is not sure.
pub fn blocks(text: &str) -> Option<Blocks<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut scanner = Scanner { text, at: 0, modes: vec![Mode::Code], braces: 0, ends: Vec::new() };
    let mut blocks = Blocks::default();
    // Tokens of the line, and whether it ends a block at the root.
    let (mut line, mut closed) = (Vec::new(), false);
    while scanner.at < text.len() {
        let depth = scanner.braces;
        let Some(token) = scanner.step()? else { continue };
        match token {
            Token::Line => {
                if depth == 0 && !closed && !line.is_empty() {
                    return None;
                }
                line.clear();
                closed = false;
                continue;
            }
            _ if closed => return None,
            Token::Other if depth == 0 => return None,
            Token::Open if depth == 0 => blocks.root.push(header(&line)?),
            Token::Open => {
                if let [Token::Word("provisioner"), Token::Word(name) | Token::Quoted(name)] = line.as_slice() {
                    blocks.provisioners.push(*name);
                }
            }
            Token::Close => closed = scanner.braces == 0,
            Token::Word(_) | Token::Quoted(_) | Token::Other => {}
        }
        line.push(token);
    }
    (scanner.modes.len() == 1 && scanner.braces == 0 && (closed || line.is_empty())).then_some(blocks)
}

fn header<'t>(line: &[Token<'t>]) -> Option<Header<'t>> {
    let (Token::Word(kind), labels) = line.split_first()? else { return None };
    let labels = labels.iter().map(|token| match token {
        Token::Word(label) => Some(*label),
        // An escape would have to be undone first.
        Token::Quoted(label) => Some(*label).filter(|label| !label.contains(['\\', '$', '%'])),
        Token::Open | Token::Close | Token::Line | Token::Other => None,
    });
    Some(Header { kind, labels: labels.collect::<Option<_>>()? })
}

/// What stands in a file outside of templates.
#[derive(Debug, Clone, Copy)]
enum Token<'t> {
    Word(&'t str),
    Quoted(&'t str),
    Open,
    Close,
    Line,
    Other,
}

enum Mode<'t> {
    Code,
    Quoted {
        /// Where its text begins.
        from: usize,
    },
    Heredoc {
        marker: &'t str,
        /// Whether nothing but text has stood in this line yet, so that it may be the last.
        whole_line: bool,
    },
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    modes: Vec<Mode<'t>>,
    /// Braces that are open.
    braces: usize,
    /// How many were, where a template's code began.
    ends: Vec<usize>,
}

impl<'t> Scanner<'t> {
    /// Goes on by a token or a part of one; `None` where it is not sure.
    fn step(&mut self) -> Option<Option<Token<'t>>> {
        let rest = &self.text[self.at..];
        match self.modes.last() {
            Some(Mode::Quoted { from }) => {
                let from = *from;
                self.in_quotes(rest, from)
            }
            Some(Mode::Heredoc { marker, whole_line }) => {
                let (marker, whole_line) = (*marker, *whole_line);
                self.in_heredoc(rest, marker, whole_line).map(|()| None)
            }
            Some(Mode::Code) | None => self.code(rest),
        }
    }

    fn in_quotes(&mut self, rest: &'t str, from: usize) -> Option<Option<Token<'t>>> {
        if self.template(rest) {
            return Some(None);
        }
        let mut chars = rest.chars();
        match chars.next()? {
            '"' => {
                let text = &self.text[from..self.at];
                self.at += 1;
                self.modes.pop();
                return Some(self.token(Token::Quoted(text)));
            }
            '\\' => self.at += 1 + chars.next().filter(|next| !['\n', '\r'].contains(next))?.len_utf8(),
            '\n' | '\r' => return None,
            other => self.at += other.len_utf8(),
        }
        Some(None)
    }

    fn in_heredoc(&mut self, rest: &'t str, marker: &'t str, whole_line: bool) -> Option<()> {
        let whole_line = if self.template(rest) {
            // What follows its end is not the beginning of a line.
            let outer = self.modes.iter_mut().rev().find(|mode| matches!(mode, Mode::Heredoc { .. }))?;
            *outer = Mode::Heredoc { marker, whole_line: false };
            return Some(());
        } else if rest.starts_with(['$', '%']) {
            self.at += 1;
            false
        } else {
            let (part, after) = rest.split_at(rest.find(['$', '%', '\r', '\n']).unwrap_or(rest.len()));
            let newline = newline(after);
            if newline > 0 && whole_line && part.trim() == marker {
                // The end of the line is the code's.
                self.at += part.len();
                self.modes.pop();
                return Some(());
            }
            if newline == 0 && !after.starts_with(['$', '%']) {
                return None;
            }
            self.at += part.len() + newline;
            newline > 0
        };
        *self.modes.last_mut()? = Mode::Heredoc { marker, whole_line };
        Some(())
    }

    /// Whether a template's marker stands here, escaped or not, which is then behind us.
    fn template(&mut self, rest: &str) -> bool {
        if rest.starts_with("$${") || rest.starts_with("%%{") {
            self.at += 3;
            return true;
        }
        let begins = rest.starts_with("${") || rest.starts_with("%{");
        if begins {
            self.at += 2;
            self.braces += 1;
            self.ends.push(self.braces);
            self.modes.push(Mode::Code);
        }
        begins
    }

    fn code(&mut self, rest: &'t str) -> Option<Option<Token<'t>>> {
        let newline = newline(rest);
        if newline > 0 {
            self.at += newline;
            return Some(self.token(Token::Line));
        }
        if rest.starts_with('#') || rest.starts_with("//") {
            // Its end is that of the line.
            self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
            return Some(self.token(Token::Line));
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            self.at += comment.find("*/")? + 4;
            return Some(None);
        }
        if let Some((marker, length)) = heredoc_at(rest) {
            self.at += length;
            let token = self.token(Token::Other);
            self.modes.push(Mode::Heredoc { marker, whole_line: true });
            return Some(token);
        }
        let ends = self.ends.last() == Some(&self.braces) && (rest.starts_with('}') || rest.starts_with("~}"));
        let first = rest.chars().next()?;
        self.at += first.len_utf8();
        let token = match first {
            ' ' | '\t' => return Some(None),
            '"' => {
                self.modes.push(Mode::Quoted { from: self.at });
                return Some(None);
            }
            '{' => {
                self.braces += 1;
                Token::Open
            }
            '}' | '~' if ends => {
                self.at += usize::from(first == '~');
                self.braces -= 1;
                self.ends.pop();
                self.modes.pop();
                return Some(None);
            }
            '}' => {
                self.braces = self.braces.checked_sub(1)?;
                Token::Close
            }
            _ if begins_word(first) => {
                let word = &rest[..rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())];
                self.at += word.len() - first.len_utf8();
                Token::Word(word)
            }
            '!'..='~' => Token::Other,
            _ => return None,
        };
        Some(self.token(token))
    }

    /// The token, where it is not in a template.
    fn token(&self, token: Token<'t>) -> Option<Token<'t>> {
        (self.modes.len() == 1).then_some(token)
    }
}

/// The length of the end of a line here; 0 where there is none.
fn newline(text: &str) -> usize {
    match text.as_bytes() {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

/// The marker of a heredoc that begins here, and the length of its first line.
fn heredoc_at(rest: &str) -> Option<(&str, usize)> {
    let after = rest.strip_prefix("<<")?;
    let after = after.strip_prefix('-').unwrap_or(after);
    let (marker, after) = after.split_at(after.find(|c: char| !is_word(c))?);
    let newline = newline(after);
    (marker.starts_with(begins_word) && newline > 0).then(|| (marker, rest.len() - after.len() + newline))
}

fn begins_word(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

/// Letters of other alphabets are left to terraform: about files with them nothing is said.
fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&[&str]>) {
        let found = blocks(text).map(|blocks| {
            let words = blocks.root.into_iter().map(|Header { kind, labels }| [vec![kind], labels].concat());
            words.map(|words| words.join(" ")).collect::<Vec<_>>()
        });
        let expect = expect.map(|headers| headers.iter().map(|header| (*header).to_owned()).collect::<Vec<String>>());
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn blocks_are_told_by_their_headers() {
        check("", Some(&[]));
        check("# a {}\n// b {}\n/* c {\n} */\n", Some(&[]));
        check("locals {}\n\nresource \"a\" b {\n  x = { y = \"}\" }\n  z {\n  }\n}", Some(&["locals", "resource a b"]));
        check("a {} # x\r\nb /* y */ \"c\" { d = \"$${\" }\r\n", Some(&["a", "b c"]));
        check("a { b = \"${c({ d = \"}\" })}\" }\ne {}\n", Some(&["a", "e"]));
    }

    #[test]
    fn a_heredoc_ends_where_terraform_ends_it() {
        let check = |heredoc: &str, expect: &[&str]| {
            check(&format!("a {{\n  b = {heredoc}\n}}\nc {{\n}}\nd {{ e = \"*/ # \" }}\n"), Some(expect));
        };
        check("<<EOT\nc {\nEOT", &["a", "c", "d"]);
        check("<<-E-T\r\nE\r\n  E-T  ", &["a", "c", "d"]);
        check("<<EOT\nx\nEOT /*\nEOT", &["a", "c", "d"]);
        check("<<EOT\nx\n\u{a0}EOT", &["a", "c", "d"]);
        check("<<EOT\ncost $\nEOT", &["a", "c", "d"]);
        check("<<EOT\n${x}EOT\n%{ if y ~}z%{ endif ~}\nEOT", &["a", "c", "d"]);
    }

    #[test]
    fn provisioners_are_told_by_their_names() {
        let check = |text: &str, expect: &[&str]| {
            assert_eq!(blocks(text).expect("a file").provisioners, expect, "{text}");
        };
        check(
            "resource \"a\" \"b\" {\n  provisioner \"local-exec\" {\n  }\n  provisioner file {}\n}\n",
            &["local-exec", "file"],
        );
        check(
            "a {\n  b = { provisioner = \"local-exec\" }\n  # provisioner \"x\" {\n  c = \"provisioner \\\"x\\\" {\"\n}\n",
            &[],
        );
        check("a {\n  b = <<X\nprovisioner \"x\" {\nX\n}\n", &[]);
    }

    #[test]
    fn what_it_is_not_sure_of_it_does_not_tell() {
        for text in [
            "a = 1\n",
            "a\n{}\n",
            "a {} b {}\n",
            "a {\n",
            "}\n",
            "a \"${b}\" {}\n",
            "a \"\\u0062\" {}\n",
            "\u{e9} {}\n",
            "a { b = <<X\n}\n",
            "a { b = \"\n\" }\n",
            "a \r {}\n",
            "/* a {}\n",
            "1 {}\n",
            "a { b = \u{1} }\n",
        ] {
            check(text, None);
        }
    }
}
