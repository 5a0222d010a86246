//! Secrets: read when they are needed, kept nowhere.

use super::{error_text, files};
use crate::monitor::ddns::update::{LONGEST_SECRET, Secret};

/// The file that a secret is in, if it is in one.
#[must_use]
pub fn path(secret: &Secret) -> Option<String> {
    match secret {
        Secret::None | Secret::Given(_) => None,
        Secret::File(path) => Some(path.clone()),
        Secret::Credential(name) => {
            let directory = super::env("CREDENTIALS_DIRECTORY").filter(|d| d.starts_with('/'))?;
            Some(format!("{directory}/{name}"))
        }
    }
}

/// Reads a secret: the first line of its file, or what is configured.
///
/// # Errors
/// Which file cannot be read and why, or that others may read it.
pub fn read(secret: &Secret) -> Result<String, String> {
    let path = match (secret, path(secret)) {
        (Secret::None, _) => return Ok(String::new()),
        (Secret::Given(text), _) => return Ok(text.clone()),
        (_, Some(path)) => path,
        (_, None) => {
            let missing = "there are no credentials: give the service one with LoadCredential= (systemd.exec(5))";
            return Err(missing.to_owned());
        }
    };
    if let Some(who) = files::readable_by_others(&path) {
        return Err(format!("{who} may read the secret in {path}: use 'chmod 600 {path}'"));
    }
    // One more than is allowed, and its line end.
    let bytes = files::read(&path, LONGEST_SECRET as u64 + 2)
        .map_err(|e| format!("the secret in {path} cannot be read: {}", error_text(&e)))?;
    let text =
        String::from_utf8(bytes).map_err(|_| format!("the secret in {path} is not UTF-8"))?;
    let text = text.trim_end_matches(['\n', '\r']);
    match text {
        "" => Err(format!("the secret in {path} is empty")),
        _ if text.len() > LONGEST_SECRET || text.chars().any(char::is_control) => {
            Err(format!("the secret in {path} is not one line of at most {LONGEST_SECRET} bytes"))
        }
        _ => Ok(text.to_owned()),
    }
}
