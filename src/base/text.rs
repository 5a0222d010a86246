//! Small text helpers: the nearest word to a typo, and what may reach a log.

use std::fmt;

/// The candidate nearest to `word` if it is near enough to be meant (a third of its length away, at
/// least one and at most three edits), ignoring case. Edits are insertions, deletions, replacements
/// and swaps of neighbours.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (distance(&word.to_ascii_lowercase(), &c.to_ascii_lowercase()), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Optimal string alignment distance. Words longer than 64 characters are no typos of ours:
/// infinitely far.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(65).collect(), b.chars().take(65).collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at = |r: &[usize], k: usize| r.get(k).copied().unwrap_or(usize::MAX - 1);
            let mut d = (at(&last, j + 1) + 1)
                .min(at(&row, j) + 1)
                .min(at(&last, j) + usize::from(ca != cb));
            if i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca) {
                d = d.min(at(&before, j - 1).saturating_add(1));
            }
            row.push(d);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

/// Text with control characters escaped (`\n`, `\x1b`, `\u{202e}`), so that nothing that came from
/// a configuration, a script or the network can forge a log line or move a terminal's cursor.
pub struct Clean<'a>(pub &'a str);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (plain, from) = rest.split_at(at);
            f.write_str(plain)?;
            write!(f, "{}", c.escape_default())?;
            rest = from.get(c.len_utf8()..).unwrap_or("");
        }
        f.write_str(rest)
    }
}

/// Control characters, and the invisible ones that reorder what a reader sees (Unicode TR 36,
/// bidirectional controls).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["interval", "pingcount", "pingwait", "monitorip"];
        assert_eq!(nearest("intervall", known), Some("interval"));
        assert_eq!(nearest("pingcuont", known), Some("pingcount"));
        assert_eq!(nearest("MonitorIP", known), Some("monitorip"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }

    #[test]
    fn a_longer_word_may_be_farther_away() {
        for (typo, meant, near) in [
            ("xx", "xy", true),
            ("xx", "yy", false),
            ("abcde", "abcdX", true),
            ("abcde", "abcXX", false),
            ("abcdef", "abcdXX", true),
            ("abcdef", "abcXXX", false),
            ("abcdefghi", "abcdefXXX", true),
            ("abcdefghijkl", "abcdefghXXXX", false),
        ] {
            assert_eq!(nearest(typo, [meant]).is_some(), near, "{typo} {meant}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            Clean("a\nb\x1b[2Jc\u{202e}d\u{9b}é").to_string(),
            "a\\nb\\u{1b}[2Jc\\u{202e}d\\u{9b}é"
        );
        assert_eq!(Clean("plain").to_string(), "plain");
    }
}
