//! Numbers with a fraction, as settings and statistics have them. They are read and written by way
//! of `serde_json`, which is in the program anyway: what the standard library has for it, exact to
//! the last bit of any number, brings 20 KB of tables and code.

use std::fmt;

/// The number that a text is, if it is nothing else: `10`, `+10`, `0.5`, `.5`, `5.`, `1e3`.
/// Infinity is none.
#[must_use]
pub fn read(text: &str) -> Option<f64> {
    // JSON wants digits on both sides of the point, no plus sign, and no zero in front.
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (number, exponent) = text.split_at(text.find(['e', 'E']).unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Blanks at the end are nothing to JSON.
    let blank = exponent.ends_with(|c: char| c.is_ascii_whitespace());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) || blank {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let zero = if whole.is_empty() { "0" } else { "" };
    serde_json::from_str(&format!("{sign}{zero}{whole}.{fraction}0{exponent}")).ok()
}

/// The shortest digits that mean the same number, with a point: `10.0`, `0.1`; `1e+16` from there
/// on.
#[must_use]
pub fn shortest(value: f64) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}

/// A number for people: `10`, `0.5`.
#[derive(Clone, Copy, Debug)]
pub struct Plain(pub f64);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = shortest(self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// A number from 0 to 1e15 and the places, at most three, to which it is rounded. It is written
/// without zeros at the end but for the one behind the point, as Python's `str(round(value,
/// places))` does: the exact binary value is rounded, ties go to even. No allocation: a million
/// numbers a day are nothing then.
#[derive(Clone, Copy, Debug)]
pub struct Rounded(pub f64, pub usize);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, mut places) = *self;
        let scale = [1, 10, 100, 1000].get(places).copied().unwrap_or(1_u64);
        let scaled = scaled(value, scale);
        let mut fraction = scaled % scale;
        while fraction.is_multiple_of(10) && places > 1 {
            fraction /= 10;
            places -= 1;
        }
        write!(f, "{}.{fraction:0places$}", scaled / scale)
    }
}

/// A number from 0 on times `scale`, at most 1,000, rounded to a whole one.
fn scaled(value: f64, scale: u64) -> u64 {
    let bits = value.max(0.0).to_bits();
    let exponent = u32::try_from(bits >> 52).unwrap_or(0);
    // 53 bits, and 10 for the scale.
    let product = ((bits & ((1 << 52) - 1)) | (u64::from(exponent > 0) << 52)) * scale;
    // The value is this times two to the power of exponent - 1075.
    let Some(down) = 1075_u32.checked_sub(exponent).filter(|down| *down > 0) else {
        return product
            .saturating_mul(1_u64.checked_shl(exponent.saturating_sub(1075)).unwrap_or(u64::MAX));
    };
    let Some(whole) = product.checked_shr(down) else { return 0 };
    let (rest, half) = (product & ((1 << down) - 1), 1 << (down - 1));
    whole + u64::from(rest > half || (rest == half && whole % 2 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of all sizes, many of them halfway between two that can be written.
    fn numbers() -> impl Iterator<Item = f64> {
        let mut seed = 1_u64;
        (0..200_000_u32).map(move |n| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            match n % 4 {
                0 => (seed >> 40) as f64 / 2000.0,
                1 => (seed >> 50) as f64 / 16.0,
                2 => (seed >> 34) as f64 / 1e6,
                _ => f64::from_bits(seed >> 2).min(1e15),
            }
        })
    }

    #[test]
    fn numbers_are_rounded_as_the_standard_library_rounds_them() {
        for n in numbers() {
            for places in 1..=3 {
                let all = format!("{n:.places$}");
                let cut = all.trim_end_matches('0');
                let expected = if cut.ends_with('.') { format!("{cut}0") } else { cut.to_owned() };
                assert_eq!(Rounded(n, places).to_string(), expected, "{n:?}, {places}");
            }
        }
        assert_eq!(Rounded(f64::NAN, 3).to_string(), "0.0");
        assert_eq!(Rounded(-1.0, 3).to_string(), "0.0");
        assert!(Rounded(f64::INFINITY, 3).to_string().ends_with(".615"));
    }

    #[test]
    fn numbers_are_read_as_the_standard_library_reads_them() {
        for text in [
            "10", "+10", "-3", "0", "-0", "00", "007", "0.5", ".5", "5.", "+.5", "-.5", "1e3",
            "1E-3", "1.5e+2", "0e5", "", ".", "+", "-", "e5", ".e5", "1e", "1e+", "1 ", " 1",
            "1,5", "0x10", "1_0", "--1", "+-1", "1.2.3", "1e5.5", "é", "1é", "1e5 ", "1e5\n",
            "1e 5",
        ] {
            assert_eq!(read(text), text.parse().ok(), "{text:?}");
        }
        for n in numbers() {
            // All that a person writes is exact, longer ones to the last digit but one.
            let text = format!("{n:.6}");
            let expected: f64 = text.parse().unwrap();
            let got = read(&text).unwrap();
            assert!((got - expected).abs() <= expected * 4.0 * f64::EPSILON, "{text}: {got:?}");
            if n < 1e9 {
                assert_eq!(got, expected, "{text}");
            }
        }
        for text in ["inf", "nan", "infinity", "1e999", "-1e999"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_as_short_as_possible() {
        for n in numbers().filter(|n| *n >= 1e-4).chain([0.0, 1.0, 1e16, 1e300, 123_456_789.125]) {
            assert_eq!(shortest(n).replace("e+", "e"), format!("{n:?}"), "{n}");
        }
        assert_eq!([10.0, 0.01, 1e6].map(|n| Plain(n).to_string()), ["10", "0.01", "1000000"]);
    }
}
