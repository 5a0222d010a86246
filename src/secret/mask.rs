//! Secrets are never shown: neither in the echo of the configuration nor in a complaint about a
//! value.

/// What stands in place of a secret.
pub const HIDDEN: &str = "***";

/// A value as it may be shown: [`HIDDEN`] when the key is that of a secret, else the value with the
/// secrets in its addresses (`scheme://user:password@host/path?query`) hidden.
#[must_use]
pub fn masked(key: &str, value: &str) -> String {
    if is_secret(key) { HIDDEN.to_owned() } else { without_credentials(value) }
}

/// Whether everything below a key of this name is hidden: keys that speak of passwords, tokens,
/// secrets or authorization, in any spelling, and HTTP headers, which carry all of these.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    // Where a secret is kept is none.
    if ["-file", "-credential"].iter().any(|end| key.ends_with(end)) {
        return false;
    }
    let letters = key.chars().filter(char::is_ascii_alphanumeric);
    let key: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    [
        "password",
        "passwd",
        "passphrase",
        "token",
        "secret",
        "auth",
        "apikey",
        "credential",
        "cookie",
    ]
    .iter()
    .any(|word| key.contains(word))
        || matches!(key.as_str(), "header" | "headers" | "pass" | "pwd" | "pw")
}

/// The URL of an update, of which some providers want the token in the path: scheme and host.
#[must_use]
pub(crate) fn host_only(url: &str) -> String {
    let shown = without_credentials(url);
    let host = shown.find("://").map_or(0, |at| at + 3);
    match shown.get(host..).and_then(|rest| rest.find('/')) {
        Some(at) => format!("{}/{HIDDEN}", shown.get(..host + at).unwrap_or_default()),
        None => shown,
    }
}

/// Hides user information and query in each word of the text that looks like a URL. It rather hides
/// too much: a password with an unescaped `/`, `?` or `@` in it must not show through.
fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        let (body, blank) = match word.char_indices().next_back() {
            Some((at, last)) if last.is_whitespace() => word.split_at(at),
            _ => (word, ""),
        };
        mask_word(body, &mut shown);
        shown.push_str(blank);
    }
    shown
}

fn mask_word(word: &str, shown: &mut String) {
    let (scheme, mut rest) = match word.find("://") {
        Some(at) => word.split_at(at + 3),
        None => ("", word),
    };
    shown.push_str(scheme);
    if let Some((user, host)) = rest.rsplit_once('@')
        && (user.contains(':') || (!scheme.is_empty() && !user.contains('/')))
    {
        shown.push_str(HIDDEN);
        shown.push('@');
        rest = host;
    }
    match rest.split_once('?') {
        Some((path, query)) if !scheme.is_empty() || query.contains('=') => {
            shown.push_str(path);
            shown.push('?');
            shown.push_str(HIDDEN);
        }
        _ => shown.push_str(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_secrets_hide_their_value() {
        for key in [
            "password",
            "DB_Password",
            "token",
            "access-token",
            "client_secret",
            "passwd",
            "auth-username",
            "Authorization",
            "api-key",
            "API_KEY",
            "apikey",
            "headers",
            "pass",
            "pw",
        ] {
            assert_eq!(masked(key, "hunter2"), "***", "{key}");
        }
        for key in [
            "password-file",
            "secret-credential",
            "ca-file",
            "monitorip",
            "note",
            "primary-gw",
            "key",
            "keys",
            "compass",
        ] {
            assert_eq!(masked(key, "hunter2"), "hunter2", "{key}");
        }
    }

    #[test]
    fn of_an_update_the_host_is_shown() {
        assert_eq!(
            host_only("https://u:p@h.example/u/TOKEN/{ip}?a=b"),
            "https://***@h.example/***"
        );
        assert_eq!(host_only("http://h.example"), "http://h.example");
        assert_eq!(host_only("TOKEN/x"), "TOKEN/***");
    }

    #[test]
    fn only_the_secret_parts_of_a_url_are_hidden() {
        for (value, shown) in [
            ("https://user:pw@example.com/ip", "https://***@example.com/ip"),
            ("https://token@example.com/ip", "https://***@example.com/ip"),
            ("https://example.com/ip?key=1#x", "https://example.com/ip?***"),
            ("https://example.com/ip?s3cret", "https://example.com/ip?***"),
            ("https://u:p@h/x?k=v and http://h/y", "https://***@h/x?*** and http://h/y"),
            ("u:p@example.com/ip", "***@example.com/ip"),
            ("example.com/ip?key=1", "example.com/ip?***"),
            ("https://u:p/w@h/x", "https://***@h/x"),
            ("https://u:p?w@h/x", "https://***@h/x"),
            ("https://u:p@w@h/x", "https://***@h/x"),
            ("https://example.com:8080/ip", "https://example.com:8080/ip"),
            ("what? me@example.com, 1.1.1.1", "what? me@example.com, 1.1.1.1"),
            ("$(touch /tmp/x); é\t", "$(touch /tmp/x); é\t"),
            ("", ""),
        ] {
            assert_eq!(masked("note", value), shown);
        }
    }
}
