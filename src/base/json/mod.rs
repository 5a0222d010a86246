//! JSON that remembers where it came from: every key and value knows its line, and keys keep their
//! order and their duplicates. `serde_json` checks the syntax and hands back slices of the text, so
//! a line number is the position of a slice in the whole.

pub mod fields;

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Larger files are refused before they are looked at: a configuration with 1,000 long names is a
/// quarter of this.
pub const MAX_BYTES: usize = 1 << 20;

/// More keys than this in one object are no configuration of ours (the largest section has 20).
const MAX_KEYS: usize = 200;

/// A configuration file, with its full-line comments blanked out and its lines counted.
pub(crate) struct Document {
    text: String,
    /// Offset of the first byte of each line after the first.
    later_lines: Vec<usize>,
}

/// Why a file cannot be read at all.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Counted from 1.
    pub(crate) line: usize,
    /// `section.key` in which the fault is, as far as that is known.
    pub(crate) key: String,
    pub(crate) message: String,
}

/// A key with its value, as written.
#[derive(Clone)]
pub(crate) struct JsonEntry<'a> {
    pub(crate) key: String,
    /// The line of the key, counted from 1.
    pub(crate) line: usize,
    pub(crate) value: &'a RawValue,
}

/// A value, decoded one level deep.
#[derive(Clone)]
pub(crate) enum Value<'a> {
    Null,
    Flag(bool),
    /// A number exactly as written: JSON sets no limit to its size or precision.
    Number(&'a str),
    Text(String),
    List(Vec<&'a RawValue>),
    Object(Vec<(String, &'a RawValue)>),
    /// Correct JSON that stands for no text (half of a surrogate pair), or an object with far too
    /// many keys.
    Unreadable(String),
}

impl Document {
    /// Takes the bytes of a file.
    ///
    /// # Errors
    /// Text that is too long, not UTF-8, or empty.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, Fault> {
        let fault = |line, message: String| Err(Fault { line, key: String::new(), message });
        if bytes.len() > MAX_BYTES {
            return fault(
                1,
                format!("This is not an imon configuration: it is larger than {MAX_BYTES} bytes"),
            );
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => without_comments(text),
            Err(e) => {
                let before = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count();
                return fault(
                    before + 1,
                    "The text is not UTF-8: save the file in that encoding".to_owned(),
                );
            }
        };
        if text.trim_ascii().is_empty() {
            return fault(1, "The file is empty: an object in braces { } is expected".to_owned());
        }
        // Nothing begins after a final newline.
        let ends = text.match_indices('\n').map(|(at, _)| at + 1).filter(|next| *next < text.len());
        let later_lines = ends.collect();
        Ok(Self { text, later_lines })
    }

    /// The keys of the outermost object.
    ///
    /// # Errors
    /// Any fault in the file's syntax, and an outermost value that is no object.
    pub(crate) fn root(&self) -> Result<Vec<JsonEntry<'_>>, Fault> {
        if !self.text.trim_ascii_start().starts_with('{') {
            let line = self.line_at(self.text.len() - self.text.trim_ascii_start().len());
            let message =
                "The file must be one object in braces { }, with a section for each monitor"
                    .to_owned();
            return Err(Fault { line, key: String::new(), message });
        }
        match serde_json::from_str::<Pairs<'_>>(&self.text) {
            Ok(pairs) => self.named(pairs),
            Err(e) => Err(self.fault(&e)),
        }
    }

    /// The keys of an object inside the file, or `None` when the value is something else.
    ///
    /// # Errors
    /// More keys than any configuration has.
    pub(crate) fn entries<'a>(
        &'a self,
        value: &'a RawValue,
    ) -> Result<Option<Vec<JsonEntry<'a>>>, Fault> {
        if !value.get().starts_with('{') {
            return Ok(None);
        }
        match serde_json::from_str::<Pairs<'_>>(value.get()) {
            Ok(pairs) => self.named(pairs).map(Some),
            Err(e) => Err(Fault {
                line: self.line_of(value),
                key: String::new(),
                message: plain_words(&e),
            }),
        }
    }

    fn named<'a>(&'a self, pairs: Pairs<'a>) -> Result<Vec<JsonEntry<'a>>, Fault> {
        let named = |(key, value): (&'a RawValue, &'a RawValue)| {
            let line = self.line_of(key);
            match serde_json::from_str(key.get()) {
                Ok(key) => Ok(JsonEntry { key, line, value }),
                Err(e) => Err(Fault { line, key: String::new(), message: plain_words(&e) }),
            }
        };
        pairs.0.into_iter().map(named).collect()
    }

    /// The line a value begins on. A value that is not part of this document is given the first
    /// one.
    fn line_of(&self, value: &RawValue) -> usize {
        let offset = (value.get().as_ptr().addr()).checked_sub(self.text.as_ptr().addr());
        offset.filter(|at| *at < self.text.len()).map_or(1, |at| self.line_at(at))
    }

    /// Where a value of this document stands in its text, comments and all, but without a byte
    /// order mark.
    pub(crate) fn range(&self, value: &RawValue) -> Option<std::ops::Range<usize>> {
        let start = (value.get().as_ptr().addr()).checked_sub(self.text.as_ptr().addr())?;
        let end = start.checked_add(value.get().len()).filter(|end| *end <= self.text.len())?;
        Some(start..end)
    }

    /// The text, with blanks for its comments: what stands in it stands at the same place of the
    /// file.
    pub(crate) fn plain(&self) -> &str {
        &self.text
    }

    fn line_at(&self, offset: usize) -> usize {
        self.later_lines.partition_point(|start| *start <= offset) + 1
    }

    /// A syntax error in words, with what the position tells about its cause.
    fn fault(&self, error: &serde_json::Error) -> Fault {
        let line = error.line().clamp(1, self.later_lines.len() + 1);
        let start = line.checked_sub(2).and_then(|i| self.later_lines.get(i)).copied().unwrap_or(0);
        let at = start + error.column().saturating_sub(1);
        let (before, after) = self.text.split_at_checked(at).unwrap_or((&self.text, ""));
        let message = if error.is_eof() {
            "The file ends too early: a closing brace, bracket or quote is missing".to_owned()
        } else if let Some(word) = not_json_number(after) {
            format!("{word} is no number that JSON knows")
        } else if after.starts_with(['#', '/']) {
            "A comment begins with # and has a line of its own".to_owned()
        } else {
            plain_words(error)
        };
        Fault { line, key: path_at_end(before), message }
    }
}

/// Decodes one level of a value.
pub(crate) fn decode(raw: &RawValue) -> Value<'_> {
    let text = raw.get();
    let decoded = match text.as_bytes().first() {
        Some(b'n') => Ok(Value::Null),
        Some(b't') => Ok(Value::Flag(true)),
        Some(b'f') => Ok(Value::Flag(false)),
        Some(b'"') => serde_json::from_str(text).map(Value::Text),
        Some(b'[') => serde_json::from_str(text).map(Value::List),
        Some(b'{') => serde_json::from_str::<Pairs<'_>>(text).and_then(|pairs| {
            let named =
                |(key, value): (&RawValue, _)| Ok((serde_json::from_str(key.get())?, value));
            pairs.0.into_iter().map(named).collect::<Result<_, _>>().map(Value::Object)
        }),
        _ => Ok(Value::Number(text)),
    };
    decoded.unwrap_or_else(|e| Value::Unreadable(plain_words(&e)))
}

/// The pairs of an object in their order, duplicates included.
struct Pairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object in braces { }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<&RawValue, &RawValue>()? {
                    if pairs.len() == MAX_KEYS {
                        return Err(A::Error::custom(format!(
                            "There are more than {MAX_KEYS} keys in one object"
                        )));
                    }
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Blanks lines whose first visible character is `#`. A JSON string cannot span lines, so such a
/// line is never inside one. What is behind it stays where it is: lines are counted, and values are
/// replaced at their place.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match (line.trim_ascii_start().starts_with('#'), line.strip_suffix('\n')) {
            (false, _) => plain.push_str(line),
            (true, Some(comment)) => plain.extend(comment.bytes().map(|_| ' ').chain(['\n'])),
            (true, None) => plain.extend(line.bytes().map(|_| ' ')),
        }
    }
    plain
}

/// A `serde_json` message as a sentence, without the position (ours is in the file, its is in the
/// slice) and never with a value in it.
fn plain_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match what {
        "key must be a string" => {
            "A key in double quotes is expected here (a comma too many?)".to_owned()
        }
        "expected value" => "A value is expected here (is text in double quotes?)".to_owned(),
        "expected ident" => "Only true, false and null may stand without quotes".to_owned(),
        "expected `,` or `}`" | "expected `,` or `]`" => {
            format!("Invalid syntax: {what} (a comma missing before?)")
        }
        "trailing characters" => "The file goes on after its closing brace".to_owned(),
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "Half of a \\u surrogate pair stands for no character".to_owned()
        }
        // Our own words.
        _ if error.is_data() => what.to_owned(),
        _ => format!("Invalid syntax: {what}"),
    }
}

/// Python's `json` module writes and reads these, with a minus sign too; JSON does not have them.
fn not_json_number(text: &str) -> Option<&'static str> {
    ["NaN", "Infinity"].into_iter().find(|word| text.starts_with(word))
}

/// `section.key` at the end of a text that is correct so far: the names of what is open there,
/// without the outermost object, which has none.
fn path_at_end(text: &str) -> String {
    let (mut open, mut name, mut word) = (Vec::new(), "", "");
    let mut rest = text;
    while let Some((at, mark)) = rest.char_indices().find(|(_, c)| "\"{}[]:,".contains(*c)) {
        rest = rest.get(at + 1..).unwrap_or("");
        match mark {
            '"' => (word, rest) = rest.split_at(end_of_text(rest)),
            ':' => name = word,
            ',' => name = "",
            '{' | '[' => open.push(std::mem::take(&mut name)),
            _ => {
                open.pop();
                name = "";
            }
        }
        rest = if mark == '"' { rest.get(1..).unwrap_or("") } else { rest };
    }
    let names = open.into_iter().skip(1).chain([name]).filter(|name| !name.is_empty());
    names.take(2).collect::<Vec<_>>().join(".")
}

/// Where the quote is that ends a text, or its length.
fn end_of_text(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        match Document::new(text.as_bytes()).and_then(|d| d.root().map(|_| ())) {
            Ok(()) => panic!("accepted: {text}"),
            Err(fault) => fault,
        }
    }

    #[test]
    fn keys_keep_order_duplicates_and_lines() {
        let text =
            "\u{feff}# one\n{\n \"b\": 1,\r\n\t# \"x\": 2,\n \"a\": [\n 2], \"b\": \"\\u0041#\"\n}";
        let document = Document::new(text.as_bytes()).unwrap();
        let root = document.root().unwrap();
        let seen: Vec<_> = root.iter().map(|e| (e.key.as_str(), e.line, e.value.get())).collect();
        assert_eq!(seen, [("b", 3, "1"), ("a", 5, "[\n 2]"), ("b", 6, "\"\\u0041#\"")]);
        assert!(matches!(root.last().map(|e| decode(e.value)), Some(Value::Text(t)) if t == "A#"));
    }

    #[test]
    fn a_fault_says_line_and_cause() {
        for (text, line, key, message) in [
            ("", 1, "", "The file is empty: an object in braces { } is expected"),
            ("\n# only this\n", 1, "", "The file is empty: an object in braces { } is expected"),
            (
                "\n\n[1]",
                3,
                "",
                "The file must be one object in braces { }, with a section for each monitor",
            ),
            ("{\n\"a\": {\n\"b\": NaN}}", 3, "a.b", "NaN is no number that JSON knows"),
            ("{\n\"b\" : -Infinity}", 2, "b", "Infinity is no number that JSON knows"),
            ("{\n\"b\": Infinity}", 2, "b", "Infinity is no number that JSON knows"),
            ("{\"a\": 1 # no\n}", 1, "a", "A comment begins with # and has a line of its own"),
            ("{\"a\":\n // no\n1}", 2, "a", "A comment begins with # and has a line of its own"),
            ("{\"a\": 1,\n}", 2, "", "Invalid syntax: trailing comma"),
            (
                "{\"a\": {\"b\": 1,\n}}",
                2,
                "a",
                "A key in double quotes is expected here (a comma too many?)",
            ),
            (
                "{\n\n\"a\": 1\n\"b\": 2}",
                4,
                "a",
                "Invalid syntax: expected `,` or `}` (a comma missing before?)",
            ),
            ("{\"a\": True}", 1, "a", "A value is expected here (is text in double quotes?)"),
            ("{\"a\": 1}\n}", 2, "", "The file goes on after its closing brace"),
            (
                "{\"x\": {\"y\\\"{\": [1, 2]}, \"a\": {\n\n",
                2,
                "a",
                "The file ends too early: a closing brace, bracket or quote is missing",
            ),
            ("{\"\\ud800\": 1}", 1, "", "Half of a \\u surrogate pair stands for no character"),
        ] {
            let seen = fault(text);
            assert_eq!(
                (seen.line, seen.key.as_str(), seen.message.as_str()),
                (line, key, message),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_utf8_is_one_fault_with_its_line() {
        let fault = Document::new(b"{\n\"a\":\n\"\xff\"}").err().unwrap();
        assert_eq!(fault.line, 3);
        assert!(fault.message.contains("not UTF-8"), "{}", fault.message);
        assert!(Document::new(&[0xff, 0xfe, b'{', 0]).is_err());
    }

    #[test]
    fn bombs_are_refused_or_passed_over() {
        let deep = |n| format!("{{\"a\": {}{}}}", "[".repeat(n), "]".repeat(n));
        let text = deep(400_000);
        let document = Document::new(text.as_bytes()).unwrap();
        let root = document.root().unwrap();
        assert!(matches!(decode(root[0].value), Value::List(l) if l.len() == 1));
        assert!(fault(&"{\"a\":".repeat(100_000)).message.contains("ends too early"));
        assert!(Document::new(&vec![b' '; MAX_BYTES + 1]).is_err());
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(1_000_000));
        assert!(Document::new(long.as_bytes()).unwrap().root().is_ok());
        let many: Vec<String> = (0..=MAX_KEYS).map(|i| format!("\"{i}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        assert_eq!(fault(&many).message, "There are more than 200 keys in one object");
        let inside = format!("{{\"a\":\n{many}}}");
        let document = Document::new(inside.as_bytes()).unwrap();
        assert_eq!(document.entries(document.root().unwrap()[0].value).err().unwrap().line, 2);
    }
}
