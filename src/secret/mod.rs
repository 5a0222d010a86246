//! Secrets in the words of others: a provider may repeat what it was sent, in any spelling. Its
//! text passes through here before anything of it is cut, kept or shown; our own words never do, so
//! that a short secret cannot eat them.

pub mod mask;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::secret::mask::HIDDEN;

/// Stands in place of a text that contains a secret too short to be told from the words around it.
pub const WITHHELD: &str = "(not shown: it may contain the secret)";
/// Pieces of a secret from this length on are hidden, in bytes of its spelling.
const PIECE: usize = 6;
/// The same for hexadecimal digits, which addresses and numbers consist of as well.
const HEX_PIECE: usize = 8;
/// A shorter secret is found in half of all words: in bytes.
const SHORT: usize = 4;
/// How often escapes in escapes are undone.
const LAYERS: usize = 3;
/// A part of a URL from this length on, with a digit and without a dot, is taken for a token.
const TOKEN: usize = 8;

/// What no text of a provider may show.
#[derive(Default)]
pub struct Secrets {
    needles: Vec<Needle>,
    /// Nothing of a secret is left to search for: it consists of blanks.
    blank: bool,
}

/// One spelling of a secret.
struct Needle {
    /// Folded as this says.
    fold: Fold,
    text: Vec<u8>,
    /// How many of its bytes in a row are enough.
    piece: usize,
    /// The secret is short: a text with it is not shown at all.
    short: bool,
}

/// Which differences do not count, beside that of upper and lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fold {
    /// Blanks (`+` is one in a query), control characters, and invisible ones.
    Blanks,
    /// All punctuation: `ab:cd` and `ab-cd` are `abcd`, and base64 has one alphabet.
    Punctuation,
}

/// A byte, and the part of the original text it comes from.
#[derive(Clone, Copy)]
struct Unit {
    byte: u8,
    from: usize,
    to: usize,
}

impl Fold {
    const ALL: [Self; 2] = [Self::Blanks, Self::Punctuation];

    /// What counts of a text. U+00AD, U+200B to U+200F and U+FEFF are blanks as well, by their
    /// UTF-8.
    fn of(self, units: &[Unit]) -> Vec<Unit> {
        let mut out: Vec<Unit> = Vec::with_capacity(units.len());
        let mut rest = units;
        while let [first, after @ ..] = rest {
            let byte = first.byte.to_ascii_lowercase();
            let next = |n: usize| after.get(n).map_or(0, |unit| unit.byte);
            let invisible = match (byte, next(0), next(1)) {
                (0xc2, 0x80..=0xa0 | 0xad, _) => 2,
                (0xe2, 0x80, 0x8b..=0x8f) | (0xef, 0xbb, 0xbf) => 3,
                _ => 0,
            };
            rest = after.get(usize::saturating_sub(invisible, 1)..).unwrap_or_default();
            let counts = match self {
                Self::Blanks => byte > b' ' && byte != b'+' && byte != 0x7f,
                Self::Punctuation => byte >= 0x80 || byte.is_ascii_alphanumeric(),
            };
            if invisible == 0 && counts {
                out.push(Unit { byte, ..*first });
            }
        }
        out
    }
}

impl Secrets {
    /// Those of a request: the secret itself, and what looks like one in its URL, where some users
    /// write it.
    #[must_use]
    pub fn of(url: &str, secret: &str) -> Self {
        let mut secrets = Self::default();
        secrets.add(secret);
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        for part in path.split('/').skip(1).chain(query.split('&')) {
            let (key, value) = part.split_once('=').unwrap_or(("", part));
            let token = value.len() >= TOKEN
                && !value.contains('.')
                && value.bytes().any(|b| b.is_ascii_digit());
            // An address is no secret: its colons are percent-encoded.
            let address = value.contains("%3A");
            if (token && !address) || (mask::is_secret(key) && value.len() >= SHORT) {
                secrets.add(&text(&layers(value).pop().unwrap_or_default()));
            }
        }
        secrets
    }

    fn add(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let plain = folded(secret, Fold::Blanks);
        let short = plain.len() < SHORT;
        self.blank |= plain.is_empty();
        // It may look like escapes, which the search undoes.
        for layer in layers(secret) {
            for fold in Fold::ALL {
                let needle: Vec<u8> = fold.of(&layer).iter().map(|unit| unit.byte).collect();
                // Three quarters of a shorter one.
                let chars = needle.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
                let piece = (chars * 3 / 4).min(PIECE);
                self.push(
                    Needle { fold, piece, short, text: needle },
                    if short { 1 } else { SHORT },
                );
            }
        }
        for form in [secret, &encoded(secret)] {
            let hex: String = form.bytes().map(|byte| format!("{byte:02x}")).collect();
            self.push_whole(&hex, HEX_PIECE, short);
            // Within other text its bytes begin at any third of a group of four characters; those
            // that depend on what stands before or after are left out.
            for (before, unsure) in [(0, 0), (1, 2), (2, 3)] {
                let bytes = [vec![0; before], form.as_bytes().to_vec()].concat();
                let code = STANDARD_NO_PAD.encode(&bytes);
                let sure = code.len() - usize::from(bytes.len() % 3 != 0);
                self.push_whole(code.get(unsure..sure).unwrap_or_default(), PIECE, short);
            }
        }
    }

    /// A spelling of letters and digits.
    fn push_whole(&mut self, code: &str, piece: usize, short: bool) {
        let needle = folded(code, Fold::Punctuation);
        let piece = needle.len().min(piece);
        self.push(Needle { fold: Fold::Punctuation, piece, short, text: needle }, 2);
    }

    fn push(&mut self, needle: Needle, least: usize) {
        let known = |other: &Needle| other.fold == needle.fold && other.text == needle.text;
        if needle.text.len() >= least && !self.needles.iter().any(known) {
            self.needles.push(needle);
        }
    }

    /// The text of a provider as it may be shown: each piece of a secret hidden, in whatever
    /// spelling, and the letters and digits around it as well. [`WITHHELD`] where a secret is too
    /// short for that.
    #[must_use]
    pub fn hide(&self, foreign: &str) -> String {
        if self.blank && !foreign.is_empty() {
            return WITHHELD.to_owned();
        }
        let mut hidden = vec![false; foreign.len()];
        for layer in layers(foreign) {
            for fold in Fold::ALL {
                let units = fold.of(&layer);
                let bytes: Vec<u8> = units.iter().map(|unit| unit.byte).collect();
                for needle in self.needles.iter().filter(|needle| needle.fold == fold) {
                    let mut pieces: Vec<&[u8]> = needle.text.windows(needle.piece.max(1)).collect();
                    pieces.sort_unstable();
                    for (window, place) in
                        bytes.windows(needle.piece.max(1)).zip(units.windows(needle.piece.max(1)))
                    {
                        if pieces.binary_search(&window).is_err() {
                            continue;
                        }
                        if needle.short {
                            return WITHHELD.to_owned();
                        }
                        let (from, to) =
                            (place.first().map_or(0, |u| u.from), place.last().map_or(0, |u| u.to));
                        hidden.get_mut(from..to).unwrap_or_default().fill(true);
                    }
                }
            }
        }
        shown(foreign, &mut hidden)
    }
}

/// A text with [`HIDDEN`] in place of what is hidden and of the letters and digits next to it.
fn shown(text: &str, hidden: &mut [bool]) -> String {
    // Once in each direction.
    let mut places: Vec<(usize, char)> = text.char_indices().collect();
    for _ in 0..2 {
        let mut before = false;
        for (at, c) in &places {
            let Some(here) = hidden.get_mut(*at..at + c.len_utf8()) else { continue };
            before =
                here.contains(&true) || (before && (c.is_ascii_alphanumeric() || !c.is_ascii()));
            here.fill(before);
        }
        places.reverse();
    }
    let mut out = String::with_capacity(text.len());
    let mut before = false;
    for (at, c) in places {
        let now = hidden.get(at).copied().unwrap_or(false);
        match (before, now) {
            (false, true) => out.push_str(HIDDEN),
            (_, false) => out.push(c),
            _ => {}
        }
        before = now;
    }
    out
}

fn folded(text: &str, fold: Fold) -> Vec<u8> {
    fold.of(&plain(text)).iter().map(|unit| unit.byte).collect()
}

/// Each byte of a text, with the whole character it belongs to as its place.
fn plain(text: &str) -> Vec<Unit> {
    let place = |(at, c): (usize, char)| std::iter::repeat_n((at, at + c.len_utf8()), c.len_utf8());
    let units = text.bytes().zip(text.char_indices().flat_map(place));
    units.map(|(byte, (from, to))| Unit { byte, from, to }).collect()
}

fn text(units: &[Unit]) -> String {
    let bytes: Vec<u8> = units.iter().map(|unit| unit.byte).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text as it is, and with its escapes undone once, twice and so on, as far as it has any.
fn layers(text: &str) -> Vec<Vec<Unit>> {
    let mut layers = Vec::with_capacity(LAYERS + 1);
    let mut units = plain(text);
    for _ in 0..LAYERS {
        let (mut next, mut rest, mut any) =
            (Vec::with_capacity(units.len()), units.as_slice(), false);
        while let [first, after @ ..] = rest {
            let mut head = [0; 12];
            head.iter_mut().zip(rest).for_each(|(byte, unit)| *byte = unit.byte);
            let Some((meant, used)) = escape(&head).filter(|(_, used)| *used <= rest.len()) else {
                next.push(*first);
                rest = after;
                continue;
            };
            let (escaped, after) = rest.split_at(used);
            let to = escaped.last().map_or(first.to, |unit| unit.to);
            let mut utf8 = [0; 4];
            let bytes = match &meant {
                Meant::Byte(byte) => std::slice::from_ref(byte),
                Meant::Char(c) => c.encode_utf8(&mut utf8).as_bytes(),
            };
            next.extend(bytes.iter().map(|byte| Unit { byte: *byte, from: first.from, to }));
            (rest, any) = (after, true);
        }
        layers.push(std::mem::replace(&mut units, next));
        if !any {
            return layers;
        }
    }
    layers.push(units);
    layers
}

enum Meant {
    Byte(u8),
    Char(char),
}

/// What the escape at the beginning means, and its length: `%41`, `%u0041`, `\u0041`, `\u{41}`,
/// `\x41`, `\/`, `&#65;`, `&#x41;`, `&amp;`.
fn escape(at: &[u8]) -> Option<(Meant, usize)> {
    /// The number between `skip` bytes and the end: `digits` of them, or as many as there are
    /// before `end`.
    fn number(
        at: &[u8],
        skip: usize,
        digits: usize,
        radix: u32,
        end: Option<u8>,
    ) -> Option<(u32, usize)> {
        let rest = at.get(skip..)?;
        let length = match end {
            Some(end) => rest.iter().position(|byte| *byte == end)?,
            None => digits,
        };
        let digits =
            rest.get(..length).filter(|digits| digits.iter().all(u8::is_ascii_alphanumeric))?;
        let value = u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?;
        Some((value, skip + length + usize::from(end.is_some())))
    }
    let found = match at {
        [b'%', b'u' | b'U', ..]
        | [b'\\', b'u' | b'U', b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..] => {
            number(at, 2, 4, 16, None)
        }
        [b'%', ..] | [b'\\', b'x', ..] => {
            let (byte, used) = number(at, if at.starts_with(b"%") { 1 } else { 2 }, 2, 16, None)?;
            return Some((Meant::Byte(u8::try_from(byte).ok()?), used));
        }
        [b'\\', b'u', b'{', ..] => number(at, 3, 0, 16, Some(b'}')),
        [b'\\', c, ..] if c.is_ascii_punctuation() => Some((u32::from(*c), 2)),
        [b'\\', b'n' | b'r' | b't', ..] => Some((u32::from(b' '), 2)),
        [b'&', b'#', b'x' | b'X', ..] => number(at, 3, 0, 16, Some(b';')),
        [b'&', b'#', ..] => number(at, 2, 0, 10, Some(b';')),
        [b'&', ..] => {
            let names: [(&[u8], char); 5] = [
                (b"&amp;", '&'),
                (b"&quot;", '"'),
                (b"&apos;", '\''),
                (b"&lt;", '<'),
                (b"&gt;", '>'),
            ];
            let (name, c) = names.into_iter().find(|(name, _)| at.starts_with(name))?;
            return Some((Meant::Char(c), name.len()));
        }
        _ => None,
    };
    let (code, used) = found?;
    Some((Meant::Char(char::from_u32(code)?), used))
}

/// Percent-encoded for a query (RFC 3986, 2.3: what is unreserved stays).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte))
            }
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests;
