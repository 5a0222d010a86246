//! What happens in the demo, as a list. Each act leaves the network as it found it, or as the next
//! one's story says.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use imon_lab::roles::{Behaviour, DnsMode, Reply};
use imon_lab::{Fault, Signal, Wan};

use crate::stage::Stage;

/// How long imon took, where that means anything, or what did not happen.
pub(crate) type Played = Result<Option<Duration>, String>;

/// One thing that goes wrong.
pub(crate) struct Act {
    /// In the table, what happens; at most 33 characters.
    pub(crate) name: &'static str,
    /// Before it is played, in plain words.
    pub(crate) story: &'static str,
    /// What imon did if all went as told; at most 33 characters.
    pub(crate) outcome: &'static str,
    /// Plays it.
    pub(crate) play: fn(&mut Stage<'_>) -> Played,
}

/// All of them, in order.
pub(crate) const ACTS: &[Act] = &[
    Act { name: "imon starts", story: "imon starts.", outcome: "first check done", play: start },
    Act {
        name: "1.1.1.1 stops answering pings",
        story: "1.1.1.1 stops answering pings, as big servers sometimes do under load. The internet is fine.",
        outcome: "no false alarm: DNS refuted it",
        play: silence,
    },
    Act {
        name: "DNS is dead as well",
        story: "The DNS server falls silent too. Now nothing shows that the internet is there.",
        outcome: "outage, fault beyond the provider",
        play: outage,
    },
    Act {
        name: "the resolver lies",
        story: "While the line is down the DNS answers are made up, as home routers do: first with the router's own \
                address, then with a public one for any name at all.",
        outcome: "believed neither, still offline",
        play: lies,
    },
    Act {
        name: "all is well again",
        story: "1.1.1.1 and DNS work again.",
        outcome: "online, with the outage's length",
        play: healing,
    },
    Act {
        name: "an action script hangs",
        story: "Another outage, and this time the action script hangs. Meanwhile the outage ends.",
        outcome: "saw the recovery, ended script",
        play: hang,
    },
    Act {
        name: "replies to nobody's probes",
        story: "Somebody in the path answers in 1.1.1.1's place, without knowing what imon sent: with a wrong payload, id, \
                sequence number, checksum or sender.",
        outcome: "offline: took none for a reply",
        play: wrong_replies,
    },
    Act {
        name: "the provider says unreachable",
        story: "The provider loses its own uplink, and its router says so.",
        outcome: "did not wait, named the reason",
        play: unreachable,
    },
    Act {
        name: "the cable to the provider is out",
        story: "Somebody pulls the cable between the router and the provider.",
        outcome: "outage, fault this side of it",
        play: unplug,
    },
    Act {
        name: "SIGHUP, configuration broken",
        story: "Somebody edits the configuration, makes two mistakes, and reloads it (SIGHUP).",
        outcome: "said both, kept the old one",
        play: bad_reload,
    },
    Act {
        name: "SIGHUP: two providers",
        story: "From here on imon keeps the default route on one of two providers (failover): a new configuration, \
                and SIGHUP. There is a second cable now, from wan2 to isp2.",
        outcome: "traffic over the preferred one",
        play: two_providers,
    },
    Act {
        name: "the cable of the first is pulled",
        story: "Somebody pulls the cable of the preferred provider, and puts it back.",
        outcome: "traffic over the other one",
        play: pull,
    },
    Act {
        name: "its gateway falls silent",
        story: "The preferred provider's router hangs: it no longer answers.",
        outcome: "traffic over the other one",
        play: gateway,
    },
    Act {
        name: "its upstream dies",
        story: "The preferred provider's router answers, and nothing behind it does.",
        outcome: "traffic over the other one",
        play: upstream,
    },
    Act {
        name: "it gives another address",
        story: "The preferred provider gives the router another address, as DHCP does.",
        outcome: "followed it, no switch",
        play: renumber,
    },
    Act {
        name: "DHCP adds its default route",
        story: "A DHCP client puts a default route over the other provider, of a metric that wins over imon's.",
        outcome: "traffic stays where it was",
        play: dhcp,
    },
    Act {
        name: "kill -9",
        story: "imon is killed (SIGKILL) and started again.",
        outcome: "took all over, no switch, no gap",
        play: kill,
    },
    Act {
        name: "SIGTERM",
        story: "imon is asked to stop (SIGTERM).",
        outcome: "stopped, status 0",
        play: stop,
    },
];

const ONLINE: &str = "[demo-updown] Monitored IP 1.1.1.1 online";
const OFFLINE: &str = "[demo-updown] Monitored IP 1.1.1.1 offline";
const BEYOND: &str = "192.168.42.1 answers: the fault lies beyond it, or in 1.1.1.1";
/// imon gives DNS this long, and longer where `pingwait` is.
const DNS_WAIT: Duration = Duration::from_secs(1);
/// What the action script prints.
const CALLED_OFFLINE: &str = "(action script: updown-offline 1.1.1.1";
const CALLED_ONLINE: &str = "(action script: updown-online 1.1.1.1 0:0:0:";

fn start(stage: &mut Stage<'_>) -> Played {
    let took = stage.hear(ONLINE)?;
    stage.hear("Secondary IP 192.168.42.1 online")?;
    stage.hear_of("ping-result 9.9.9.9:True:")?;
    Ok(Some(took))
}

fn silence(stage: &mut Stage<'_>) -> Played {
    stage.deed("1.1.1.1 is silenced", |s| s.internet.set("1.1.1.1", &Behaviour::silent()));
    let took = stage.hear(
        "Offline of 1.1.1.1 refuted by DNS query of 'microsoft.com' on DNS server '8.8.8.8'",
    )?;
    stage.checks(2, "offline")?;
    Ok(Some(took))
}

fn outage(stage: &mut Stage<'_>) -> Played {
    stage.deed("DNS is silenced", |s| s.dns.mode(&DnsMode::Timeout));
    let took = stage.hear(OFFLINE)?;
    stage.hear("Secondary IP 192.168.42.1 online")?;
    stage.hear(BEYOND)?;
    stage.called(CALLED_OFFLINE)?;
    Ok(Some(took))
}

fn lies(stage: &mut Stage<'_>) -> Played {
    let lie = |a, b, c, d| DnsMode::Lie(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
    for (what, mode) in [
        ("every name is 192.168.42.1, says DNS", lie(192, 168, 42, 1)),
        ("every name is 198.18.0.80, says DNS", lie(198, 18, 0, 80)),
    ] {
        let asked = stage.dns.queries().len();
        stage.deed(what, |s| s.dns.mode(&mode));
        // Two questions a check: for the name, and for one that cannot exist.
        stage.until("three more DNS questions", Some("online"), |s| {
            s.dns.queries().len() >= asked + 6
        })?;
    }
    Ok(None)
}

fn healing(stage: &mut Stage<'_>) -> Played {
    heal(stage).map(Some)
}

fn hang(stage: &mut Stage<'_>) -> Played {
    stage.deed("1.1.1.1 and DNS are silenced; the script will hang", |s| {
        s.lab.write("/run/lab/hang", "");
        s.dns.mode(&DnsMode::ServFail);
        s.internet.set("1.1.1.1", &Behaviour::silent());
    });
    stage.hear(OFFLINE)?;
    stage.called(CALLED_OFFLINE)?;
    stage.deed("both answer again, while the script hangs", |s| {
        s.dns.mode(&DnsMode::Normal);
        s.internet.set("1.1.1.1", &Behaviour::normal());
    });
    let took = stage.hear(ONLINE)?;
    stage.hear("did not end within 3 s for updown-offline: ending it")?;
    stage.hear_of("failed for updown-offline")?;
    stage.called(CALLED_ONLINE)?;
    stage.until("nothing of the script is left", None, |s| !s.runs(&["sleep", "1000"]))?;
    Ok(Some(took))
}

fn wrong_replies(stage: &mut Stage<'_>) -> Played {
    stage.deed("replies with a wrong payload; DNS fails", |s| {
        s.dns.mode(&DnsMode::ServFail);
        s.internet.set("1.1.1.1", &Behaviour::new(Reply::WrongPayload));
    });
    let took = stage.hear(OFFLINE)?;
    stage.called(CALLED_OFFLINE)?;
    for (what, reply) in [
        ("replies with a wrong id", Reply::WrongId),
        ("replies with a wrong sequence number", Reply::WrongSequence),
        ("replies with a wrong checksum", Reply::WrongChecksum),
        ("replies from 9.9.9.9", Reply::WrongSource(IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)))),
    ] {
        stage.deed(what, |s| s.internet.set("1.1.1.1", &Behaviour::new(reply)));
        stage.checks(1, "online")?;
    }
    heal(stage)?;
    Ok(Some(took))
}

fn unreachable(stage: &mut Stage<'_>) -> Played {
    let fault = Fault::UpstreamRejecting(Wan::One);
    stage.deed("isp1 has no way to the internet, and answers so", |s| _ = s.lab.fault(fault));
    let took = stage.hear(OFFLINE)?;
    // A second for DNS to answer, had nobody said that it cannot, and half of one until the check.
    if took >= DNS_WAIT {
        return Err(format!("imon waited for DNS, {:.2} s in all", took.as_secs_f64()));
    }
    stage.hear_of("host unreachable from 192.168.42.1")?;
    stage.deed("isp1 has its way again", |s| _ = s.lab.heal(fault));
    stage.hear(ONLINE)?;
    stage.called(CALLED_ONLINE)?;
    Ok(Some(took))
}

fn unplug(stage: &mut Stage<'_>) -> Played {
    let fault = Fault::Carrier(Wan::One);
    stage.deed("the cable is out", |s| _ = s.lab.fault(fault));
    let took = stage.hear(OFFLINE)?;
    stage.hear("Secondary IP 192.168.42.1 offline")?;
    stage.hear("the fault lies between this system and it, or in it")?;
    stage.deed("the cable is in again", |s| _ = s.lab.heal(fault));
    stage.hear(ONLINE)?;
    stage.called(CALLED_ONLINE)?;
    Ok(Some(took))
}

fn bad_reload(stage: &mut Stage<'_>) -> Played {
    stage.deed("updown gets \"interval\": 0 and \"pingcuont\": 2", |s| {
        s.reconfigure("\"interval\": 0.5", "\"interval\": 0, \"pingcuont\": 2");
        s.imon.signal(Signal::SIGHUP);
    });
    stage.hear_of("pingcuont")?;
    let took = stage.hear("the old configuration goes on")?;
    stage.checks(2, "offline")?;
    Ok(Some(took))
}

fn stop(stage: &mut Stage<'_>) -> Played {
    stage.deed("SIGTERM", |s| s.imon.signal(Signal::SIGTERM));
    let took = stage.until("imon has ended", None, |s| !s.imon.alive())?;
    match stage.imon.status() {
        Some(status) if status.success() => Ok(Some(took)),
        Some(status) => Err(format!("imon ended with {status}")),
        None => Err("imon still runs".to_owned()),
    }
}

const PRIMARY: &str = "Network Failover Primary Route fibre (wan1) is active";
const STANDBY: &str = "Network Failover Standby Route mobile (wan2) is active";

fn two_providers(stage: &mut Stage<'_>) -> Played {
    stage.deed("a configuration with failover alone", |s| {
        s.configure(include_str!("imon-failover.json"));
        s.imon.signal(Signal::SIGHUP);
    });
    let took = stage.hear(PRIMARY)?;
    stage.hear("Network Failover Initial State for Standby Network mobile (wan2): online")?;
    stage.leaves_by("wan1")?;
    Ok(Some(took))
}

fn pull(stage: &mut Stage<'_>) -> Played {
    there_and_back(stage, Fault::Carrier(Wan::One), "the cable is out", "the cable is in again")
}

fn gateway(stage: &mut Stage<'_>) -> Played {
    there_and_back(
        stage,
        Fault::GatewaySilent(Wan::One),
        "192.168.42.1 is silent",
        "it answers again",
    )
}

fn upstream(stage: &mut Stage<'_>) -> Played {
    there_and_back(
        stage,
        Fault::UpstreamDead(Wan::One),
        "isp1 forwards nothing",
        "it forwards again",
    )
}

fn there_and_back(stage: &mut Stage<'_>, fault: Fault, breaks: &str, heals: &str) -> Played {
    stage.deed(breaks, |s| _ = s.lab.fault(fault));
    let took = stage.hear(STANDBY)?;
    stage.leaves_by("wan2")?;
    stage.deed(heals, |s| _ = s.lab.heal(fault));
    stage.hear(PRIMARY)?;
    stage.leaves_by("wan1")?;
    Ok(Some(took))
}

fn renumber(stage: &mut Stage<'_>) -> Played {
    // As a DHCP client does it: the old one goes, and a moment later the new one is there.
    let commands =
        "printf 'addr flush dev wan1\\naddr add 192.168.42.77/24 dev wan1\\n' | ip -4 -batch -";
    stage.deed("wan1 has 192.168.42.77 in place of 192.168.42.2", |s| {
        _ = s.lab.sh("router", commands)
    });
    let moved = |s: &Stage<'_>| s.lab.sh("router", "ip rule show").contains("from 192.168.42.77 ");
    let took = stage.until("a rule for the new address", Some("Failover to Standby"), moved)?;
    stage.until("traffic over the new address", None, |s| {
        s.lab.sh("router", "ip route get 9.9.9.9").contains("wan1")
    })?;
    Ok(Some(took))
}

fn dhcp(stage: &mut Stage<'_>) -> Played {
    let add =
        "ip route add default via 192.168.62.1 dev wan2 proto dhcp metric 100 src 192.168.62.2";
    stage.deed(add, |s| _ = s.lab.sh("router", add));
    stage.leaves_by("wan1")?;
    Ok(None)
}

fn kill(stage: &mut Stage<'_>) -> Played {
    stage.deed("SIGKILL", |s| s.imon.signal(Signal::SIGKILL));
    stage.until("imon is gone", None, |s| !s.imon.alive())?;
    stage.leaves_by("wan1")?;
    stage.restart();
    let took = stage.hear(PRIMARY)?;
    stage.leaves_by("wan1")?;
    Ok(Some(took))
}

/// Pings and DNS as they should be again, and imon has noticed.
fn heal(stage: &mut Stage<'_>) -> Result<Duration, String> {
    stage.deed("1.1.1.1 and DNS answer again", |s| {
        s.dns.mode(&DnsMode::Normal);
        s.internet.set("1.1.1.1", &Behaviour::normal());
    });
    let took = stage.hear(ONLINE)?;
    stage.hear_of("Outage Duration: 0 days 0 hours, 0 minutes ")?;
    stage.called(CALLED_ONLINE)?;
    Ok(took)
}
