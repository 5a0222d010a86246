//! Local dates in the notation of strftime(3), in the language C. The C library's own brings printf
//! with it, 11 KB.

use std::fmt::Write;

use super::Wall;

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment as the clocks of a place show it, numbered as in C's `struct tm`.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// The moment itself.
    pub wall: Wall,
    /// The year, as 2026.
    pub year: i64,
    /// The month, 0 to 11.
    pub month: i64,
    /// The day of the month, 1 to 31.
    pub day: i64,
    /// The hour, 0 to 23.
    pub hour: i64,
    /// The minute, 0 to 59.
    pub minute: i64,
    /// The second, 0 to 60.
    pub second: i64,
    /// The day of the week, 0 to 6, from Sunday on.
    pub weekday: i64,
    /// The day of the year, 0 to 365.
    pub yearday: i64,
    /// Seconds east of Greenwich.
    pub offset: i64,
    /// The name of the time zone.
    pub zone: &'a str,
}

impl Local<'_> {
    /// Appends the date. Conversions are those of POSIX, without widths, and `%f` (microseconds, as
    /// Python's), `%k`, `%l`, `%P` and the flags `-`, `_`, `0` of the GNU C library. Of a format
    /// with any other nothing is written, and the answer is false.
    pub fn write(&self, format: &str, out: &mut String) -> bool {
        let before = out.len();
        let good = self.append(format, out).is_some();
        if !good {
            out.truncate(before);
        }
        good
    }

    fn append(&self, format: &str, out: &mut String) -> Option<()> {
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut c = rest.next()?;
            let mut pad = None;
            while matches!(c, '-' | '_' | '0') {
                pad = Some(c);
                c = rest.next()?;
            }
            // Another calendar's year and digits: there are none in the language C.
            if matches!(c, 'E' | 'O') {
                c = rest.next()?;
            }
            let twelve = (self.hour + 11) % 12 + 1;
            // A number, its digits, and what fills them up.
            let (number, digits, fill) = match c {
                'C' => (self.year.div_euclid(100), 2, '0'),
                'd' => (self.day, 2, '0'),
                'e' => (self.day, 2, '_'),
                'f' => (i64::from(self.wall.nanos / 1000), 6, '0'),
                'g' => (self.iso().0.rem_euclid(100), 2, '0'),
                'G' => (self.iso().0, 1, '0'),
                'H' => (self.hour, 2, '0'),
                'I' => (twelve, 2, '0'),
                'j' => (self.yearday + 1, 3, '0'),
                'k' => (self.hour, 2, '_'),
                'l' => (twelve, 2, '_'),
                'm' => (self.month + 1, 2, '0'),
                'M' => (self.minute, 2, '0'),
                's' => (self.wall.secs, 1, '0'),
                'S' => (self.second, 2, '0'),
                'u' => ((self.weekday + 6) % 7 + 1, 1, '0'),
                'U' => ((self.yearday + 7 - self.weekday) / 7, 2, '0'),
                'V' => (self.iso().1, 2, '0'),
                'w' => (self.weekday, 1, '0'),
                'W' => ((self.yearday + 7 - (self.weekday + 6) % 7) / 7, 2, '0'),
                'y' => (self.year.rem_euclid(100), 2, '0'),
                'Y' => (self.year, 1, '0'),
                _ => {
                    self.text(c, out)?;
                    continue;
                }
            };
            // A text can be written to without end.
            let _ = match pad.unwrap_or(fill) {
                '-' => write!(out, "{number}"),
                '_' => write!(out, "{number:digits$}"),
                _ => write!(out, "{number:0digits$}"),
            };
        }
        Some(())
    }

    fn text(&self, conversion: char, out: &mut String) -> Option<()> {
        let name = |names: &[&'static str], at: i64| names.get(usize::try_from(at).ok()?).copied();
        let short = |name: &'static str| name.get(..3);
        let word = match conversion {
            'a' => short(name(&DAYS, self.weekday)?)?,
            'A' => name(&DAYS, self.weekday)?,
            'b' | 'h' => short(name(&MONTHS, self.month)?)?,
            'B' => name(&MONTHS, self.month)?,
            'n' => "\n",
            'p' if self.hour < 12 => "AM",
            'p' => "PM",
            'P' if self.hour < 12 => "am",
            'P' => "pm",
            't' => "\t",
            'Z' => self.zone,
            '%' => "%",
            'z' => {
                let minutes = self.offset.abs() / 60;
                let sign = if self.offset < 0 { '-' } else { '+' };
                return write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60).ok();
            }
            'c' => return self.append("%a %b %e %T %Y", out),
            'D' | 'x' => return self.append("%m/%d/%y", out),
            'F' => return self.append("%Y-%m-%d", out),
            'r' => return self.append("%I:%M:%S %p", out),
            'R' => return self.append("%H:%M", out),
            'T' | 'X' => return self.append("%H:%M:%S", out),
            _ => return None,
        };
        out.push_str(word);
        Some(())
    }

    /// Year and number of the week by ISO 8601: weeks begin on Monday and belong to the year of
    /// their Thursday.
    fn iso(&self) -> (i64, i64) {
        let length =
            |year: i64| 365 + i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
        let thursday = self.yearday - (self.weekday + 6) % 7 + 3;
        let (year, day) = match thursday {
            _ if thursday < 0 => (self.year - 1, thursday + length(self.year - 1)),
            _ if thursday >= length(self.year) => (self.year + 1, thursday - length(self.year)),
            _ => (self.year, thursday),
        };
        (year, day / 7 + 1)
    }
}
