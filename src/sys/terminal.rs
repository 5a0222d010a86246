//! The terminal, if there is one.

use std::io::{self, IsTerminal, Write};

/// Whether standard input is typed by a person.
#[must_use]
pub fn is_input() -> bool {
    io::stdin().is_terminal()
}

/// Whether standard output is looked at by a person.
#[must_use]
pub fn is_output() -> bool {
    io::stdout().is_terminal()
}

/// Whether the cursor can be moved: not on a terminal that says it is dumb, or does not say what it
/// is.
#[must_use]
pub fn moves_cursor() -> bool {
    is_output() && super::env("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Whether colours are wanted (no-color.org) and can be shown.
#[must_use]
pub fn has_colours() -> bool {
    moves_cursor() && super::env("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns and rows of the terminal on standard output; a serial console does not know them.
#[must_use]
pub fn size() -> Option<(usize, usize)> {
    // SAFETY: integers only, for which zero is valid.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes a winsize, to which the pointer leads.
    super::cerr(unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ as _, &raw mut size) })
        .ok()?;
    let (columns, rows) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (columns > 0 && rows > 0).then_some((columns, rows))
}

/// Writes to standard output at once.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
