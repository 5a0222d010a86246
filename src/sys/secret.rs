//! Secrets: read when they are needed, kept nowhere.

use super::{error_text, files};
use crate::update::{LONGEST_SECRET, Secret};

/// Reads a secret: the first line of its file, or what is configured.
///
/// # Errors
/// Which file cannot be read and why, or that others may read it.
pub fn read(secret: &Secret) -> Result<String, String> {
    let path = match secret {
        Secret::None => return Ok(String::new()),
        Secret::Given(text) => return Ok(text.clone()),
        Secret::File(path) => path.clone(),
        Secret::Credential(name) => {
            let directory = super::env("CREDENTIALS_DIRECTORY").filter(|d| d.starts_with('/'));
            let missing = "there are no credentials: give the service one with LoadCredential= (systemd.exec(5))";
            format!("{}/{name}", directory.ok_or(missing)?)
        }
    };
    if let Some(who) = files::readable_by_others(&path) {
        return Err(format!("{who} may read the secret in {path}: use 'chmod 600 {path}'"));
    }
    // One more than is allowed, and its line end.
    let bytes = files::read(&path, LONGEST_SECRET as u64 + 2)
        .map_err(|e| format!("the secret in {path} cannot be read: {}", error_text(&e)))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("the secret in {path} is not UTF-8"))?;
    let text = text.trim_end_matches(['\n', '\r']);
    match text {
        "" => Err(format!("the secret in {path} is empty")),
        _ if text.len() > LONGEST_SECRET || text.chars().any(char::is_control) => {
            Err(format!("the secret in {path} is not one line of at most {LONGEST_SECRET} bytes"))
        }
        _ => Ok(text.to_owned()),
    }
}
