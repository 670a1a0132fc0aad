//! JSON with the line of every text and name, and with every member of an object, also those that have one name: the
//! configuration language reads them all. Knows nothing of terraform.

use serde::de::IgnoredAny;
use serde_json::Value;

/// How deep values may lie in each other, as in `serde_json`.
const MAX_DEPTH: usize = 128;
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    /// `null`, a bool or a number.
    Scalar(Value),
    /// A text, and its line.
    Text(String, usize),
    /// An array.
    List(Vec<Json>),
    /// An object, in the order of the text.
    Object(Vec<Member>),
}

impl Json {
    /// How long the ways to this value, which has one of `own` bytes, and to all below it are together.
    pub fn ways(&self, own: usize) -> usize {
        match self {
            Self::Scalar(_) | Self::Text(..) => own,
            Self::List(items) => items.iter().fold(own, |sum, item| sum.saturating_add(item.ways(own))),
            Self::Object(members) => members.iter().fold(own, |sum, member| {
                let below = member.value.ways(own.saturating_add(member.name.len()));
                sum.saturating_add(below)
            }),
        }
    }
}

/// What an object has under a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub name: String,
    /// Of the name.
    pub line: usize,
    pub value: Json,
}

/// Why a text is no JSON, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    pub line: usize,
    pub message: String,
}

/// Reads a text that is one value.
pub(super) fn parse(text: &str) -> Result<Json, Invalid> {
    // Finds all that is wrong but depth, so that what follows need only find its way.
    let checked: Result<IgnoredAny, _> = serde_json::from_str(text);
    checked.map_err(|error| Invalid { line: error.line(), message: error.to_string() })?;
    Reader { rest: text, line: 1 }.value(0)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Json, Invalid> {
        if depth == MAX_DEPTH {
            return Err(self.invalid("values lie too deep in each other"));
        }
        match self.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.list(depth),
            Some('"') => {
                let line = self.line;
                Ok(Json::Text(self.text()?, line))
            }
            _ => self.scalar(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Invalid> {
        let mut members = Vec::new();
        self.take('{');
        while !self.take('}') {
            self.take(',');
            if self.peek() != Some('"') {
                return Err(self.invalid("a name is missing"));
            }
            let line = self.line;
            let name = self.text()?;
            self.take(':');
            members.push(Member { name, line, value: self.value(depth + 1)? });
        }
        Ok(Json::Object(members))
    }

    fn list(&mut self, depth: usize) -> Result<Json, Invalid> {
        let mut items = Vec::new();
        self.take('[');
        while !self.take(']') {
            self.take(',');
            items.push(self.value(depth + 1)?);
        }
        Ok(Json::List(items))
    }

    /// A text in quotes.
    fn text(&mut self) -> Result<String, Invalid> {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(self.invalid("a text does not end")),
            }
        }
        let raw = self.until(end + 1);
        serde_json::from_str(raw).map_err(|error| self.invalid(&error.to_string()))
    }

    fn scalar(&mut self) -> Result<Json, Invalid> {
        let ends = |c: char| matches!(c, ',' | ']' | '}') || SPACES.contains(&c);
        let raw = self.until(self.rest.find(ends).unwrap_or(self.rest.len()));
        serde_json::from_str(raw).map(Json::Scalar).map_err(|error| self.invalid(&error.to_string()))
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest.trim_start_matches(SPACES);
        let spaces = self.until(self.rest.len() - rest.len());
        self.line += spaces.matches('\n').count();
        rest.chars().next()
    }

    /// Whether the next character is this one, which is then behind us.
    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.until(wanted.len_utf8());
        }
        found
    }
}

impl<'a> Reader<'a> {
    /// The next bytes, which are then behind us.
    fn until(&mut self, end: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn invalid(&self, message: &str) -> Invalid {
        Invalid { line: self.line, message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str, line: usize) -> Json {
        Json::Text(text.to_owned(), line)
    }

    fn member(name: &str, line: usize, value: Json) -> Member {
        Member { name: name.to_owned(), line, value }
    }

    #[test]
    fn every_member_is_there_with_its_line_also_a_second_one_of_its_name() {
        let found =
            parse("{\r\n \"a\": [1, null,\n\t\"x\\n\\\"}\"],\n\n \"a\"\n:\n{\"b\\u0063\": true}, \"d\": \"é\"}\n");
        let expect = Json::Object(vec![
            member("a", 2, Json::List(vec![Json::Scalar(json!(1)), Json::Scalar(json!(null)), text("x\n\"}", 3)])),
            member("a", 5, Json::Object(vec![member("bc", 7, Json::Scalar(json!(true)))])),
            member("d", 7, text("é", 7)),
        ]);
        assert_eq!(found, Ok(expect));
    }

    #[test]
    fn what_is_no_json_says_where() {
        let check = |text: &str, line: usize| {
            let found = parse(text).map_err(|error| error.line);
            assert_eq!(found, Err(line), "{text:?}");
        };
        check("", 1);
        check("{\"a\": 1,}", 1);
        check("{\n\"a\" 1}", 2);
        check("{}\n{}", 2);
        check("[\n1 2]", 2);
        check("{\"a\":\n\"\\ud800\"}", 2);
        check("{\"a\": \"\t\"}", 1);
        check("'a'", 1);
        check(&format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1)), 1);
    }

    #[test]
    fn any_text_is_read_or_refused() {
        let whole = "{\"a\": [\"\\u00e9\\\\\", {\"b\": -1.5e3, \"é\": \"\"}, null]}";
        for end in 0..whole.len() {
            let part = String::from_utf8_lossy(&whole.as_bytes()[..end]).into_owned();
            assert!(parse(&part).is_err(), "{part}");
        }
        assert!(parse(whole).is_ok());
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(&deep).is_ok());
    }
}
