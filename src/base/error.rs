//! Errors of the system in words.

use std::io;

/// An error's text without the number that Rust adds: `Network is unreachable`.
#[must_use]
pub fn text(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Whether this error means that this process or the system has no more of something. It may have
/// later.
#[must_use]
pub fn is_shortage(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS))
}
