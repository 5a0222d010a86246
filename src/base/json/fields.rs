//! Small JSON objects, read and written field by field: what goes between this program's processes,
//! and into its state. By way of what reads the configuration, which is in the program anyway.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::base::json::{Value, decode};

/// An object that was read.
pub struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads a text that is one object. `None`: it is something else, or broken.
    #[must_use]
    pub fn read(text: &'a [u8]) -> Option<Self> {
        let raw = serde_json::from_str(std::str::from_utf8(text).ok()?).ok()?;
        Self::of(raw)
    }

    /// The object in a field or a list.
    #[must_use]
    pub fn of(raw: &'a RawValue) -> Option<Self> {
        if let Value::Object(fields) = decode(raw) { Some(Self(fields)) } else { None }
    }

    fn get(&self, name: &str) -> Option<Value<'a>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, raw)| decode(raw))
    }

    /// A field with a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        if let Some(Value::Text(text)) = self.get(name) { Some(text) } else { None }
    }

    /// A field with a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        if let Some(Value::Number(number)) = self.get(name) { number.parse().ok() } else { None }
    }

    /// A field that is true or false.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        if let Some(Value::Flag(flag)) = self.get(name) { Some(flag) } else { None }
    }

    /// Whether there is such a field and it is empty.
    #[must_use]
    pub fn is_null(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Null))
    }

    /// A field with an object.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Self> {
        if let Some(Value::Object(fields)) = self.get(name) { Some(Self(fields)) } else { None }
    }

    /// A field with a list.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        if let Some(Value::List(list)) = self.get(name) { Some(list) } else { None }
    }
}

/// The texts of a list; those that are none are left out.
pub fn texts(list: &[&RawValue]) -> Vec<String> {
    let text =
        |raw: &&RawValue| if let Value::Text(text) = decode(raw) { Some(text) } else { None };
    list.iter().filter_map(text).collect()
}

/// An object that is being written.
pub struct JsonWriter(String);

impl JsonWriter {
    /// Without a field.
    #[must_use]
    pub fn new() -> Self {
        Self("{".to_owned())
    }

    /// Adds a text, or null.
    pub fn text(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        let value = value.and_then(|text| serde_json::to_string(text).ok());
        self.raw(name, value.as_deref().unwrap_or("null"))
    }

    /// Adds a number or a flag.
    pub fn plain(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.raw(name, &value.to_string())
    }

    /// Adds a list of what is JSON already.
    pub fn list(&mut self, name: &str, values: impl Iterator<Item = String>) -> &mut Self {
        self.raw(name, &format!("[{}]", values.collect::<Vec<_>>().join(",")))
    }

    fn raw(&mut self, name: &str, value: &str) -> &mut Self {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let _ = write!(self.0, "{comma}\"{name}\":{value}");
        self
    }

    /// The whole.
    pub fn end(&mut self) -> String {
        format!("{}}}", self.0)
    }
}

impl Default for JsonWriter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut w = JsonWriter::new();
        w.text("a", Some("x \"y\" \u{1} é")).text("b", None).plain("c", -5).plain("d", true);
        w.list("e", ["1".to_owned(), "\"z\"".to_owned()].into_iter());
        let text = w.end();
        let fields = Fields::read(text.as_bytes()).unwrap();
        assert_eq!(fields.text("a").as_deref(), Some("x \"y\" \u{1} é"));
        assert!(fields.is_null("b") && !fields.is_null("a") && !fields.is_null("nosuch"));
        assert_eq!((fields.number("c"), fields.flag("d")), (Some(-5), Some(true)));
        assert_eq!(texts(&fields.list("e").unwrap()), ["z"]);
        assert_eq!(
            (fields.text("c"), fields.number("a"), fields.list("d").is_none()),
            (None, None, true)
        );
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in ["", "null", "[]", "{", "{\"a\":}", "5", "\u{0}"] {
            assert!(Fields::read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Fields::read(b"\xff").is_none());
        assert_eq!(Fields::read(b"{\"a\":1e99}").unwrap().number("a"), None);
    }
}
