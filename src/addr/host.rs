//! A host as a person writes it: an address or a DNS name.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

/// An address or a name, with the text exactly as it was configured (logs and action scripts repeat
/// it unchanged).
/// ```
/// use imon::addr::host::Host;
///
/// let host = Host::parse("1.1.1.1").unwrap();
/// assert_eq!(host.address(), Some([1, 1, 1, 1].into()));
///
/// // A name has no address until the resolver finds one.
/// assert_eq!(Host::parse("one.one.one.one").unwrap().address(), None);
///
/// // Text that only looks like an address is a mistake, not a name.
/// let why = Host::parse("1.1.1").unwrap_err();
/// assert_eq!(why, "is not an IPv4 address (four numbers from 0 to 255, without leading zeros)");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    text: Rc<str>,
    address: Option<IpAddr>,
}

impl Host {
    /// Reads an IPv4 or IPv6 address or a DNS name. The error says what is wrong with it, without
    /// repeating it.
    ///
    /// # Errors
    /// Empty text, zone ids (`fe80::1%eth0`), forms that only look like IPv4 (`1.1`, `010.1.1.1`),
    /// and names with characters or label lengths that RFC 1035 does not allow (an underscore is
    /// accepted, as resolvers do).
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Ok(address) = text.parse::<IpAddr>() {
            // `::ffff:192.0.2.1` is an IPv4 address: the kernel would send nothing to it over IPv6.
            return Ok(Self { text: text.into(), address: Some(address.to_canonical()) });
        }
        check_name(text)?;
        Ok(Self { text: text.into(), address: None })
    }

    /// The text as configured.
    #[must_use]
    pub fn text(&self) -> &Rc<str> {
        &self.text
    }

    /// The address, when it was written as one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Checks a DNS name: labels of 1 to 63 letters, digits, `-` and `_`, not beginning or ending with
/// `-`, at most 253 characters in all, the last label not wholly digits (that would be a mistyped
/// address). One trailing dot is fine.
///
/// # Errors
/// What is wrong, for a person.
pub fn check_name(text: &str) -> Result<(), &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err("is empty");
    }
    if name.contains('%') {
        return Err("has a zone id, which is not supported");
    }
    if name.contains(':') {
        return Err("is not an IPv6 address");
    }
    if name.len() > 253 {
        return Err("is longer than the 253 characters of a DNS name");
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err("has an empty label (two dots in a row, or one at the start)");
        }
        if label.len() > 63 {
            return Err("has a label of more than 63 characters");
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err("is neither an address nor a DNS name");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("has a label that begins or ends with '-'");
        }
    }
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err("is not an IPv4 address (four numbers from 0 to 255, without leading zeros)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        assert_eq!(Host::parse("1.1.1.1").unwrap().address(), Some("1.1.1.1".parse().unwrap()));
        assert_eq!(
            Host::parse("2606:4700::1111").unwrap().address(),
            Some("2606:4700::1111".parse().unwrap())
        );
        assert_eq!(
            Host::parse("::ffff:1.1.1.1").unwrap().address(),
            Some("1.1.1.1".parse().unwrap())
        );
        for name in [
            "localhost",
            "one.one.one.one",
            "_x.example",
            "a-b.c.",
            "1e100.net",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(Host::parse(name).unwrap().address(), None, "{name}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        let long = format!("{}.example", "x".repeat(64));
        for bad in [
            "",
            ".",
            "1.1",
            "1.1.1.256",
            "010.1.1.1",
            "1.1.1.1.1",
            "fe80::1%eth0",
            "::g",
            "a..b",
            ".a",
            "-a.b",
            "a b",
        ] {
            assert!(Host::parse(bad).is_err(), "{bad}");
        }
        assert!(Host::parse(&long).is_err());
        assert!(Host::parse("$(touch /tmp/x)").is_err());
        assert!(Host::parse(&"a.".repeat(130)).is_err());
    }
}
