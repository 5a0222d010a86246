//! The two files a stub resolver reads: hosts(5) and resolv.conf(5).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

/// Most name servers used; the rest is ignored, as by the C libraries (MAXNS).
const MAX_SERVERS: usize = 3;
/// Most search domains used (resolv.conf(5): six, up to glibc 2.25). Each costs a question per
/// server and name.
const MAX_SEARCH: usize = 6;
/// resolv.conf(5) says 5 s. A monitor wants to know sooner: an honest answer takes a few
/// milliseconds, seldom a second.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// A name server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameServer {
    /// Its address; the port is 53.
    pub address: IpAddr,
    /// What stood after the `%` of an IPv6 address: an interface's name or number, up to 15
    /// printable characters.
    pub zone: Option<Rc<str>>,
}

impl NameServer {
    fn parse(text: &str) -> Option<Self> {
        let (address, zone) = match text.split_once('%') {
            None => (text, None),
            Some((address, zone)) => (address, Some(zone)),
        };
        let address: IpAddr = address.parse().ok()?;
        if let Some(zone) = zone {
            // 15 is IFNAMSIZ less the closing zero.
            let fits = (1..=15).contains(&zone.len()) && zone.bytes().all(|b| b.is_ascii_graphic());
            if !fits || address.is_ipv4() {
                return None;
            }
        }
        Some(Self { address, zone: zone.map(Rc::from) })
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        self.zone.as_ref().map_or(Ok(()), |zone| write!(f, "%{zone}"))
    }
}

/// What resolv.conf(5) says. `sortlist` and the other options are not for us and are ignored.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Conf {
    /// 1 to 3.
    pub(super) servers: Vec<NameServer>,
    /// The file names no server, so it is 127.0.0.1.
    pub(super) assumed: bool,
    /// In lower case, without the dot at the end; at most 6.
    pub(super) search: Vec<Box<str>>,
    /// 0 to 15: names with fewer dots go through the search list first.
    pub(super) ndots: usize,
    /// For each question to each server, 1 to 30 s.
    pub(super) timeout: Duration,
    /// How often each server is asked, 1 to 5.
    pub(super) attempts: usize,
    /// Begin with another server each time.
    pub(super) rotate: bool,
}

impl Conf {
    /// Reads the file's text; what is not understood is skipped, as the C libraries do.
    pub(super) fn parse(text: &str) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            assumed: false,
            search: Vec::new(),
            ndots: 1,
            timeout: DEFAULT_TIMEOUT,
            attempts: 2,
            rotate: false,
        };
        // A keyword stands at the start of its line: an indented line has an empty first word here.
        for line in text.lines() {
            let (keyword, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let mut values = rest.split_whitespace().take_while(|w| !w.starts_with(['#', ';']));
            match keyword {
                "nameserver" => {
                    let server = values.next().and_then(NameServer::parse);
                    conf.servers.extend(server.filter(|s| !conf.servers.contains(s)));
                    conf.servers.truncate(MAX_SERVERS);
                }
                // The last of these two lines counts.
                "search" => conf.search = values.filter_map(domain).take(MAX_SEARCH).collect(),
                "domain" => conf.search = values.take(1).filter_map(domain).collect(),
                "options" => values.for_each(|option| conf.set(option)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.assumed = true;
            conf.servers.push(NameServer { address: Ipv4Addr::LOCALHOST.into(), zone: None });
        }
        conf
    }

    fn set(&mut self, option: &str) {
        let (key, value) = option.split_once(':').unwrap_or((option, ""));
        let number = value.parse::<u64>();
        match (key, number) {
            ("ndots", Ok(n)) => self.ndots = usize::try_from(n.min(15)).unwrap_or(15),
            ("timeout", Ok(n)) => self.timeout = Duration::from_secs(n.clamp(1, 30)),
            ("attempts", Ok(n)) => self.attempts = usize::try_from(n.clamp(1, 5)).unwrap_or(5),
            ("rotate", _) => self.rotate = true,
            _ => {}
        }
    }
}

/// A search domain; `None` for the root (`search .`), which adds nothing to a name.
fn domain(text: &str) -> Option<Box<str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    (!text.is_empty()).then(|| text.to_ascii_lowercase().into())
}

/// The lines of a hosts(5) file as pairs of an address and one of its names, in the file's order.
/// Addresses with a zone are left out, and so are null addresses (0.0.0.0, `::`), with which
/// blocklists say "nowhere".
pub(super) fn hosts(text: &str) -> impl Iterator<Item = (IpAddr, &str)> {
    text.lines().flat_map(|line| {
        let line = line.split('#').next().unwrap_or("");
        let mut words = line.split_whitespace();
        let address =
            words.next().and_then(|a| a.parse::<IpAddr>().ok()).filter(|a| !a.is_unspecified());
        address.into_iter().flat_map(move |address| words.clone().map(move |name| (address, name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<String> {
        Conf::parse(text).servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn name_servers() {
        let text = "# home\n; old\nnameserver 8.8.8.8\nnameserver\t2001:db8::53 \r\nnameserver fe80::1%eth0\n";
        assert_eq!(servers(text), ["8.8.8.8", "2001:db8::53", "fe80::1%eth0"]);
        assert!(!Conf::parse(text).assumed);
        assert_eq!(servers("nameserver 1.1.1.1 # fast\nnameserver 1.1.1.1"), ["1.1.1.1"]);
        assert_eq!(
            servers(
                "nameserver 1.1.1.1\nnameserver 1.0.0.1\nnameserver 8.8.8.8\nnameserver 9.9.9.9"
            )
            .len(),
            3
        );
    }

    #[test]
    fn without_a_usable_server_it_is_the_local_one() {
        for text in [
            "",
            "nameserver",
            "nameserver dns.example",
            " nameserver 1.1.1.1",
            "#nameserver 1.1.1.1",
            "nameserver 1.1",
        ] {
            assert_eq!(servers(text), ["127.0.0.1"], "{text}");
            assert!(Conf::parse(text).assumed, "{text}");
        }
        for zone in ["fe80::1%", "fe80::1%sixteen-letters-", "fe80::1%a\u{1b}b", "1.1.1.1%eth0"] {
            assert_eq!(servers(&format!("nameserver {zone}")), ["127.0.0.1"], "{zone}");
        }
    }

    #[test]
    fn search_list() {
        let search = |text: &str| {
            Conf::parse(text).search.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(search("search LAN. home.example # two\n"), ["lan", "home.example"]);
        assert_eq!(search("search a b\ndomain c d\n"), ["c"]);
        assert_eq!(search("domain c\nsearch a b\n"), ["a", "b"]);
        assert_eq!(search("search .\n"), Vec::<String>::new());
        assert_eq!(search("search 1 2 3 4 5 6 7 8").len(), MAX_SEARCH);
    }

    #[test]
    fn options_have_limits() {
        let conf = Conf::parse("");
        let known = (conf.ndots, conf.timeout, conf.attempts, conf.rotate);
        assert_eq!(known, (1, Duration::from_secs(2), 2, false));
        let conf = Conf::parse("options ndots:5 timeout:3 edns0 rotate\noptions attempts:4 inet6");
        assert_eq!(
            (conf.ndots, conf.timeout, conf.attempts, conf.rotate),
            (5, Duration::from_secs(3), 4, true)
        );
        let conf = Conf::parse("options ndots:99 timeout:99 attempts:99");
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (15, Duration::from_secs(30), 5));
        let conf = Conf::parse("options timeout:0 attempts:0 ndots:-1 ndots:x timeout: attempts");
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (1, Duration::from_secs(1), 1));
    }

    #[test]
    fn hosts_lines() {
        let text = "127.0.0.1 localhost\n\n# x\n 192.168.1.5\tnas nas.lan # the box\n::1 ip6-localhost\n0.0.0.0 ads.example\nfe80::1%lo0 z\nbroken line\n10.0.0.1\n";
        let found: Vec<(String, &str)> = hosts(text).map(|(a, n)| (a.to_string(), n)).collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(a, n)| (a.as_str(), *n)).collect();
        let expected = [
            ("127.0.0.1", "localhost"),
            ("192.168.1.5", "nas"),
            ("192.168.1.5", "nas.lan"),
            ("::1", "ip6-localhost"),
        ];
        assert_eq!(found, expected);
    }
}
