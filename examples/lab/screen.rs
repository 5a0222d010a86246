//! What the demo prints: plain lines of at most 80 columns, with colours where a terminal shows
//! them.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crate::acts::{Act, Played};

const WIDTH: usize = 80;
/// Where imon's own words begin: behind the time.
const MARGIN: usize = 13;

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";

/// Standard output.
pub(crate) struct Screen {
    colour: bool,
}

impl Screen {
    /// Colours on a terminal, unless NO_COLOR (no-color.org) or TERM=dumb asks for none.
    pub(crate) fn new() -> Self {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self { colour: std::io::stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb }
    }

    /// Text as it is.
    pub(crate) fn text(&self, text: &str) {
        // A reader that went away (`| head`) is no reason to leave the demo half-way with a message
        // about pipes.
        let _ = write!(std::io::stdout(), "{text}");
    }

    /// What an act is about.
    pub(crate) fn heading(&self, number: usize, story: &str) {
        let text = format!("{number:2}. {}", wrap(story, 4));
        self.text(&format!("\n{}\n", self.paint(BOLD, &text)));
    }

    /// Something that is done to the network, or to imon.
    pub(crate) fn deed(&self, what: &str) {
        self.text(&format!("    -> {}\n", wrap(what, 7)));
    }

    /// A line of imon's, this long after the last deed.
    pub(crate) fn imon(&self, after: Duration, line: &str) {
        let text = format!("{:>8.2} s   {}", after.as_secs_f64(), wrap(line, MARGIN));
        self.text(&format!("{}\n", self.paint(DIM, &text)));
    }

    /// How an act ended.
    pub(crate) fn outcome(&self, outcome: &str, played: &Played) {
        let text = match played {
            Ok(None) => format!("    {} {outcome}", self.paint(GREEN, "ok:")),
            Ok(Some(took)) => {
                format!("    {} {outcome}, after {}", self.paint(GREEN, "ok:"), seconds(*took))
            }
            Err(why) => format!("    {} {}", self.paint(RED, "FAILED:"), wrap(why, 12)),
        };
        self.text(&format!("{text}\n"));
    }

    /// All acts on a line each. Those without a result were not reached.
    pub(crate) fn table(&self, acts: &[Act], results: &[Played]) {
        let head = format!("    {:<33} {:<33} {:>7}", "what happened", "what imon did", "after");
        self.text(&format!("\n{}\n", self.paint(BOLD, &head)));
        for (at, act) in acts.iter().enumerate() {
            let (after, outcome, colour) = match results.get(at) {
                Some(Ok(took)) => {
                    (took.map_or_else(|| "ok".to_owned(), seconds), act.outcome, GREEN)
                }
                Some(Err(_)) => ("FAILED".to_owned(), "not this:", RED),
                None => ("-".to_owned(), "not reached", DIM),
            };
            let after = self.paint(colour, &format!("{after:>7}"));
            self.text(&format!("{:2}  {:<33} {outcome:<33} {after}\n", at + 1, act.name));
            if let Some(Err(why)) = results.get(at) {
                self.text(&format!("      {}\n", wrap(why, 6)));
            }
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn seconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 100.0 { format!("{ms:.0} ms") } else { format!("{:.2} s", ms / 1000.0) }
}

/// Breaks text between words, further lines indented like the first, which begins in column
/// `indent`.
pub(crate) fn wrap(text: &str, indent: usize) -> String {
    let (mut wrapped, mut column) = (String::new(), indent);
    for word in text.split(' ') {
        let len = word.chars().count();
        if column > indent && column + 1 + len > WIDTH {
            wrapped.push('\n');
            wrapped.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if !wrapped.is_empty() {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += len;
    }
    wrapped
}
