//! What `imon check` prints.

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::json::fields::JsonWriter;
use crate::base::text::Clean;
use crate::probe::stats::Millis;

/// What became of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestState {
    /// Not known yet.
    Waiting,
    /// As it should be.
    Ok,
    /// Neither good nor bad.
    Info,
    /// Odd, and not the cause of an outage.
    Warn,
    /// A root cause.
    Fail,
    /// Not done: a permission is missing, or an option says so.
    Skipped,
    /// Not done: what it needs has failed.
    Untested,
}

impl TestState {
    /// Its name in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
            Self::Untested => "not-tested",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Waiting => "...",
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Skipped | Self::Untested => "-",
        }
    }

    /// The colour of its mark (ECMA-48, SGR).
    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Warn => "33",
            Self::Fail => "1;31",
            _ => "2",
        }
    }
}

/// One fact.
#[derive(Clone, PartialEq, Debug)]
pub struct Test {
    /// Its name, the same in every run and version.
    pub id: String,
    /// What became of it.
    pub state: TestState,
    /// How long it took.
    pub took: Option<Duration>,
    /// For a person.
    pub detail: String,
}

/// The sentence that all is about.
#[derive(Clone, PartialEq, Debug)]
pub struct Conclusion {
    /// Its name, the same in every run and version.
    pub id: &'static str,
    /// Exit status, as monitoring plugins have it: 0 well, 1 degraded, 2 broken, 3 could not test.
    pub exit: u8,
    /// What is the matter, and what to do.
    pub text: String,
}

/// All of it.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckReport {
    /// The verdict.
    pub verdict: Conclusion,
    /// The facts, in the order in which the way goes.
    pub tests: Vec<Test>,
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Columns; `None`: lines are as long as they are.
    pub width: Option<usize>,
    /// With colours.
    pub colour: bool,
}

/// Longest name of a test that others are aligned with.
const NAMES: usize = 16;

impl CheckReport {
    /// The verdict, then one fact a line.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        wrap(&mut out, &Clean(&self.verdict.text).to_string(), 0, 0, style.width);
        out.push('\n');
        self.tests.iter().for_each(|test| line(&mut out, test, self.names(), style));
        out
    }

    /// The facts as far as they are known, each cut to one row of the terminal. At most `rows`.
    #[must_use]
    pub fn live(&self, style: Style, rows: usize) -> String {
        let mut out = String::new();
        let width = style.width.unwrap_or(80).saturating_sub(1);
        for test in self.tests.iter().take(rows) {
            let mut row = String::new();
            line(&mut row, test, self.names(), Style { width: None, colour: false });
            out.extend(row.trim_end().chars().take(width));
            out.push('\n');
        }
        out
    }

    fn names(&self) -> usize {
        self.tests.iter().map(|test| test.id.len()).max().unwrap_or(0).min(NAMES)
    }

    /// The same for programs.
    #[must_use]
    pub fn json(&self, time: &str, took: Duration) -> String {
        let state = match self.verdict.exit {
            0 => "well",
            1 => "degraded",
            2 => "broken",
            _ => "unknown",
        };
        let tests = self.tests.iter().map(|test| {
            let mut w = JsonWriter::new();
            w.text("id", Some(&test.id)).text("state", Some(test.state.word()));
            match test.took {
                Some(took) => w.plain("seconds", seconds(took)),
                None => w.text("seconds", None),
            };
            w.text("detail", Some(&test.detail)).end()
        });
        let mut w = JsonWriter::new();
        w.plain("schema", 1)
            .text("version", Some(env!("CARGO_PKG_VERSION")))
            .text("time", Some(time));
        w.plain("seconds", seconds(took))
            .text("state", Some(state))
            .plain("exit", self.verdict.exit);
        w.text("verdict", Some(self.verdict.id))
            .text("text", Some(&self.verdict.text))
            .list("tests", tests)
            .end()
    }
}

fn seconds(took: Duration) -> Millis {
    Millis(took.as_secs_f64())
}

fn line(out: &mut String, test: &Test, names: usize, style: Style) {
    let (mark, id) = (test.state.mark(), &test.id);
    let text = Clean(&test.detail).to_string();
    // On a narrow screen there is no room for columns.
    let (hang, head) = match style.width {
        Some(width) if width < 60 => (5, format!("{mark:<4} {id}: ")),
        _ => (names + 7, format!("{mark:<4} {id:<names$}  ")),
    };
    let start = out.len();
    wrap(out, &text, head.chars().count(), hang, style.width);
    let head = if style.colour {
        let (plain, rest) = head.split_at(4);
        format!("\x1b[{}m{plain}\x1b[0m{rest}", test.state.colour())
    } else {
        head
    };
    let head = if out.get(start..).is_some_and(|text| text.starts_with('\n')) {
        head.trim_end()
    } else {
        &head
    };
    out.insert_str(start, head);
}

/// Adds a text whose first line begins at column `first` and whose others begin at `hang`, broken
/// between words.
fn wrap(out: &mut String, text: &str, first: usize, hang: usize, width: Option<usize>) {
    let width = width.unwrap_or(usize::MAX).max(hang + 10);
    let (mut column, mut begin) = (first, true);
    for word in text.split(' ') {
        let length = word.chars().count();
        let too_long = column + usize::from(!begin) + length > width;
        // A name may have left no room for the first word.
        if too_long && (!begin || column > hang) {
            let _ = write!(out, "\n{:hang$}", "");
            column = hang;
        } else if !begin {
            out.push(' ');
            column += 1;
        }
        // A word that is wider than the screen, a URL for instance, is cut.
        for c in word.chars() {
            if column >= width {
                let _ = write!(out, "\n{:hang$}", "");
                column = hang;
            }
            out.push(c);
            column += 1;
        }
        begin = false;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> CheckReport {
        let test = |id: &str, state, detail: &str| Test {
            id: id.to_owned(),
            state,
            took: Some(Duration::from_micros(1_500)),
            detail: detail.to_owned(),
        };
        CheckReport {
            verdict: Conclusion {
                id: "well",
                exit: 0,
                text: "All is well: the internet works over wan1, and so on.".into(),
            },
            tests: vec![
                test("link", TestState::Ok, "wan1 has a carrier"),
                test(
                    "ping:1.1.1.1",
                    TestState::Fail,
                    "no answer within 2.5 s, which is a long time for a packet",
                ),
            ],
        }
    }

    #[test]
    fn the_verdict_comes_first_and_then_a_fact_a_line() {
        let wide = report().text(Style { width: None, colour: false });
        assert_eq!(
            wide,
            "All is well: the internet works over wan1, and so on.\n\nok   link          wan1 has a carrier\n\
             FAIL ping:1.1.1.1  no answer within 2.5 s, which is a long time for a packet\n"
        );
        let coloured = report().text(Style { width: None, colour: true });
        assert!(coloured.contains("\x1b[1;31mFAIL\x1b[0m ping"), "{coloured}");
    }

    #[test]
    fn nothing_is_wider_than_a_small_screen() {
        for width in [20, 40, 60, 80] {
            let text = report().text(Style { width: Some(width), colour: false });
            assert!(text.lines().all(|l| l.len() <= width.max(30)), "{width}: {text}");
            let live = report().live(Style { width: Some(width), colour: false }, 1);
            assert_eq!(live.lines().count(), 1);
            assert!(live.lines().all(|l| l.len() < width), "{width}: {live}");
        }
        let narrow = report().text(Style { width: Some(40), colour: false });
        assert!(narrow.contains("\nok   link: wan1 has a carrier\n"), "{narrow}");
        let columns = |width| {
            report()
                .text(Style { width: Some(width), colour: false })
                .contains("\nok   link          wan1")
        };
        assert_eq!([columns(59), columns(60)], [false, true]);
    }

    #[test]
    fn a_long_name_leaves_room_below() {
        let mut report = report();
        report.tests[0].id = "ipv6-ping:2606:4700:4700::1111".to_owned();
        let text = report.text(Style { width: Some(40), colour: false });
        assert!(
            text.contains("\nok   ipv6-ping:2606:4700:4700::1111:\n     wan1 has a carrier\n"),
            "{text}"
        );
        report.tests[0].detail = format!("http://{}/", "x".repeat(80));
        let text = report.text(Style { width: Some(40), colour: false });
        assert!(text.lines().all(|l| l.len() <= 40), "{text}");
        report.tests[0].detail = "internationally".to_owned();
        let text = report.text(Style { width: Some(40), colour: false });
        assert!(
            text.contains("\nok   ipv6-ping:2606:4700:4700::1111:\n     internationally\n"),
            "{text}"
        );
    }

    #[test]
    fn what_came_from_outside_moves_no_cursor() {
        let mut report = report();
        report.tests[0].detail = "\x1b[2J\u{202e}x\n".to_owned();
        let text = report.text(Style { width: Some(40), colour: false });
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
        assert!(report.json("t", Duration::ZERO).contains("\\u001b"));
    }

    #[test]
    fn json_has_what_is_documented() {
        assert_eq!(
            report().json("2026-11-24T00:00:00.000Z", Duration::from_millis(2500)),
            format!(
                "{{\"schema\":1,\"version\":\"{}\",\"time\":\"2026-11-24T00:00:00.000Z\",\"seconds\":2.5,\
                 \"state\":\"well\",\"exit\":0,\"verdict\":\"well\",\
                 \"text\":\"All is well: the internet works over wan1, and so on.\",\"tests\":[\
                 {{\"id\":\"link\",\"state\":\"ok\",\"seconds\":0.002,\"detail\":\"wan1 has a carrier\"}},\
                 {{\"id\":\"ping:1.1.1.1\",\"state\":\"fail\",\"seconds\":0.002,\
                 \"detail\":\"no answer within 2.5 s, which is a long time for a packet\"}}]}}",
                env!("CARGO_PKG_VERSION")
            )
        );
    }
}
