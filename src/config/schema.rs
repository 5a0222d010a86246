//! The table of all settings. Reading, error messages, suggestions for mistyped keys and the manual
//! imon.conf(5) follow from it.

use crate::base::number::Plain;

/// One setting.
/// ```
/// use imon::config::schema;
///
/// let key = schema().iter().find(|key| (key.section, key.name) == ("failover", "hold-down")).unwrap();
/// assert_eq!(key.default, "10");
/// assert_eq!(key.allowed(), "a number of seconds from 0 to 86400");
/// ```
#[derive(Debug)]
pub struct Key {
    /// The section it stands in: `global` or the name of a monitor.
    pub section: &'static str,
    /// Its name in that section.
    pub name: &'static str,
    /// What values it takes.
    pub kind: ValueKind,
    /// Its value when it is missing, as it would be written in the file. Empty text means that it
    /// is not set.
    pub default: &'static str,
    /// Whether its monitor cannot be enabled without it.
    pub required: bool,
    /// What it is for, with its unit, in a sentence or two.
    pub doc: &'static str,
}

/// The kinds of values, with their limits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ValueKind {
    /// True or false, in many spellings.
    Flag,
    /// A time in seconds, fractions allowed, from `min` to `max`.
    Seconds {
        /// Smallest value, in seconds.
        min: f64,
        /// Largest value, in seconds.
        max: f64,
    },
    /// A whole number from `min` to `max`.
    Count {
        /// Smallest value.
        min: u32,
        /// Largest value.
        max: u32,
    },
    /// Text of at most `max` bytes, without control characters.
    Text {
        /// Largest length in bytes.
        max: usize,
    },
    /// A path, without control characters.
    Path,
    /// The name of a network interface (at most 15 bytes).
    Device,
    /// An address or a DNS name.
    Host,
    /// Addresses or DNS names: text separated by commas, or a list of texts; at most `max` of them.
    Hosts {
        /// Largest number of hosts.
        max: usize,
    },
    /// A DNS name.
    Name,
    /// A number of what is counted in `unit`, fractions allowed, from 0 to `max`.
    Number {
        /// Largest value.
        max: f64,
        /// What it counts.
        unit: &'static str,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// An IPv4 address, or `auto`.
    Gateway,
    /// What tells whether a WAN works: hosts, with `dns:` in front of one that is asked and `tcp:`
    /// of one, with its port, that is connected to; at most `max` of them.
    Targets {
        /// Largest number of targets.
        max: usize,
    },
    /// Sources of the external address, at most `max` of them.
    Sources {
        /// Largest number of sources.
        max: usize,
    },
    /// Address families: `4`, `6`, or both.
    Families,
    /// Names of events that call the action script on request, or `all`.
    Events,
    /// Updates of dynamic DNS providers, at most `max` of them.
    Updates {
        /// Largest number of updates.
        max: usize,
    },
    /// An instance name, see [`super::instance`].
    Instance,
    /// A remark for people. imon does not use it, so nothing about it is an error.
    Remark,
}

/// Longest path that the kernel takes, without the final NUL.
pub(super) const MAX_PATH: usize = 4095;

/// Longest remark that is not commented on.
pub(super) const MAX_REMARK: usize = 4096;

impl Key {
    /// What values it takes, for a person: `a number of seconds from 0.1 to 86400`.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self.kind {
            ValueKind::Flag => "true or false".to_owned(),
            ValueKind::Seconds { min, max } => {
                format!("a number of seconds from {} to {}", Plain(min), Plain(max))
            }
            ValueKind::Count { min, max } => format!("a whole number from {min} to {max}"),
            ValueKind::Text { max } => {
                format!("text of at most {max} bytes without control characters")
            }
            ValueKind::Path => {
                format!("a path of at most {MAX_PATH} bytes without control characters")
            }
            ValueKind::Device => {
                "the name of a network interface (at most 15 bytes, no blank, no / and no :)"
                    .to_owned()
            }
            ValueKind::Host => "an IP address or a DNS name".to_owned(),
            ValueKind::Hosts { max } => {
                format!(
                    "a list of IP addresses or DNS names, at most {max} (\"a, b\" or [\"a\", \"b\"])"
                )
            }
            ValueKind::Name => "a DNS name".to_owned(),
            ValueKind::Number { max, unit } => {
                format!("a number from 0 to {}, in {unit}", Plain(max))
            }
            ValueKind::Word(words) => words.join(" or "),
            ValueKind::Gateway => "an IPv4 address or auto".to_owned(),
            ValueKind::Targets { max } => {
                format!(
                    "a list of IPv4 addresses or DNS names, also dns:ADDRESS and tcp:ADDRESS:PORT, at most {max}"
                )
            }
            ValueKind::Sources { max } => {
                format!("a list of URLs, dns:NAME and interface, at most {max}")
            }
            ValueKind::Families => "[\"4\"], [\"6\"] or [\"4\", \"6\"]".to_owned(),
            ValueKind::Events => "a list of event names, or all".to_owned(),
            ValueKind::Updates { max } => {
                format!("a list of objects with a type (dyndns2 or url), at most {max}")
            }
            ValueKind::Instance => {
                "an instance name of at most 200 bytes without / and control characters".to_owned()
            }
            ValueKind::Remark => format!("any text of at most {MAX_REMARK} bytes"),
        }
    }

    const fn new(
        section: &'static str,
        name: &'static str,
        kind: ValueKind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { section, name, kind, default, required: false, doc }
    }

    const fn required(
        section: &'static str,
        name: &'static str,
        kind: ValueKind,
        doc: &'static str,
    ) -> Self {
        Self { section, name, kind, default: UNSET, required: true, doc }
    }
}

/// The monitors, in the order in which they start.
pub const MONITORS: [&str; 4] = ["ddns", "updown", "failover", "ping"];

/// All settings: the sections in the order in which they are written, the keys within each as well.
#[must_use]
pub fn schema() -> &'static [Key] {
    SCHEMA
}

const UNSET: &str = "\"\"";
const INTERVAL: ValueKind = ValueKind::Seconds { min: 0.1, max: 86_400.0 };
const PINGCOUNT: ValueKind = ValueKind::Count { min: 1, max: 100 };
const PINGWAIT: ValueKind = ValueKind::Seconds { min: 0.01, max: 60.0 };
const STREAK: ValueKind = ValueKind::Count { min: 1, max: 100 };
const WAN_NAME: ValueKind = ValueKind::Text { max: 128 };

const TARGETS: ValueKind = ValueKind::Targets { max: 16 };
const PRIMARY_GW_DOC: &str =
    "Gateway of the primary network. auto: the one of the default route that DHCP or PPP sets.";
const PRIMARY_PING_DOC: &str = "Targets that show whether the primary network is up, instead of its gateway. Probed through this network alone.";

const ENABLE_DOC: &str = "Runs this monitor.";
const PINGCOUNT_DOC: &str =
    "Probes in a check, sent 1 s or a tenth of the interval apart, whichever is less.";
const PINGWAIT_DOC: &str = "Seconds to wait for the reply to a probe.";

static SCHEMA: &[Key] = &[
    Key::new(
        "global",
        "action",
        ValueKind::Path,
        UNSET,
        "Full path of the action script. Without one, events are only logged.",
    ),
    Key::new(
        "global",
        "action-timeout",
        ValueKind::Seconds { min: 1.0, max: 3600.0 },
        "60",
        "Seconds after which imon ends an action script and everything it started.",
    ),
    Key::new(
        "global",
        "events",
        ValueKind::Events,
        UNSET,
        "Events that call the action script in addition to those of V2.99: failover-offline, failover-online, failover-remind, failover-restored. all: all of them.",
    ),
    Key::new(
        "global",
        "datefmt",
        ValueKind::Text { max: 128 },
        "\"%Y-%m-%d %H:%M:%S\"",
        "Date before each line printed with --nosyslog, in the notation of strftime.",
    ),
    Key::new(
        "global",
        "instance",
        ValueKind::Instance,
        UNSET,
        "Instance name passed to the action script with --config. Not used with --instance.",
    ),
    Key::new("global", "note", ValueKind::Remark, UNSET, "A remark of yours. Not used."),
    Key::new(
        "global",
        "debug",
        ValueKind::Flag,
        "false",
        "Accepted for compatibility with V2.99. Does nothing.",
    ),
    Key::new(
        "global",
        "imon-configure-version",
        ValueKind::Remark,
        UNSET,
        "The program that wrote this file. Not used.",
    ),
    Key::new(
        "global",
        "imon-configure-created",
        ValueKind::Remark,
        UNSET,
        "The time at which this file was written. Not used.",
    ),
    //
    Key::new("ddns", "enable", ValueKind::Flag, "false", ENABLE_DOC),
    Key::new(
        "ddns",
        "interval",
        INTERVAL,
        "10",
        "Seconds between lookups of the external address. No operator is asked twice within 5 minutes.",
    ),
    Key::new(
        "ddns",
        "pingcount",
        PINGCOUNT,
        "2",
        "Accepted for compatibility with V2.99. Does nothing: no ping precedes a lookup.",
    ),
    Key::new(
        "ddns",
        "pingwait",
        PINGWAIT,
        "1",
        "Accepted for compatibility with V2.99. Does nothing: no ping precedes a lookup.",
    ),
    Key::new(
        "ddns",
        "sources",
        ValueKind::Sources { max: 16 },
        UNSET,
        "Sources of the external address, in the order in which imon asks them. Not set: see The external address.",
    ),
    Key::new(
        "ddns",
        "families",
        ValueKind::Families,
        "[\"4\"]",
        "Address families to track: IPv4, IPv6 or both.",
    ),
    Key::new(
        "ddns",
        "per-wan",
        ValueKind::Flag,
        "false",
        "With failover: true tracks the address of each network, false that of the network in use.",
    ),
    Key::new(
        "ddns",
        "announce",
        ValueKind::Word(&["change", "start"]),
        "\"change\"",
        "Calls the action script at a change only, or at each start as well, as V2.99 did.",
    ),
    Key::new(
        "ddns",
        "refresh",
        ValueKind::Number { max: 365.0, unit: "days" },
        "0",
        "Publishes an unchanged address again after this time. 0: never.",
    ),
    Key::new(
        "ddns",
        "ca-file",
        ValueKind::Path,
        UNSET,
        "Full path of a file of certificates (PEM) to trust in place of the built-in ones.",
    ),
    Key::new(
        "ddns",
        "update",
        ValueKind::Updates { max: 16 },
        UNSET,
        "Providers that imon updates itself, see Updates.",
    ),
    //
    Key::new("updown", "enable", ValueKind::Flag, "false", ENABLE_DOC),
    Key::new(
        "updown",
        "interval",
        INTERVAL,
        "10",
        "Seconds from the start of one check to the next. While the address is offline, at most 1.",
    ),
    Key::new("updown", "pingcount", PINGCOUNT, "2", PINGCOUNT_DOC),
    Key::new("updown", "pingwait", PINGWAIT, "1", PINGWAIT_DOC),
    Key::required("updown", "monitorip", ValueKind::Host, "Address or name to monitor."),
    Key::new(
        "updown",
        "addping",
        ValueKind::Hosts { max: 16 },
        UNSET,
        "More addresses or names, checked when the monitored one goes online or offline.",
    ),
    Key::new(
        "updown",
        "dnsserver",
        ValueKind::Host,
        UNSET,
        "DNS server out in the internet. imon asks it for dnslookup before it believes an outage.",
    ),
    Key::new("updown", "dnslookup", ValueKind::Name, UNSET, "Name to ask dnsserver for."),
    Key::new(
        "updown",
        "fall",
        STREAK,
        "1",
        "Bad checks in a row after which the address is offline.",
    ),
    Key::new(
        "updown",
        "rise",
        STREAK,
        "1",
        "Good checks in a row after which the address is online again.",
    ),
    //
    Key::new("failover", "enable", ValueKind::Flag, "false", ENABLE_DOC),
    Key::new(
        "failover",
        "interval",
        INTERVAL,
        "10",
        "Seconds from the start of one check to the next.",
    ),
    Key::new("failover", "pingcount", PINGCOUNT, "2", PINGCOUNT_DOC),
    Key::new("failover", "pingwait", PINGWAIT, "1", PINGWAIT_DOC),
    Key::new(
        "failover",
        "prefer-primary",
        ValueKind::Flag,
        "false",
        "True: use the primary network whenever it is up. False: stay on the standby network until it fails.",
    ),
    Key::new(
        "failover",
        "metric",
        ValueKind::Count { min: 0, max: u32::MAX },
        "201",
        "Metric of imon's default route in the table main. imon's rules lead the traffic regardless of other metrics.",
    ),
    Key::required("failover", "primary-if", ValueKind::Device, "Interface of the primary network."),
    Key::new("failover", "primary-name", WAN_NAME, UNSET, "Your name for the primary network."),
    Key::required("failover", "primary-gw", ValueKind::Gateway, PRIMARY_GW_DOC),
    Key::new("failover", "primary-ping", TARGETS, UNSET, PRIMARY_PING_DOC),
    Key::new(
        "failover",
        "primary-postping",
        ValueKind::Host,
        UNSET,
        "Address or name to ping after a switch to the primary network.",
    ),
    Key::required("failover", "standby-if", ValueKind::Device, "Interface of the standby network."),
    Key::new("failover", "standby-name", WAN_NAME, UNSET, "Your name for the standby network."),
    Key::required(
        "failover",
        "standby-gw",
        ValueKind::Gateway,
        "Gateway of the standby network, as for the primary one.",
    ),
    Key::new(
        "failover",
        "standby-ping",
        TARGETS,
        UNSET,
        "Targets that show whether the standby network is up, as for the primary one.",
    ),
    Key::new(
        "failover",
        "standby-postping",
        ValueKind::Host,
        UNSET,
        "Address or name to ping after a switch to the standby network.",
    ),
    Key::new(
        "failover",
        "min-up",
        ValueKind::Count { min: 1, max: 16 },
        "1",
        "Number of its targets that must answer.",
    ),
    Key::new(
        "failover",
        "hold-down",
        ValueKind::Seconds { min: 0.0, max: 86_400.0 },
        "10",
        "Seconds without a lost probe before imon returns to the preferred network. 0: at once, as V2.99 did.",
    ),
    Key::new(
        "failover",
        "max-loss",
        ValueKind::Number { max: 100.0, unit: "percent" },
        "0",
        "Loss above which a network is degraded, and a better one is used. 0: not considered.",
    ),
    Key::new(
        "failover",
        "return-loss",
        ValueKind::Number { max: 100.0, unit: "percent" },
        "0",
        "Loss at or below which a degraded network is good again. 0: half of max-loss.",
    ),
    Key::new(
        "failover",
        "max-rtt",
        ValueKind::Number { max: 60_000.0, unit: "milliseconds" },
        "0",
        "Mean round-trip time above which a network is degraded. 0: not considered.",
    ),
    Key::new(
        "failover",
        "return-rtt",
        ValueKind::Number { max: 60_000.0, unit: "milliseconds" },
        "0",
        "Mean round-trip time at or below which a degraded network is good again. 0: half of max-rtt.",
    ),
    Key::new(
        "failover",
        "idle-interval",
        ValueKind::Seconds { min: 0.0, max: 86_400.0 },
        "0",
        "Seconds between single probes of a network that carries no traffic, for links where every byte costs. 0: as interval.",
    ),
    Key::new(
        "failover",
        "remind",
        ValueKind::Seconds { min: 0.0, max: 604_800.0 },
        "0",
        "Seconds from the start of a network's outage to the event failover-remind, and from each to the next, at least 1. 0: never.",
    ),
    Key::new(
        "failover",
        "flush-conntrack",
        ValueKind::Flag,
        "true",
        "Ends connections that are translated to the address of the network that traffic leaves.",
    ),
    Key::new(
        "failover",
        "on-exit",
        ValueKind::Word(&["keep", "remove"]),
        "\"keep\"",
        "Keeps or removes the default route when imon stops. Its other routes and rules always go.",
    ),
    //
    Key::new("ping", "enable", ValueKind::Flag, "false", ENABLE_DOC),
    Key::new(
        "ping",
        "interval",
        INTERVAL,
        "10",
        "Seconds from the start of one check to the next.",
    ),
    Key::new("ping", "pingcount", PINGCOUNT, "2", PINGCOUNT_DOC),
    Key::new("ping", "pingwait", PINGWAIT, "1", PINGWAIT_DOC),
    Key::required(
        "ping",
        "monitorip",
        ValueKind::Hosts { max: 1000 },
        "Addresses or names to ping.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::mask;

    #[test]
    fn every_key_is_there_once_with_a_sentence_and_its_section_known() {
        for (i, key) in schema().iter().enumerate() {
            assert!(key.section == "global" || MONITORS.contains(&key.section), "{key:?}");
            assert!(key.doc.ends_with('.'), "{key:?}");
            let same = |other: &&Key| other.section == key.section && other.name == key.name;
            assert_eq!(schema().iter().position(|k| same(&k)), Some(i), "{key:?}");
        }
        for monitor in MONITORS {
            for name in ["enable", "interval", "pingcount", "pingwait"] {
                assert!(
                    schema().iter().any(|k| k.section == monitor && k.name == name),
                    "{monitor} {name}"
                );
            }
        }
    }

    #[test]
    fn no_known_key_is_taken_for_a_secret() {
        for key in schema() {
            assert!(!mask::is_secret(key.name), "{key:?}");
        }
    }
}
