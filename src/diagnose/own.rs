//! What the imon that runs thinks of its networks, from its status file: for somebody who sees the
//! one say "dead" and the other "works" each is only half of the truth.

use std::net::Ipv4Addr;

use crate::base::json::fields::Fields;
use crate::base::time::read_time;
use crate::diagnose::{GatewayEvidence, TestReply, WanEvidence};

/// What imon itself says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Own {
    /// The number of its process.
    pub pid: i64,
    /// Its networks, as in the configuration that it has read.
    pub wans: Vec<OwnWan>,
}

/// What imon says of a network.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OwnWan {
    /// The interface.
    pub device: String,
    /// `unknown`, `down`, `degraded`, `up`.
    pub state: String,
    /// Since when, in seconds since 1970.
    pub since: Option<i64>,
    /// Why it is down.
    pub reason: Option<String>,
    /// What might help.
    pub advice: Option<String>,
    /// Its gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Targets that do not answer its probes.
    pub silent: Vec<String>,
}

impl Own {
    /// Reads a status file. `None`: it is none of an imon with the failover monitor.
    #[must_use]
    pub fn read(status: &[u8]) -> Option<Self> {
        let root = Fields::read(status)?;
        let failover = root.object("monitors")?.object("failover")?;
        let wan = |wan: &Fields<'_>| OwnWan {
            device: wan.text("interface").unwrap_or_default(),
            state: wan.text("state").unwrap_or_default(),
            since: wan.text("since").and_then(|text| read_time(&text)),
            reason: wan.text("reason"),
            advice: wan.text("advice"),
            gateway: wan.text("gateway").and_then(|text| text.parse().ok()),
            silent: items(wan, "targets")
                .iter()
                .filter(|target| target.text("state").as_deref() == Some("offline"))
                .filter_map(|target| target.text("target"))
                .collect(),
        };
        Some(Self {
            pid: root.number("pid")?,
            wans: items(&failover, "wans").iter().map(wan).collect(),
        })
    }

    /// What it says of this network.
    #[must_use]
    pub fn of(&self, wan: &WanEvidence) -> Option<&OwnWan> {
        self.wans.iter().find(|own| own.device == wan.way.device)
    }
}

impl OwnWan {
    /// Whether imon takes it for offline and the check for working.
    #[must_use]
    pub fn differs(&self, wan: &WanEvidence) -> bool {
        self.state == "down" && wan.way.is_reached()
    }

    /// What imon takes it for, since when and why: `offline since 3 hours: 192.168.42.1 does not
    /// answer`. `now` is in seconds since 1970.
    #[must_use]
    pub fn words(&self, now: i64, in_words: impl Fn(u64) -> String) -> String {
        let state = match self.state.as_str() {
            "down" => "offline",
            "up" => "online",
            "degraded" => "online with losses",
            _ => "not known yet",
        };
        let since = self.since.map_or_else(String::new, |since| {
            format!(" since {}", in_words(u64::try_from(now.saturating_sub(since)).unwrap_or(0)))
        });
        let why = match (&self.reason, self.silent.as_slice()) {
            _ if self.state != "down" => String::new(),
            (Some(reason), [target]) if !reason.contains(target.as_str()) => {
                format!(": {reason} ({target})")
            }
            (Some(reason), _) => format!(": {reason}"),
            (None, []) => String::new(),
            (None, [target]) => format!(": {target} does not answer its probes"),
            (None, silent) => format!(": {} do not answer its probes", silent.join(" and ")),
        };
        format!("{state}{since}{why}")
    }

    /// What to do about an imon that takes a network that works for offline.
    #[must_use]
    pub fn cure(&self, wan: &WanEvidence) -> String {
        let WanEvidence { role, way, .. } = wan;
        let asks_gateway = |g: &GatewayEvidence| {
            g.ping != TestReply::Waiting && self.silent.iter().any(|t| *t == g.address.to_string())
        };
        match (&self.advice, way.gateway.as_ref().filter(|g| asks_gateway(g))) {
            (Some(advice), _) => advice.clone(),
            (None, Some(gateway)) => format!(
                "{} answers no pings, which is no fault: let imon ask a host beyond it, set {role}-ping to 1.1.1.1 for \
                 instance",
                gateway.address
            ),
            (None, None) => format!("let imon ask another host there: set {role}-ping"),
        }
    }
}

fn items<'a>(fields: &Fields<'a>, name: &str) -> Vec<Fields<'a>> {
    fields.list(name).unwrap_or_default().into_iter().filter_map(Fields::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = r#"{"schema":1,"version":"3.0.0","instance":"main","pid":77,"since":"2026-11-24T00:00:00.000Z",
        "monitors":{"failover":{"active":"wan2","outranked_by":null,"beside":[{"kind":"narrow","what":"x","text":"y"}],
        "wans":[{"role":"primary","interface":"wan1","state":"down","since":"2026-11-24T00:00:00.000Z","reason":null,
        "active":false,"gateway":"192.168.42.1","targets":[{"target":"192.168.42.1","state":"offline"},{"target":"1.1.1.1","state":"online"}]},
        {"role":"standby","interface":"wan2","state":"up","since":null,"reason":null,"active":true,"targets":[]}]}}}"#;

    #[test]
    fn what_imon_takes_a_network_for_in_words() {
        let words = |state: &str, reason: Option<&str>, silent: &[&str]| {
            let silent = silent.iter().map(|&target| target.to_owned()).collect();
            let own = OwnWan {
                state: state.to_owned(),
                reason: reason.map(str::to_owned),
                silent,
                ..OwnWan::default()
            };
            own.words(0, |_| String::new())
        };
        assert_eq!(
            words("up", Some("x"), &["y"]),
            "online",
            "why is of interest where it is offline"
        );
        assert_eq!(words("degraded", None, &[]), "online with losses");
        assert_eq!(words("unknown", None, &[]), "not known yet");
        assert_eq!(words("down", None, &[]), "offline");
        assert_eq!(words("down", None, &["a", "b"]), "offline: a and b do not answer its probes");
        assert_eq!(words("down", Some("no carrier"), &[]), "offline: no carrier");
        assert_eq!(words("down", Some("no reply"), &["1.1.1.1"]), "offline: no reply (1.1.1.1)");
        assert_eq!(
            words("down", Some("1.1.1.1: no reply"), &["1.1.1.1"]),
            "offline: 1.1.1.1: no reply"
        );
        assert_eq!(words("down", Some("no reply"), &["a", "b"]), "offline: no reply");
    }

    #[test]
    fn d11_a_status_file_is_read() {
        let own = Own::read(STATUS.as_bytes()).unwrap();
        assert_eq!((own.pid, own.wans.len()), (77, 2));
        let words = |at: usize| {
            own.wans[at].words(1_795_478_400 + 3 * 3600, |s| format!("{} hours", s / 3600))
        };
        assert_eq!(words(0), "offline since 3 hours: 192.168.42.1 does not answer its probes");
        assert_eq!(words(1), "online");
        assert_eq!(
            (own.wans[0].gateway, own.wans[1].gateway),
            (Some(Ipv4Addr::new(192, 168, 42, 1)), None)
        );
        for broken in
            ["", "{}", "[]", r#"{"monitors":{}}"#, r#"{"monitors":{"failover":7}}"#, &STATUS[..300]]
        {
            assert_eq!(Own::read(broken.as_bytes()), None, "{broken}");
        }
        // Whatever its fields are.
        let odd = STATUS.replace("\"down\"", "7").replace("[{\"target\"", "[3,{\"target\"");
        assert_eq!(Own::read(odd.as_bytes()).unwrap().wans[0].state, "");
    }
}
