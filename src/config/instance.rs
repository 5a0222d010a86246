//! Instance names: part of a file name, and of the name of a service.

use std::fmt::Write as _;

use crate::base::text::Clean;

/// Longest name in bytes. File names end at 255, and lock and status files add to the name.
pub const MAX_BYTES: usize = 200;

/// Checks an instance name. `Ok(Some(…))` is a warning: the name works, but as a systemd service
/// only under another form of it, which the warning spells out. No control character reaches the
/// messages unescaped.
///
/// `imon@.service` passes `%i`, the name exactly as it stands in the unit's name, to imon. A blank
/// cannot stand there; systemd writes it `\x20`, and that, not the blank, is what imon then gets to
/// see. (The original's unit had `%I`, which undoes this but turns every `-` into `/`.)
///
/// # Errors
/// Names that are empty, leave the directory (`/`, `.`, `..`), contain control characters or are
/// too long.
pub fn check(name: &str) -> Result<Option<String>, String> {
    if name.is_empty() {
        return Err("The instance name is empty".to_owned());
    }
    let shown: String = name.chars().take(60).collect();
    let refused = |why: &str| Err(format!("Invalid instance name '{}': {why}", Clean(&shown)));
    if name.len() > MAX_BYTES {
        return refused(&format!("it is longer than {MAX_BYTES} bytes"));
    }
    if name.contains('/') {
        return refused("a / would lead to another directory");
    }
    if name == "." || name == ".." {
        return refused("this is a directory");
    }
    if name.chars().any(char::is_control) {
        return refused("it contains a control character");
    }
    if stands_in_a_unit_name(name) {
        return Ok(None);
    }
    let escaped = escaped(name);
    let quoted = name.replace('\'', r"'\''");
    Ok(Some(format!(
        "Instance name '{}' is not what systemd passes on: a service started with \
         systemctl start \"$(systemd-escape --template=imon@.service '{}')\" is told the name '{escaped}' and reads the \
         configuration file imon-{escaped}; a name of letters, digits and : _ . - has one form only",
        Clean(name),
        Clean(&quoted)
    )))
}

/// Whether `imon@NAME.service` is what `systemctl` makes of NAME. A `\x20` is what the service of
/// an escaped name is told, so it passes.
fn stands_in_a_unit_name(name: &str) -> bool {
    let mut rest = name.as_bytes();
    if name.starts_with('.') {
        return false;
    }
    loop {
        rest = match rest {
            [] => return true,
            [b'\\', b'x', a, b, after @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                after
            }
            [c, after @ ..] if c.is_ascii_alphanumeric() || b":_.-".contains(c) => after,
            _ => return false,
        };
    }
}

/// The name as `systemd-escape` writes it: `-` too becomes `\x2d`, because it stands for `/` there.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for (i, b) in name.bytes().enumerate() {
        if b.is_ascii_alphanumeric() || matches!(b, b':' | b'_') || (b == b'.' && i > 0) {
            text.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{b:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let long = "x".repeat(201);
        for name in
            ["", "/", "a/b", "../shadow", ".", "..", "a\nb", "a\0", "\u{7f}", "a\u{9b}m", &long]
        {
            let error = check(name).unwrap_err();
            assert!(!error.chars().any(char::is_control) && error.len() < 200, "{error}");
        }
        assert_eq!(
            check("a\nb").unwrap_err(),
            r"Invalid instance name 'a\nb': it contains a control character"
        );
    }

    #[test]
    fn names_that_systemd_keeps_are_fine() {
        for name in
            ["main", "my-wan", "a:b_c.d-e", "X9", "-x", "a..b", r"my\x20wan", &"x".repeat(200)]
        {
            assert_eq!(check(name), Ok(None), "{name}");
        }
    }

    #[test]
    fn other_names_are_told_what_works() {
        // The right-hand sides are what systemd-escape 252 prints.
        for (name, escaped) in [
            ("my wan", r"my\x20wan"),
            (".a", r"\x2ea"),
            ("a@b", r"a\x40b"),
            ("my wan-1", r"my\x20wan\x2d1"),
            ("a:b_c.d e", r"a:b_c.d\x20e"),
            ("é", r"\xc3\xa9"),
            ("a'b", r"a\x27b"),
            (r"a\b", r"a\x5cb"),
            (r"a\x2", r"a\x5cx2"),
            ("$(reboot)", r"\x24\x28reboot\x29"),
        ] {
            let warning = check(name).unwrap().unwrap();
            assert!(warning.contains(&format!("configuration file imon-{escaped};")), "{warning}");
            assert_eq!(check(escaped), Ok(None), "the service of {name} must not be warned");
        }
        let warning = check("a'b").unwrap().unwrap();
        assert!(warning.contains(r"--template=imon@.service 'a'\''b')"), "{warning}");
    }
}
