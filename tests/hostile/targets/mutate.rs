//! Inputs: from seeds, changed a little, so that most get past the first check of what reads them.

use super::{LONGEST, Target};

/// Random numbers from a seed (xorshift64), so that a failure can be repeated.
pub struct Random(u64);

impl Random {
    /// The generator that always gives the same numbers for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Similar seeds give different numbers (splitmix64).
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)).max(1))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() >> 11) as usize % n.max(1)
    }

    fn byte(&mut self) -> u8 {
        (self.number() >> 24) as u8
    }
}

/// Numbers at which readers go wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    3,
    4,
    7,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
];
/// Texts at which readers go wrong.
const TEXTS: [&str; 30] = [
    "",
    "0",
    "-0",
    "-1",
    "1e999",
    "1e-999",
    "0.1",
    "9223372036854775808",
    "18446744073709551616",
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{202e}",
    "\u{1b}[2J",
    "é",
    "\u{10ffff}",
    "\n",
    "\r\n",
    "\t",
    "255.255.255.255",
    "::1",
    "%",
];

/// An input of a target: the `n`th of this seed.
#[must_use]
pub fn input(target: &Target, seeds: &[Vec<u8>], seed: u64, n: u64) -> Vec<u8> {
    let mut random = Random::new(seed ^ n.wrapping_mul(0xd129_0d3d_a4d1_5c2d));
    let from =
        |random: &mut Random| seeds.get(random.below(seeds.len())).cloned().unwrap_or_default();
    let mut data = if random.below(50) == 0 {
        let length = random.below(64);
        (0..length).map(|_| random.byte()).collect()
    } else {
        from(&mut random)
    };
    if random.below(6) == 0 {
        // The beginning of one and the end of another.
        let other = from(&mut random);
        let at = random.below(other.len() + 1);
        data.truncate(random.below(data.len() + 1));
        data.extend(&other[at..]);
    }
    change(target, &mut random, &mut data);
    data
}

/// Changes an input one to eight times.
pub fn change(target: &Target, random: &mut Random, data: &mut Vec<u8>) {
    for _ in 0..1_usize << random.below(4) {
        once(target, random, data);
    }
    data.truncate(LONGEST);
}

fn once(target: &Target, random: &mut Random, data: &mut Vec<u8>) {
    let at = random.below(data.len() + 1);
    let longest = if random.below(4) == 0 { 64 } else { 4 };
    let length = 1 + random.below(longest);
    let end = (at + length).min(data.len());
    match random.below(12) {
        0 => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = random.byte();
            }
        }
        // A number of some width, in either order.
        2 | 3 => {
            let number = NUMBERS[random.below(NUMBERS.len())]
                .wrapping_add(random.below(3) as u64)
                .wrapping_sub(1);
            let width = 1 << random.below(4);
            let bytes = if random.below(2) == 0 {
                number.to_le_bytes().to_vec()
            } else {
                number.to_be_bytes()[8 - width..].to_vec()
            };
            for (place, byte) in data.iter_mut().skip(at).zip(&bytes[..width]) {
                *place = *byte;
            }
        }
        4 => drop(data.drain(at..end)),
        // Once more, or many times.
        5 => {
            let piece = data[at..end].to_vec();
            let times = if random.below(8) == 0 { 100 } else { 1 };
            put(data, at..at, &piece.repeat(times));
        }
        // To another place.
        6 => {
            let piece: Vec<u8> = data.drain(at..end).collect();
            let to = random.below(data.len() + 1);
            put(data, to..to, &piece);
        }
        7 => data.truncate(at),
        // The number in a text, or whatever is there, becomes another one.
        8 => {
            let from = (at..data.len()).find(|at| data[*at].is_ascii_digit()).unwrap_or(at);
            let to =
                (from..data.len()).find(|at| !data[*at].is_ascii_digit()).unwrap_or(data.len());
            put(data, from..to, TEXTS[random.below(TEXTS.len())].as_bytes());
        }
        9 => put(data, at..at, TEXTS[random.below(TEXTS.len())].as_bytes()),
        _ if target.words.is_empty() => {
            let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            put(data, at..end, &bytes);
        }
        // A word in place of another.
        10 => {
            let from =
                data[..at].iter().rposition(|byte| !is_of_word(*byte)).map_or(0, |at| at + 1);
            let to = (at..data.len()).find(|at| !is_of_word(data[*at])).unwrap_or(data.len());
            put(
                data,
                from..to.max(from),
                target.words[random.below(target.words.len())].as_bytes(),
            );
        }
        _ => put(data, at..at, target.words[random.below(target.words.len())].as_bytes()),
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':')
}

fn put(data: &mut Vec<u8>, range: std::ops::Range<usize>, piece: &[u8]) {
    drop(data.splice(range, piece.iter().copied()));
}
