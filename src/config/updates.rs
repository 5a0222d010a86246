//! Updates of dynamic DNS providers: a list of objects, whose keys depend on their type.

use super::schema::Key;
use super::value::{ReadValue, cut, invalid};
use crate::addr::host;
use crate::base::json::{self, Value};
use crate::base::text::nearest;
use crate::monitor::ddns::source;
use crate::monitor::ddns::update::{LONGEST_SECRET, Protocol, Secret, Update};

/// Hosts of one update.
const MOST_HOSTS: usize = 32;

/// The keys of each type.
const COMMON: [&str; 3] = ["type", "insecure", "wan"];
const DYNDNS2: [&str; 6] =
    ["server", "hostname", "username", "password", "password-file", "password-credential"];
const URL: [&str; 5] = ["url", "secret", "secret-file", "secret-credential", "ok"];

/// Every key that an update may have, each once.
pub fn keys() -> impl Iterator<Item = &'static str> {
    COMMON.iter().chain(&DYNDNS2).chain(&URL).copied()
}

/// One object, with the place of its messages.
struct UpdateObject<'a> {
    number: usize,
    entries: Vec<(String, Value<'a>)>,
}

/// Reads the list. One object in place of a list of one will do.
pub(super) fn read(
    key: &Key,
    max: usize,
    value: &Value<'_>,
    reading: &mut ReadValue,
) -> Vec<Update> {
    let objects = match value {
        Value::Text(text) if text.trim().is_empty() => return Vec::new(),
        Value::Object(object) => vec![object.clone()],
        Value::List(list) if list.len() <= max => {
            let mut objects = Vec::new();
            for raw in list {
                match json::decode(raw) {
                    Value::Object(object) => objects.push(object),
                    other => reading.errors.push(invalid(
                        key,
                        &other,
                        "an entry of the list is not in braces",
                    )),
                }
            }
            objects
        }
        _ => {
            reading.errors.push(invalid(key, value, ""));
            return Vec::new();
        }
    };
    let mut updates = Vec::new();
    for (at, entries) in objects.into_iter().enumerate() {
        let entries = entries.into_iter().map(|(key, raw)| (key, json::decode(raw))).collect();
        let object = UpdateObject { number: at + 1, entries };
        match object.read(&mut reading.warnings) {
            Ok(read) => updates.extend(read),
            Err(why) => reading.errors.push(format!("update number {}: {why}", object.number)),
        }
    }
    updates
}

impl UpdateObject<'_> {
    fn read(&self, warnings: &mut Vec<String>) -> Result<Vec<Update>, String> {
        let kind = self.needed("type")?;
        let own: &[&str] = match kind {
            "dyndns2" => &DYNDNS2,
            "url" => &URL,
            other => return Err(format!("type is dyndns2 or url, not \"{}\"", cut(other))),
        };
        let known = || COMMON.iter().chain(own).copied();
        for (key, _) in self.entries.iter().filter(|(key, _)| !known().any(|known| known == key)) {
            let hint = nearest(key, known())
                .map_or_else(String::new, |near| format!("; did you mean {near}?"));
            warnings.push(format!(
                "update number {}: Unknown key {} is ignored{hint}",
                self.number,
                cut(key)
            ));
        }
        let insecure = match self.get("insecure") {
            None => false,
            Some(Value::Flag(flag)) => *flag,
            Some(_) => return Err("insecure is true or false".to_owned()),
        };
        let wan = self.text("wan")?.filter(|wan| !wan.is_empty()).map(str::to_owned);
        match kind {
            "dyndns2" => {
                let server = self.needed("server")?;
                let mut url = if server.contains("://") {
                    server.to_owned()
                } else {
                    format!("https://{server}")
                };
                if url.matches('/').count() == 2 {
                    url.push_str("/nic/update");
                }
                check_url("server", &url, insecure)?;
                if url.contains('?') {
                    return Err("server has a query: what follows the ? is made by imon".to_owned());
                }
                let (username, secret) = (self.needed("username")?, self.secret("password")?);
                if username.contains(':') || username.chars().any(char::is_control) {
                    return Err("username has a colon or a control character".to_owned());
                }
                if secret == Secret::None {
                    return Err(
                        "password, password-file or password-credential is missing".to_owned()
                    );
                }
                let protocol = |hostname: String| Protocol::DynDns2 {
                    url: url.clone(),
                    hostname,
                    username: username.to_owned(),
                };
                let update = |host| Update {
                    protocol: protocol(host),
                    secret: secret.clone(),
                    wan: wan.clone(),
                };
                Ok(self.hostnames()?.into_iter().map(update).collect())
            }
            _ => {
                let url = self.needed("url")?;
                let secret = self.secret("secret")?;
                // What takes their places is percent-encoded.
                let probe = url.replace("{ip}", "1").replace("{secret}", "1");
                check_url("url", &probe, insecure)?;
                if !url.contains("{ip}") {
                    warnings.push(format!(
                        "update number {}: url has no {{ip}}: the provider will take the address it is asked from",
                        self.number
                    ));
                }
                match (url.contains("{secret}"), secret == Secret::None) {
                    (true, true) => {
                        return Err(
                            "url has {secret}, but secret, secret-file or secret-credential is missing".to_owned()
                        );
                    }
                    (false, false) => {
                        return Err(
                            "there is a secret, but url has no {secret} to put it".to_owned()
                        );
                    }
                    _ => {}
                }
                let ok = self.texts("ok")?;
                Ok(vec![Update {
                    protocol: Protocol::Url { url: url.to_owned(), ok },
                    secret,
                    wan,
                }])
            }
        }
    }

    /// Of a key given twice the last counts, as everywhere.
    fn get(&self, name: &str) -> Option<&Value<'_>> {
        self.entries.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.trim())),
            Some(_) => Err(format!("{name} is not text")),
        }
    }

    fn needed(&self, name: &str) -> Result<&str, String> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("{name} is missing"))
    }

    /// One text, or a list of them.
    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Text(text)) => Ok(vec![text.trim().to_owned()]),
            Some(Value::List(list)) if list.len() <= MOST_HOSTS => {
                let text = |raw: &&serde_json::value::RawValue| match json::decode(raw) {
                    Value::Text(text) => Ok(text.trim().to_owned()),
                    _ => Err(format!("an entry of {name} is not text")),
                };
                list.iter().map(text).collect()
            }
            Some(_) => {
                Err(format!("{name} is neither text nor a list of at most {MOST_HOSTS} texts"))
            }
        }
    }

    fn hostnames(&self) -> Result<Vec<String>, String> {
        let texts = self.texts("hostname")?;
        let names = texts
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let mut all: Vec<String> = Vec::new();
        for name in names {
            // Some providers take wildcards.
            host::check_name(name.strip_prefix("*.").unwrap_or(name))
                .map_err(|why| format!("hostname \"{}\" {why}", cut(name)))?;
            if !all.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                all.push(name.to_owned());
            }
        }
        if all.is_empty() { Err("hostname is missing".to_owned()) } else { Ok(all) }
    }

    fn secret(&self, name: &str) -> Result<Secret, String> {
        let (file, credential) = (format!("{name}-file"), format!("{name}-credential"));
        // Not trimmed: a blank may be part of it.
        let given = match self.get(name) {
            None => None,
            Some(Value::Text(text))
                if text.len() <= LONGEST_SECRET && !text.chars().any(char::is_control) =>
            {
                Some(text.clone())
            }
            Some(_) => {
                return Err(format!(
                    "{name} is not text of at most {LONGEST_SECRET} bytes without control characters"
                ));
            }
        };
        let (path, named) = (self.text(&file)?, self.text(&credential)?);
        match (given, path, named) {
            (None, None, None) => Ok(Secret::None),
            (Some(text), None, None) => Ok(Secret::Given(text)),
            (None, Some(path), None) if path.starts_with('/') => Ok(Secret::File(path.to_owned())),
            (None, Some(_), None) => Err(format!("{file} is not a full path")),
            (None, None, Some(id))
                if !id.is_empty() && !id.contains('/') && id != ".." && id != "." =>
            {
                Ok(Secret::Credential(id.to_owned()))
            }
            (None, None, Some(_)) => Err(format!("{credential} is not the name of a credential")),
            _ => Err(format!("of {name}, {file} and {credential} only one can be given")),
        }
    }
}

fn check_url(name: &str, text: &str, insecure: bool) -> Result<(), String> {
    let url = source::url(text).map_err(|why| format!("{name}: {why}"))?;
    match url.scheme_str() {
        Some("https") if !cfg!(feature = "tls") => {
            Err(format!("{name}: this build of imon (nano) has no TLS; use the full build"))
        }
        Some("http") if !insecure => Err(format!(
            "{name} begins with http://, which shows the secret to everybody on the way: use https://, or set insecure to true"
        )),
        _ => Ok(()),
    }
}
