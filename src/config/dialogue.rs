//! The questions of `imon configure`, what answers they take, and the file that comes of them.
//! Prompts, their order, defaults and the file's keys are those of V2.99's `imon-configure`:
//! scripts feed it.

use std::net::Ipv4Addr;

use crate::addr::scope;
use crate::base::number;
use crate::base::text::{Clean, nearest};
use crate::config::{Key, MONITORS, ValueKind, edit, schema};
use crate::kernel::Address;

/// One question.
#[derive(Debug)]
pub struct Prompt {
    /// The section of its setting,
    pub section: &'static str,
    /// and its name.
    pub name: &'static str,
    /// What is asked.
    pub prompt: &'static str,
    /// What is taken for an answer.
    pub answer: AnswerKind,
    /// The answer of whoever says nothing.
    pub default: &'static str,
}

/// What is taken for an answer. V2.99 wrote some whole numbers as `2.0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerKind {
    /// The path of an executable file, or nothing.
    File,
    /// A number above 0, which is written with a fraction.
    Float,
    /// A whole number above 0.
    Int,
    /// Yes or no.
    Flag,
    /// Some text.
    Text,
    /// An IP address.
    Address,
    /// A name or an address.
    Host,
    /// The same, or nothing.
    OptionalHost,
    /// Several of them, or nothing.
    Hosts,
}

const fn ask(
    section: &'static str,
    name: &'static str,
    prompt: &'static str,
    answer: AnswerKind,
    default: &'static str,
) -> Prompt {
    Prompt { section, name, prompt, answer, default }
}

const CHECKS: &str = "Interval between checks";
const COUNT: &str = "Ping count";
const WAIT: &str = "Ping wait time";

/// All questions about settings, in their order. A monitor's are asked if it is to run.
pub const QUESTIONS: &[Prompt] = &[
    ask("global", "action", "Full path to action script", AnswerKind::File, ""),
    ask("ddns", "interval", CHECKS, AnswerKind::Float, "10"),
    ask("ddns", "pingcount", COUNT, AnswerKind::Int, "2"),
    ask("ddns", "pingwait", WAIT, AnswerKind::Int, "1"),
    ask("updown", "interval", CHECKS, AnswerKind::Float, "10"),
    ask("updown", "pingcount", COUNT, AnswerKind::Int, "2"),
    ask("updown", "pingwait", WAIT, AnswerKind::Int, "1"),
    ask("updown", "monitorip", "Name/IP address to monitor", AnswerKind::Host, ""),
    ask("updown", "addping", "Additional IP addresses to ping", AnswerKind::Hosts, ""),
    ask("updown", "dnsserver", "Name/IP address of DNS server", AnswerKind::OptionalHost, ""),
    ask("updown", "dnslookup", "DNS name to lookup", AnswerKind::OptionalHost, ""),
    ask("failover", "interval", CHECKS, AnswerKind::Float, "10"),
    ask("failover", "pingcount", COUNT, AnswerKind::Float, "2"),
    ask("failover", "pingwait", WAIT, AnswerKind::Float, "1"),
    ask("failover", "prefer-primary", "Prefer primary network", AnswerKind::Flag, "N"),
    ask("failover", "metric", "Network default route metric", AnswerKind::Int, "201"),
    ask("failover", "primary-if", "Primary network interface name", AnswerKind::Text, ""),
    ask("failover", "primary-name", "Primary network name", AnswerKind::Text, ""),
    ask("failover", "primary-gw", "Primary network gateway IP Address", AnswerKind::Address, ""),
    ask(
        "failover",
        "primary-ping",
        "Name/IP Address to check if Primary network is up",
        AnswerKind::OptionalHost,
        "",
    ),
    ask(
        "failover",
        "primary-postping",
        "Name/IP Address to ping after failover to Primary",
        AnswerKind::OptionalHost,
        "",
    ),
    ask("failover", "standby-if", "Standby network interface name", AnswerKind::Text, ""),
    ask("failover", "standby-name", "Standby network name", AnswerKind::Text, ""),
    ask("failover", "standby-gw", "Standby network gateway IP Address", AnswerKind::Address, ""),
    ask(
        "failover",
        "standby-ping",
        "Name/IP Address to check if Standby network is up",
        AnswerKind::OptionalHost,
        "",
    ),
    ask(
        "failover",
        "standby-postping",
        "Name/IP Address to ping after failover to Standby",
        AnswerKind::OptionalHost,
        "",
    ),
    ask("ping", "interval", "Interval between pings", AnswerKind::Float, "10"),
    ask("ping", "pingcount", COUNT, AnswerKind::Int, "2"),
    ask("ping", "pingwait", WAIT, AnswerKind::Int, "1"),
    ask("ping", "monitorip", "Name/IP Address to ping", AnswerKind::Host, ""),
];

/// An answer that was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// The section of the setting,
    pub section: &'static str,
    /// its name,
    pub name: &'static str,
    /// and its value as JSON.
    pub raw: String,
}

impl Prompt {
    /// What is printed in front of the answer, with the answer of whoever says nothing.
    #[must_use]
    pub fn line(&self, default: &str) -> String {
        prompt(&format!("{} ({})", self.prompt, self.name), default)
    }

    /// Whether nothing is an answer as well.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(self.answer, AnswerKind::File | AnswerKind::OptionalHost | AnswerKind::Hosts)
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// What to say before it is asked again.
    pub fn read(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        let quoted = || serde_json::to_string(text).unwrap_or_default();
        let raw = match self.answer {
            AnswerKind::Int => match text.parse::<i64>() {
                Ok(n) if n > 0 || n == 0 && self.takes_zero() => n.to_string(),
                Ok(_) => return Err("% Must be greater than 0".to_owned()),
                Err(_) => self.number(text).ok_or("% Enter an integer")?,
            },
            AnswerKind::Float => match number::read(text) {
                Some(n) if n > 0.0 => number::shortest(n),
                Some(_) => return Err("% Must be greater than 0.0".to_owned()),
                None => return Err("% Enter an integer or floating point number".to_owned()),
            },
            AnswerKind::Flag => yes(text).to_string(),
            AnswerKind::Text if text.is_empty() => return Err("% Value required".to_owned()),
            AnswerKind::Address if text.is_empty() => {
                return Err("% IP Address required".to_owned());
            }
            AnswerKind::Host if text.is_empty() => {
                return Err("% A DNS name or IP address is required".to_owned());
            }
            _ if text.starts_with('[') && text.contains('"') => text.to_owned(),
            _ => quoted(),
        };
        let Some(key) = self.key() else { return Ok(raw) };
        edit::check(key, &raw).map(|()| raw).map_err(|why| match self.answer {
            AnswerKind::Address => format!("% IP Address required ({why})"),
            AnswerKind::Hosts => format!("% A DNS Name/IP Address is ill-formed ({why})"),
            AnswerKind::Host | AnswerKind::OptionalHost => {
                format!("% A DNS name or IP address is required ({why})")
            }
            _ => format!("% {why}"),
        })
    }

    /// The setting that it is about. (Every question has one: a test.)
    #[must_use]
    pub fn key(&self) -> Option<&'static Key> {
        schema().iter().find(|key| key.section == self.section && key.name == self.name)
    }

    /// V2.99 did not, but a metric may be 0.
    fn takes_zero(&self) -> bool {
        matches!(self.key(), Some(Key { kind: ValueKind::Count { min: 0, .. }, .. }))
    }

    /// V2.99 took whole seconds only where fractions work now.
    fn number(&self, text: &str) -> Option<String> {
        let n = number::read(text).filter(|n| *n > 0.0)?;
        matches!(self.key()?.kind, ValueKind::Seconds { .. }).then(|| number::shortest(n))
    }
}

/// A question with its default in brackets.
#[must_use]
pub fn prompt(question: &str, default: &str) -> String {
    if default.is_empty() {
        format!("{question}: ")
    } else {
        format!("{question} [{}]: ", Clean(default))
    }
}

/// A value as it is in a file, as a person would type it: text without its quotes, a list with
/// commas.
#[must_use]
pub fn typed(raw: &str) -> String {
    let text = serde_json::from_str::<String>(raw);
    let list = || serde_json::from_str::<Vec<String>>(raw).map(|list| list.join(", "));
    text.or_else(|_| list()).unwrap_or_else(|_| raw.to_owned())
}

/// Whether an answer means yes: `y`, `ye`, `yes`, in any case.
#[must_use]
pub fn yes(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    !text.is_empty() && "yes".starts_with(&text)
}

/// What comes before the answers in the file, and beside them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// The instance's name.
    pub instance: String,
    /// A remark.
    pub note: String,
    /// The local time, `2026-11-24 14:42:56`.
    pub created: String,
}

/// The settings of the section `global` that are not asked for by [`QUESTIONS`].
#[must_use]
pub fn head(head: &Head) -> Vec<Given> {
    let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let given = |name, raw| Given { section: "global", name, raw };
    vec![
        given("instance", text(&head.instance)),
        given("note", text(&head.note)),
        given("imon-configure-version", text(concat!("V", env!("CARGO_PKG_VERSION")))),
        given("imon-configure-created", text(&head.created)),
    ]
}

/// A new file: every section and key that V2.99 wrote, in its order; what was not asked has its
/// default.
#[must_use]
pub fn fresh(given: &[Given]) -> String {
    let known =
        |section: &str, name: &str| given.iter().rfind(|g| g.section == section && g.name == name);
    let mut sections = Vec::new();
    for section in std::iter::once("global").chain(MONITORS) {
        let mut lines = Vec::new();
        let mut line = |name: &str, default: &str| {
            let raw = known(section, name).map_or(default, |g| &g.raw);
            lines.push(format!("        \"{name}\": {raw}"));
        };
        if section != "global" {
            line("enable", "false");
        }
        for question in QUESTIONS.iter().filter(|q| q.section == section) {
            let default = match question.answer {
                AnswerKind::Flag => "false",
                AnswerKind::Int | AnswerKind::Float => question.default,
                _ => "\"\"",
            };
            line(question.name, default);
        }
        // What V2.99 did not have is written where somebody wants it.
        for name in ["events", "remind"].into_iter().filter(|name| known(section, name).is_some()) {
            line(name, "");
        }
        if section == "global" {
            line("datefmt", "\"%Y-%m-%d %H:%M:%S\"");
            for name in ["instance", "note", "imon-configure-version", "imon-configure-created"] {
                line(name, "\"\"");
            }
        }
        sections.push(format!("    \"{section}\": {{\n{}\n    }}", lines.join(",\n")));
    }
    format!("{{\n{}\n}}\n", sections.join(",\n"))
}

/// An interface of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// The gateway of its default route.
    pub gateway: Option<Ipv4Addr>,
}

/// What this machine has, to choose from and to check against.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    /// Its interfaces, without the loopback one.
    pub devices: Vec<Device>,
    /// Its name servers.
    pub servers: Vec<String>,
}

/// The text of an answer that was given.
fn text_of(given: &[Given], section: &str, name: &str) -> Option<String> {
    let given = given.iter().rfind(|g| g.section == section && g.name == name)?;
    serde_json::from_str(&given.raw).ok()
}

impl Machine {
    fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// Answers that this machine suggests, each with what it is.
    #[must_use]
    pub fn choices(&self, question: &Prompt, given: &[Given]) -> Vec<(String, String)> {
        let gateways = || {
            self.devices
                .iter()
                .filter_map(|d| Some((d.gateway?.to_string(), format!("gateway of {}", d.name))))
        };
        let far =
            |why: &str| ["1.1.1.1", "8.8.8.8"].map(|a| (a.to_owned(), why.to_owned())).into_iter();
        match question.name {
            "primary-if" | "standby-if" => {
                let words = |d: &Device| {
                    let addresses: Vec<String> =
                        d.addresses.iter().map(|a| format!("{}/{}", a.address, a.prefix)).collect();
                    let gateway = d.gateway.map_or_else(String::new, |g| format!(", gateway {g}"));
                    let addresses = if addresses.is_empty() {
                        "no address".to_owned()
                    } else {
                        addresses.join(", ")
                    };
                    (d.name.clone(), format!("{addresses}{gateway}"))
                };
                self.devices.iter().map(words).collect()
            }
            "primary-gw" | "standby-gw" => {
                let device = text_of(given, "failover", &question.name.replace("-gw", "-if"))
                    .unwrap_or_default();
                let device = self.device(&device);
                let told = device
                    .and_then(|d| d.gateway)
                    .map(|g| (g.to_string(), "its default route".to_owned()));
                told.into_iter()
                    .chain([("auto".to_owned(), "whatever DHCP or PPP tells".to_owned())])
                    .collect()
            }
            "primary-ping" | "standby-ping" => {
                far("beyond the gateway: tells a dead provider, too").collect()
            }
            "monitorip" => far("out in the internet").chain(gateways()).collect(),
            "addping" => {
                let mut all: Vec<(String, String)> = gateways().collect();
                let near = self.servers.iter().filter(|s| s.parse().is_ok_and(scope::is_private));
                let more =
                    near.filter(|server| !gateways().any(|(gateway, _)| gateway == **server));
                all.extend(
                    more.map(|server| (server.clone(), "a name server of this system".to_owned())),
                );
                all
            }
            "dnsserver" => {
                let public =
                    self.servers.iter().filter(|s| s.parse().is_ok_and(|a| !scope::is_private(a)));
                let public = public.map(|s| (s.clone(), "a name server of this system".to_owned()));
                let mut all: Vec<(String, String)> = public.collect();
                let more = far("a public name server").filter(|(a, _)| !self.servers.contains(a));
                all.extend(more);
                all
            }
            _ => Vec::new(),
        }
    }

    /// What speaks against a good answer on this machine.
    #[must_use]
    pub fn doubt(&self, question: &Prompt, text: &str, given: &[Given]) -> Option<String> {
        let is_ours = |address: Ipv4Addr| {
            self.devices.iter().any(|d| d.addresses.iter().any(|a| a.address == address))
        };
        match question.name {
            "primary-if" | "standby-if" => {
                if self.device(text).is_none() {
                    let names = self.devices.iter().map(|d| d.name.as_str());
                    let near = nearest(text, names).map_or_else(String::new, |near| format!(" (is it '{near}'?)"));
                    return Some(format!("There is no interface '{text}' here{near}"));
                }
                let other = text_of(given, "failover", "primary-if");
                (question.name == "standby-if" && other.as_deref() == Some(text))
                    .then(|| format!("{text} is the interface of the primary network as well"))
            }
            "primary-gw" | "standby-gw" => {
                let device = text_of(given, "failover", &question.name.replace("-gw", "-if"))?;
                let device = self.device(&device).filter(|d| !d.addresses.is_empty())?;
                let gateway: Ipv4Addr = text.parse().ok()?;
                // The first and the last address of a network are nobody's, but for those of two
                // addresses (RFC 3021).
                let edge = |a: &Address| {
                    a.prefix < 31 && [0, !a.mask()].contains(&(u32::from(gateway) & !a.mask()))
                };
                if is_ours(gateway) {
                    return Some(format!("{text} is an address of this system, not of its gateway"));
                }
                match device.addresses.iter().find(|a| a.reaches(gateway)) {
                    None => Some(format!("{text} is not in the network of {}", device.name)),
                    Some(network) if edge(network) => Some(format!("{text} is no host's address in the network of {}", device.name)),
                    Some(_) => None,
                }
            }
            "dnsserver" => text.parse().is_ok_and(scope::is_private).then(|| {
                format!("{text} is on the local network: it answers from its cache and cannot tell whether the internet works")
            }),
            "monitorip" | "addping" | "primary-ping" | "standby-ping" | "primary-postping" | "standby-postping" => {
                let ours = text.split(',').map(str::trim).find(|host| host.parse().is_ok_and(is_ours))?;
                Some(format!("{ours} is an address of this system: it always answers"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    fn question(section: &str, name: &str) -> &'static Prompt {
        QUESTIONS.iter().find(|q| q.section == section && q.name == name).unwrap()
    }

    #[test]
    fn every_question_is_about_a_setting_and_its_default_is_the_settings() {
        for q in QUESTIONS {
            let key = q.key().unwrap();
            assert_eq!(
                key.required,
                !q.is_optional() && q.default.is_empty() && !q.name.ends_with("-name"),
                "{q:?}"
            );
            if !q.default.is_empty() {
                let raw = q.read(q.default).unwrap();
                let number = |text: &str| text.parse::<f64>().ok();
                assert!(raw == key.default || number(&raw) == number(key.default), "{q:?}");
            }
        }
    }

    #[test]
    fn numbers_are_written_as_v299_wrote_them() {
        for (section, name, text, raw) in [
            ("updown", "interval", "10", "10.0"),
            ("updown", "interval", "0.5", "0.5"),
            ("updown", "pingcount", "2", "2"),
            ("failover", "pingcount", "2", "2.0"),
            ("failover", "metric", "201", "201"),
            ("updown", "pingwait", "0.5", "0.5"),
            ("failover", "prefer-primary", "Y", "true"),
            ("failover", "prefer-primary", "N", "false"),
            ("failover", "primary-if", "enxA0", "\"enxA0\""),
        ] {
            assert_eq!(question(section, name).read(text), Ok(raw.to_owned()), "{name} {text}");
        }
    }

    #[test]
    fn a_bad_answer_is_told_in_v299s_words() {
        for (section, name, text, why) in [
            ("updown", "interval", "x", "% Enter an integer or floating point number"),
            ("updown", "interval", "0", "% Must be greater than 0.0"),
            ("updown", "interval", "nan", "% Enter an integer or floating point number"),
            ("updown", "pingcount", "1.5", "% Enter an integer"),
            ("updown", "pingcount", "-1", "% Must be greater than 0"),
            ("updown", "monitorip", "", "% A DNS name or IP address is required"),
            ("updown", "addping", "a b", "% A DNS Name/IP Address is ill-formed"),
            ("failover", "primary-gw", "", "% IP Address required"),
            ("failover", "primary-gw", "wan1", "% IP Address required"),
            ("failover", "primary-if", "", "% Value required"),
        ] {
            let said = question(section, name).read(text).unwrap_err();
            assert!(said.starts_with(why), "{name} {text}: {said}");
        }
        assert!(question("updown", "interval").read("1e9").is_err());
    }

    #[test]
    fn a_fresh_file_has_every_key_and_is_read_without_a_word() {
        let given = vec![
            Given { section: "ping", name: "enable", raw: "true".to_owned() },
            Given { section: "ping", name: "monitorip", raw: "\"1.1.1.1\"".to_owned() },
        ];
        let text = fresh(&given);
        let parsed = parse("x", text.as_bytes(), &Overrides::default());
        assert!(
            parsed.errors.is_empty() && parsed.warnings.is_empty(),
            "{:?} {:?}",
            parsed.errors,
            parsed.warnings
        );
        assert!(
            text.starts_with(
                "{\n    \"global\": {\n        \"action\": \"\",\n        \"datefmt\": "
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "    \"ping\": {\n        \"enable\": true,\n        \"interval\": 10,\n"
            ),
            "{text}"
        );
    }

    fn address(address: Ipv4Addr, peer: Option<Ipv4Addr>, prefix: u8) -> Address {
        Address { index: 1, address, peer, prefix, local: false, secondary: false }
    }

    fn machine() -> Machine {
        let device = |name: &str, last: u8, gateway| Device {
            name: name.to_owned(),
            addresses: vec![address(Ipv4Addr::new(192, 168, last, 2), None, 24)],
            gateway,
        };
        let gateway = Some(Ipv4Addr::new(192, 168, 42, 1));
        Machine {
            devices: vec![device("wan1", 42, gateway), device("wan2", 62, None)],
            servers: vec!["192.168.42.1".to_owned(), "9.9.9.9".to_owned()],
        }
    }

    #[test]
    fn this_machine_is_offered_and_checked_against() {
        let machine = machine();
        let given =
            vec![Given { section: "failover", name: "primary-if", raw: "\"wan1\"".to_owned() }];
        let names = |section: &str, name: &str| -> Vec<String> {
            machine
                .choices(question(section, name), &given)
                .into_iter()
                .map(|(value, _)| value)
                .collect()
        };
        assert_eq!(names("failover", "primary-if"), ["wan1", "wan2"]);
        assert_eq!(names("failover", "primary-gw"), ["192.168.42.1", "auto"]);
        assert_eq!(names("failover", "primary-ping"), ["1.1.1.1", "8.8.8.8"]);
        assert_eq!(names("updown", "dnsserver"), ["9.9.9.9", "1.1.1.1", "8.8.8.8"]);
        let doubt =
            |name: &str, text: &str| machine.doubt(question("failover", name), text, &given);
        assert!(doubt("primary-if", "wna1").unwrap().contains("(is it 'wan1'?)"));
        assert!(doubt("standby-if", "wan1").unwrap().contains("primary network"));
        assert!(
            doubt("primary-gw", "192.168.62.1").unwrap().contains("not in the network of wan1")
        );
        assert_eq!(doubt("primary-gw", "192.168.42.1"), None);
        assert_eq!(doubt("standby-if", "wan2"), None);
        assert!(doubt("primary-gw", "192.168.42.2").unwrap().contains("an address of this system"));
        for edge in ["192.168.42.255", "192.168.42.0"] {
            assert!(doubt("primary-gw", edge).unwrap().contains("no host's address"), "{edge}");
        }
        assert!(
            doubt("primary-ping", "1.1.1.1, 192.168.62.2")
                .unwrap()
                .starts_with("192.168.62.2 is an address of this")
        );
        assert_eq!(doubt("primary-ping", "1.1.1.1"), None);
        // The other end of a PPP link is no neighbour in its network, and its gateway.
        let mut ppp = machine;
        let there = Ipv4Addr::new(10, 0, 0, 1);
        ppp.devices[0].addresses = vec![address(Ipv4Addr::new(10, 9, 9, 9), Some(there), 32)];
        assert_eq!(ppp.doubt(question("failover", "primary-gw"), "10.0.0.1", &given), None);
    }

    #[test]
    fn values_are_shown_as_a_person_types_them() {
        for (raw, shown) in [
            ("\"1.1.1.1\"", "1.1.1.1"),
            ("[\"1.1.1.1\",\n \"8.8.8.8\"]", "1.1.1.1, 8.8.8.8"),
            ("0", "0"),
            ("[]", ""),
            ("{\"a\": 1}", "{\"a\": 1}"),
        ] {
            assert_eq!(typed(raw), shown);
        }
        assert_eq!(prompt("Q", "a\u{1b}[31m"), "Q [a\\u{1b}[31m]: ");
        assert_eq!(question("failover", "metric").read("0"), Ok("0".to_owned()));
        assert_eq!(
            question("ping", "monitorip").read("[\"1.1.1.1\"]"),
            Ok("[\"1.1.1.1\"]".to_owned())
        );
    }
}
