//! Who can be asked for the external address, and whose word each of them is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use ureq::http::Uri;

use crate::addr::family::Family;
use crate::wire::dns::{self, DnsQuestion, Name};

/// Longest URL that is taken, in bytes.
pub const LONGEST_URL: usize = 1000;

/// A source of the external address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// As written in the configuration: a URL, `dns:NAME` or `interface`.
    pub text: Rc<str>,
    /// Who runs it: two sources of one operator are one opinion.
    pub operator: Rc<str>,
    /// How it is asked.
    pub means: SourceMeans,
}

/// How a source is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceMeans {
    /// A web page.
    Page {
        /// By HTTPS: nobody on the way can change the answer.
        secure: bool,
        /// It is in Cloudflare's trace format instead of one address.
        trace: bool,
    },
    /// A name server that answers with the asker's address.
    Dns(Service),
    /// The interface's own address.
    Interface,
}

/// The kinds of which two must agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// Web pages.
    Http,
    /// Name servers.
    Dns,
    /// The interface.
    Interface,
}

/// Name servers that tell who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// `whoami.cloudflare` in the class CH.
    Cloudflare,
    /// `myip.opendns.com`.
    OpenDns,
    /// `o-o.myaddr.l.google.com`.
    Google,
}

impl Service {
    const ALL: [Self; 3] = [Self::Cloudflare, Self::OpenDns, Self::Google];

    fn word(self) -> &'static str {
        match self {
            Self::Cloudflare => "cloudflare",
            Self::OpenDns => "opendns",
            Self::Google => "google",
        }
    }

    fn operator(self) -> &'static str {
        match self {
            Self::Cloudflare => "cloudflare.com",
            Self::OpenDns => "opendns.com",
            Self::Google => "google.com",
        }
    }

    /// Its own server: any other would tell that one's address. (For Google `ns1.google.com`, by
    /// address.)
    #[must_use]
    pub fn server(self, family: Family) -> IpAddr {
        let (v4, v6) = match self {
            Self::Cloudflare => (
                Ipv4Addr::new(1, 1, 1, 1),
                Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111),
            ),
            Self::OpenDns => (
                Ipv4Addr::new(208, 67, 222, 222),
                Ipv6Addr::new(0x2620, 0x119, 0x35, 0, 0, 0, 0, 0x35),
            ),
            Self::Google => (
                Ipv4Addr::new(216, 239, 32, 10),
                Ipv6Addr::new(0x2001, 0x4860, 0x4802, 0x32, 0, 0, 0, 0xa),
            ),
        };
        match family {
            Family::V4 => v4.into(),
            Family::V6 => v6.into(),
        }
    }

    /// What it is asked.
    ///
    /// # Errors
    /// None in fact: the names are good ones.
    pub fn question(self, family: Family) -> Result<DnsQuestion, dns::NameError> {
        let (name, kind, class) = match (self, family) {
            (Self::Cloudflare, _) => ("whoami.cloudflare", dns::RecordType::Txt, dns::Class::Ch),
            (Self::OpenDns, Family::V4) => ("myip.opendns.com", dns::RecordType::A, dns::Class::In),
            (Self::OpenDns, Family::V6) => {
                ("myip.opendns.com", dns::RecordType::Aaaa, dns::Class::In)
            }
            (Self::Google, _) => ("o-o.myaddr.l.google.com", dns::RecordType::Txt, dns::Class::In),
        };
        Ok(DnsQuestion { name: Name::parse(name)?, kind, class })
    }
}

/// The sources of a configuration that names none: different operators, different paths, all of
/// them for both families but one. In this order.
pub const DEFAULTS: &[&str] = if cfg!(feature = "tls") {
    &[
        "https://www.cloudflare.com/cdn-cgi/trace",
        "dns:opendns",
        "https://api64.ipify.org/",
        "dns:google",
        "https://checkip.amazonaws.com/",
        "dns:cloudflare",
        "https://ifconfig.me/ip",
    ]
} else {
    &[
        "http://checkip.amazonaws.com/",
        "dns:opendns",
        "http://icanhazip.com/",
        "dns:google",
        "dns:cloudflare",
    ]
};

impl Source {
    /// Reads a source as it is written in the configuration.
    ///
    /// # Errors
    /// What is wrong, without repeating the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        if lower == "interface" {
            return Ok(Self {
                text: "interface".into(),
                operator: "interface".into(),
                means: SourceMeans::Interface,
            });
        }
        if let Some(word) = lower.strip_prefix("dns:") {
            let service = Service::ALL.into_iter().find(|s| s.word() == word.trim());
            let service = service
                .ok_or("of name servers dns:cloudflare, dns:opendns and dns:google are known")?;
            let text = format!("dns:{}", service.word()).into();
            return Ok(Self {
                text,
                operator: service.operator().into(),
                means: SourceMeans::Dns(service),
            });
        }
        if !lower.contains("://") {
            return Err(
                "a source begins with https:// or http://, or is dns:NAME or interface".to_owned()
            );
        }
        let url = url(text)?;
        let secure = url.scheme_str() == Some("https");
        if secure && !cfg!(feature = "tls") {
            return Err(
                "this build of imon (nano) has no TLS: use an http:// or dns: source, or the full build".to_owned()
            );
        }
        let host = url.host().unwrap_or_default();
        let trace = url.path().ends_with("/cdn-cgi/trace");
        Ok(Self {
            text: text.into(),
            operator: operator(host).into(),
            means: SourceMeans::Page { secure, trace },
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        match self.means {
            SourceMeans::Page { .. } => SourceKind::Http,
            SourceMeans::Dns(_) => SourceKind::Dns,
            SourceMeans::Interface => SourceKind::Interface,
        }
    }

    /// Whether nobody on the way can change what it says.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        matches!(self.means, SourceMeans::Page { secure: true, .. } | SourceMeans::Interface)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads an `https://` or `http://` URL with a host and without credentials.
///
/// # Errors
/// What is wrong, without repeating the text.
pub fn url(text: &str) -> Result<Uri, String> {
    if text.len() > LONGEST_URL {
        return Err(format!("the URL has more than {LONGEST_URL} bytes"));
    }
    let url: Uri = text.parse().map_err(|_| "it is not a URL")?;
    match url.scheme_str() {
        Some("https" | "http") => {}
        _ => return Err("a source begins with https:// or http://".to_owned()),
    }
    if url.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err("the URL must name a host, and no user or password".to_owned());
    }
    let host = url.host().unwrap_or_default();
    let bare = bare(host);
    let good = !bare.is_empty()
        && (bare.parse::<IpAddr>().is_ok() || crate::addr::host::check_name(bare).is_ok());
    // A port that is none makes the whole authority's port vanish without an error.
    let port = url
        .authority()
        .is_some_and(|a| a.as_str().len() == host.len() || a.port_u16().is_some_and(|p| p > 0));
    if good && port { Ok(url) } else { Err("the URL has no good host and port".to_owned()) }
}

/// The host of a URL without the brackets of an IPv6 address.
#[must_use]
pub fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Who runs a host: its registrable domain, or itself when it is an address. Without the list of
/// public suffixes (a quarter of a megabyte) the second level of a country's domain is told by the
/// usual names below it.
fn operator(host: &str) -> String {
    const SECOND: [&str; 9] = ["co", "com", "net", "org", "ac", "gov", "edu", "or", "ne"];
    const ALSO_CLOUDFLARE: [&str; 4] = ["1.1.1.1", "1.0.0.1", "one.one.one.one", "icanhazip.com"];
    let host = bare(host).trim_end_matches('.').to_ascii_lowercase();
    if ALSO_CLOUDFLARE
        .iter()
        .any(|name| host == *name || host.strip_suffix(name).is_some_and(|h| h.ends_with('.')))
    {
        return Service::Cloudflare.operator().to_owned();
    }
    if host.parse::<IpAddr>().is_ok() {
        return host;
    }
    let labels: Vec<&str> = host.rsplit('.').collect();
    let take = match labels.as_slice() {
        [top, second, _, ..] if top.len() == 2 && SECOND.contains(second) => 3,
        _ => 2,
    };
    let mut kept: Vec<&str> = labels.into_iter().take(take).collect();
    kept.reverse();
    kept.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_source_and_there_are_two_kinds_and_three_operators() {
        let sources: Vec<Source> =
            DEFAULTS.iter().map(|text| Source::parse(text).unwrap()).collect();
        for kind in [SourceKind::Http, SourceKind::Dns] {
            let mut operators: Vec<_> =
                sources.iter().filter(|s| s.kind() == kind).map(|s| &s.operator).collect();
            operators.dedup();
            assert!(operators.len() >= 2, "{kind:?}");
        }
        assert!(
            Service::ALL
                .into_iter()
                .all(|s| s.question(Family::V4).is_ok() && s.question(Family::V6).is_ok())
        );
    }

    #[test]
    fn operators_are_registrable_domains() {
        for (host, who) in [
            ("api64.ipify.org", "ipify.org"),
            ("checkip.amazonaws.com", "amazonaws.com"),
            ("ip.example.co.uk", "example.co.uk"),
            ("example.co.uk", "example.co.uk"),
            ("ifconfig.me", "ifconfig.me"),
            ("ipv4.icanhazip.com", "cloudflare.com"),
            ("noticanhazip.com", "noticanhazip.com"),
            ("1.1.1.1", "cloudflare.com"),
            ("198.18.0.80", "198.18.0.80"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("localhost", "localhost"),
            ("A.B.Example.COM.", "example.com"),
        ] {
            assert_eq!(operator(host), who, "{host}");
        }
    }

    #[test]
    fn sources_are_read_as_people_write_them() {
        let read = |text: &str| Source::parse(text).unwrap();
        assert_eq!(read(" DNS:OpenDNS ").text.as_ref(), "dns:opendns");
        assert_eq!(read("Interface").means, SourceMeans::Interface);
        assert_eq!(
            read("http://x.example/ip").means,
            SourceMeans::Page { secure: false, trace: false }
        );
        assert_eq!(
            read("http://x.example:8080/cdn-cgi/trace").means,
            SourceMeans::Page { secure: false, trace: true }
        );
        assert_eq!(Source::parse("https://x.example/").is_ok(), cfg!(feature = "tls"));
        for bad in [
            "",
            "x.example",
            "dns:",
            "dns:1.1.1.1",
            "ftp://x.example/",
            "http://",
            "http:///ip",
            "http://u:p@x.example/",
            "http://x y/",
            "http://x.example:99999/",
            "http://x.example:/",
            "http://-x/",
            "http://[::1/",
            "http://x$(reboot)/",
        ] {
            assert!(Source::parse(bad).is_err(), "{bad}");
        }
        assert!(Source::parse(&format!("http://x.example/{}", "x".repeat(1000))).is_err());
    }
}
