//! Beside other people's rules, routes and tunnels, as docs/beside.md promises it: each set of them
//! before imon's start and after it, with all networks up and with the primary one dead.

mod connections;
mod leftovers;
mod sets;
mod tunnels;

use imon_lab::{Fault, Lab, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::failover::{start, wait_active, wait_up};
use crate::{SOON, trials};
use sets::{SETS, Set, Up};

pub(crate) fn tests() -> Vec<Trial> {
    let own = trials![
        v1_what_was_set_up_before_imon_keeps_its_place_while_a_cable_is_pulled,
        v1_what_is_set_up_beside_a_running_imon_finds_its_place,
        v1_the_document_has_the_rows_that_are_tried,
    ];
    [own, tunnels::tests(), connections::tests(), leftovers::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// A lab whose routes all come from the sets.
fn bare_lab() -> Lab {
    bare(Lab::builder())
}

fn bare(builder: imon_lab::Builder) -> Lab {
    builder.imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up()
}

/// Probes of the internet, so that a dead upstream is seen.
fn probes() -> Value {
    json!({ "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" })
}

/// Real tunnels of `wireguard-go`: wg0 and wg1 on the router, wgp and wgq in the internet. wg0 is
/// up and has no routes but its own network, wg1 is wg-quick's to bring up.
fn tunnels(lab: &Lab) {
    for tool in ["wireguard-go", "wg-quick"] {
        let found = lab.sh("router", &format!("command -v {tool} || true"));
        assert!(
            !found.is_empty(),
            "{tool} is missing: install the packages wireguard-go and wireguard-tools"
        );
    }
    lab.sh(
        "router",
        "umask 077; cd /run/lab; for k in wg0 wg1 wgp; do wg genkey >$k.key; wg pubkey <$k.key >$k.pub; done",
    );
    lab.sh(
        "inet",
        "cd /run/lab; wireguard-go wgp && ip addr add 10.9.0.1/16 dev wgp && ip link set wgp up mtu 1420 && \
        wg set wgp listen-port 51820 private-key wgp.key \
            peer $(cat wg0.pub) allowed-ips 10.9.0.2/32 peer $(cat wg1.pub) allowed-ips 10.9.1.2/32,192.168.92.0/24",
    );
    lab.sh(
        "router",
        "cd /run/lab; wireguard-go wg0 && ip addr add 10.9.0.2/24 dev wg0 && ip link set wg0 up mtu 1420 && \
        wg set wg0 private-key wg0.key fwmark 0xca6c \
            peer $(cat wgp.pub) allowed-ips 0.0.0.0/0 endpoint 198.18.0.80:51820 persistent-keepalive 2; \
        printf '%s\\n' '[Interface]' \"PrivateKey = $(cat wg1.key)\" 'Address = 10.9.1.2/24' '[Peer]' \
            \"PublicKey = $(cat wgp.pub)\" 'AllowedIPs = 0.0.0.0/0' 'Endpoint = 198.18.0.80:51820' \
            'PersistentKeepalive = 2' >wg1.conf",
    );
}

/// wg-quick(8) with the tunnel that takes everything.
fn wg_quick(lab: &Lab, word: &str) {
    if word == "up" {
        // The process of the last tunnel ends some time after its interface has gone.
        let there = "test -e /var/run/wireguard/wg1.sock && echo yes || true";
        lab.wait_until("the last tunnel's process has ended", SOON, || {
            lab.sh("router", there).is_empty()
        });
    }
    lab.sh("router", &format!("wg-quick {word} /run/lab/wg1.conf 2>&1"));
}

impl Set {
    /// Sets it up on the router.
    fn up(&self, lab: &Lab) {
        match self.up {
            Up::Batch(lines) => {
                _ = lab.sh("router", &format!("ip -batch - <<'E'\n{}\nE", lines.join("\n")))
            }
            Up::WgQuick => wg_quick(lab, "up"),
        }
    }

    /// Takes it away again, the last first.
    fn down(&self, lab: &Lab) {
        match self.up {
            Up::Batch(lines) => {
                let undone = |line: &&str| {
                    let line = line.replacen(" add ", " del ", 1).replace(" append ", " del ");
                    match line.strip_prefix("nexthop del id ") {
                        Some(rest) => {
                            format!("nexthop del id {}", rest.split(' ').next().unwrap_or_default())
                        }
                        None => line,
                    }
                };
                let lines: Vec<String> = lines.iter().rev().map(undone).collect();
                // The kernel drops next-hop objects, and what needs them, with the carrier.
                lab.sh(
                    "router",
                    &format!("ip -force -batch - <<'E' || true\n{}\nE", lines.join("\n")),
                );
            }
            Up::WgQuick => wg_quick(lab, "down"),
        }
    }

    /// By which device packets should leave while this network is chosen: of a LAN host, of the
    /// router, and of whatever the set singles out.
    fn expected(&self, chosen: Wan) -> Vec<String> {
        let device = |way: &str| match (way, &self.up) {
            ("choice", _) => chosen.device().to_owned(),
            ("tunnel", Up::WgQuick) => "wg1".to_owned(),
            ("tunnel", Up::Batch(_)) => "wg0".to_owned(),
            (other, _) => other.to_owned(),
        };
        [self.lan, self.router]
            .into_iter()
            .chain(self.single.map(|(_, way)| way))
            .map(device)
            .collect()
    }

    /// By which device they leave.
    fn seen(&self, lab: &Lab) -> Vec<String> {
        let mut script = String::from(
            "way() { ip -4 route get \"$@\" 2>/dev/null | sed -n '1s/.* dev \\([^ ]*\\).*/\\1/p' | grep . || echo nowhere; }\n",
        );
        let packets = ["1.1.1.1 from 192.168.92.10 iif lan0", "1.1.1.1"];
        for packet in packets.into_iter().chain(self.single.map(|(packet, _)| packet)) {
            script += &format!("way {packet}\n");
        }
        lab.sh("router", &script).lines().map(str::to_owned).collect()
    }

    /// Waits until each packet leaves where it should, and looks a second time.
    #[track_caller]
    fn check(&self, lab: &Lab, chosen: Wan, when: &str) {
        let (name, expected) = (self.name, self.expected(chosen));
        let mut seen = Vec::new();
        let deadline = std::time::Instant::now() + SOON;
        while seen != expected {
            seen = self.seen(lab);
            if seen != expected && std::time::Instant::now() > deadline {
                let state = lab
                    .sh("router", "ip -4 rule; ip -4 route show table all | grep -v 'table local'");
                panic!(
                    "{name}, {when}: LAN, router, single leave by {seen:?}, expected {expected:?}\n{state}"
                );
            }
        }
        assert_eq!(self.seen(lab), expected, "{name}, {when}: it did not stay so");
    }
}

fn v1_what_was_set_up_before_imon_keeps_its_place_while_a_cable_is_pulled() {
    let lab = bare_lab();
    tunnels(&lab);
    let untouched = lab.sh("router", "ip -4 rule; ip -4 route show table all");
    for set in SETS {
        lab.note(set.name);
        set.up(&lab);
        let imon = start(&lab, probes());
        wait_up(&imon);
        set.check(&lab, Wan::One, "before imon, all up");
        let mark = imon.mark();
        lab.fault(Fault::Carrier(Wan::One));
        wait_active(&imon, mark, Wan::Two);
        set.check(&lab, Wan::Two, "before imon, cable 1 pulled");
        imon.signal(imon_lab::Signal::SIGTERM);
        assert!(imon.wait(SOON).success());
        lab.heal(Fault::Carrier(Wan::One));
        let left = lab.sh("router", "ip -4 rule show; ip -4 route show table all");
        let ours: Vec<&str> = left.lines().filter(|line| line.contains("proto 171")).collect();
        // The default that worked last stays in main: without imon the router should have the
        // internet.
        assert!(
            ours.len() <= 1 && ours.iter().all(|line| line.starts_with("default via 192.168.62.1")),
            "{ours:?}"
        );
        lab.sh("router", "ip -4 route flush proto 171");
        set.down(&lab);
        assert_eq!(
            lab.sh("router", "ip -4 rule; ip -4 route show table all"),
            untouched,
            "{}",
            set.name
        );
    }
}

fn v1_what_is_set_up_beside_a_running_imon_finds_its_place() {
    let lab = bare_lab();
    tunnels(&lab);
    let imon = start(&lab, probes());
    wait_up(&imon);
    let rules = || lab.sh("router", "ip -4 rule");
    for (chosen, when) in
        [(Wan::One, "after imon, all up"), (Wan::Two, "after imon, upstream 1 dead")]
    {
        if chosen == Wan::Two {
            let mark = imon.mark();
            lab.fault(Fault::UpstreamDead(Wan::One));
            wait_active(&imon, mark, Wan::Two);
        }
        let before = rules();
        for set in SETS {
            lab.note(set.name);
            set.up(&lab);
            set.check(&lab, chosen, when);
            set.down(&lab);
            lab.wait_until(&format!("imon's rules are as before: {}", set.name), SOON, || {
                rules() == before
            });
        }
    }
}

fn v1_the_document_has_the_rows_that_are_tried() {
    let document = include_str!("../../../docs/beside.md");
    let rows: Vec<String> = SETS.iter().map(Set::row).collect();
    let begin =
        "| set up by others | a LAN host | the router | singled out |\n| --- | --- | --- | --- |\n";
    let (_, table) = document.split_once(begin).expect("docs/beside.md has the table");
    let written: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(written, rows, "docs/beside.md should have:\n{}", rows.join("\n"));
}
