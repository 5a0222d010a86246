//! What others set up on routers, and where packets then leave. The same rows are in
//! docs/beside.md.

/// How a set comes to be.
pub(super) enum Up {
    /// Lines for `ip -batch`. With `del` in place of `add`, in reverse order, they undo it.
    Batch(&'static [&'static str]),
    /// `wg-quick up` with a tunnel for everything.
    WgQuick,
}

/// A set of foreign rules and routes. A way is `choice` (imon's), `tunnel`, `nowhere` or a device.
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) up: Up,
    /// By which way packets of a LAN host leave,
    pub(super) lan: &'static str,
    /// and those of the router itself, bound to nothing.
    pub(super) router: &'static str,
    /// What the set is narrowed to, as `ip route get` takes it, and its way.
    pub(super) single: Option<(&'static str, &'static str)>,
}

impl Set {
    /// Its row in the document.
    pub(super) fn row(&self) -> String {
        let single =
            self.single.map_or(String::new(), |(packet, way)| format!("`{packet}`: {way}"));
        format!("| {} | {} | {} | {single} |", self.name, self.lan, self.router)
    }

    const fn new(
        name: &'static str,
        lan: &'static str,
        router: &'static str,
        up: &'static [&'static str],
    ) -> Self {
        Self { name, up: Up::Batch(up), lan, router, single: None }
    }

    const fn single(self, packet: &'static str, way: &'static str) -> Self {
        Self { single: Some((packet, way)), ..self }
    }
}

const CLIENT: &str = "1.1.1.1 from 192.168.92.50 iif lan0";
const MARKED: &str = "1.1.1.1 mark 0x80000";

pub(super) const SETS: &[Set] = &[
    Set::new("nothing", "choice", "choice", &[]),
    Set { up: Up::WgQuick, ..Set::new("wg-quick, full tunnel", "tunnel", "tunnel", &[]) }
        .single("198.18.0.80 mark 0xca6c", "choice"),
    Set::new(
        "wg-quick's rules by hand",
        "tunnel",
        "tunnel",
        &[
            "route add default dev wg0 table 51820",
            "rule add not fwmark 0xca6c table 51820",
            "rule add table main suppress_prefixlength 0",
        ],
    )
    .single("198.18.0.80 mark 0xca6c", "choice"),
    Set::new(
        "NetworkManager's WireGuard rules",
        "tunnel",
        "tunnel",
        &[
            "route add default dev wg0 table 52000",
            "rule add pref 31000 table main suppress_prefixlength 0",
            "rule add pref 31001 not fwmark 0xca6c table 52000",
        ],
    )
    .single("198.18.0.80 mark 0xca6c", "choice"),
    Set::new(
        "one client into a tunnel",
        "choice",
        "choice",
        &[
            "route add default dev wg0 table 200",
            "rule add pref 30000 from 192.168.92.50 table 200",
        ],
    )
    .single(CLIENT, "tunnel"),
    Set::new(
        "one client over wan2",
        "choice",
        "choice",
        &[
            "route add default via 192.168.62.1 table 200",
            "rule add pref 30000 from 192.168.92.50 table 200",
        ],
    )
    .single(CLIENT, "wan2"),
    Set::new(
        "the whole LAN into a tunnel, by its network",
        "tunnel",
        "choice",
        &[
            "route add default dev wg0 table 200",
            "rule add pref 100 table main suppress_prefixlength 0",
            "rule add pref 101 from 192.168.92.0/24 table 200",
        ],
    ),
    Set::new(
        "the whole LAN into a tunnel, by its interface",
        "tunnel",
        "choice",
        &["route add default dev wg0 table 200", "rule add pref 30001 iif lan0 table 200"],
    ),
    Set::new(
        "the whole LAN over wan1, by its interface",
        "wan1",
        "choice",
        &["route add default via 192.168.42.1 table 200", "rule add pref 30001 iif lan0 table 200"],
    ),
    Set::new(
        "a destination into a tunnel",
        "choice",
        "choice",
        &["route add default dev wg0 table 300", "rule add to 9.0.0.0/8 table 300"],
    )
    .single("9.9.9.9 from 192.168.92.10 iif lan0", "tunnel"),
    Set::new(
        "everything but one destination into a tunnel",
        "tunnel",
        "tunnel",
        &["route add default dev wg0 table 300", "rule add pref 30002 not to 9.0.0.0/8 table 300"],
    )
    .single("9.9.9.9", "choice"),
    Set::new(
        "a port over wan2",
        "choice",
        "choice",
        &[
            "route add default via 192.168.62.1 table 200",
            "rule add pref 900 ipproto tcp dport 25 table 200",
        ],
    )
    .single("1.1.1.1 from 192.168.92.10 iif lan0 ipproto tcp dport 25", "wan2"),
    Set::new(
        "a type of service over wan2",
        "choice",
        "choice",
        &["route add default via 192.168.62.1 table 200", "rule add pref 900 tos 0x10 table 200"],
    )
    .single("1.1.1.1 from 192.168.92.10 iif lan0 tos 0x10", "wan2"),
    Set::new(
        "Tailscale",
        "choice",
        "choice",
        &[
            "route add 100.64.0.0/10 dev wg0 table 52",
            "rule add pref 5210 fwmark 0x80000/0xff0000 table main",
            "rule add pref 5230 fwmark 0x80000/0xff0000 table default",
            "rule add pref 5250 fwmark 0x80000/0xff0000 unreachable",
            "rule add pref 5270 table 52",
        ],
    )
    .single("100.64.0.9 from 192.168.92.10 iif lan0", "tunnel"),
    Set::new(
        "Tailscale, and defaults of metric 50 and 100",
        "choice",
        "choice",
        &[
            "route add default via 192.168.42.1 metric 50",
            "route add default via 192.168.62.1 metric 100",
            "route add 100.64.0.0/10 dev wg0 table 52",
            "rule add pref 5210 fwmark 0x80000/0xff0000 table main",
            "rule add pref 5230 fwmark 0x80000/0xff0000 table default",
            "rule add pref 5250 fwmark 0x80000/0xff0000 unreachable",
            "rule add pref 5270 table 52",
        ],
    )
    .single(MARKED, "wan1"),
    Set::new(
        "Tailscale with an exit node",
        "tunnel",
        "tunnel",
        &[
            "route add default dev wg0 table 52",
            "rule add pref 5210 fwmark 0x80000/0xff0000 table main",
            "rule add pref 5270 table 52",
        ],
    )
    .single(MARKED, "choice"),
    Set::new(
        "pbr",
        "choice",
        "choice",
        &[
            "route add default via 192.168.42.1 table 256",
            "route add default via 192.168.62.1 table 257",
            "rule add pref 29998 fwmark 0x10000/0xff0000 table 256",
            "rule add pref 29999 fwmark 0x80000/0xff0000 table 257",
        ],
    )
    .single(MARKED, "wan2"),
    Set::new(
        "mwan3",
        "choice",
        "choice",
        &[
            "route add default via 192.168.42.1 table 1",
            "route add default via 192.168.62.1 table 2",
            "rule add pref 1001 iif wan1 table 1",
            "rule add pref 1002 iif wan2 table 2",
            "rule add pref 2001 fwmark 0x100/0x3f00 table 1",
            "rule add pref 2002 fwmark 0x200/0x3f00 table 2",
            "rule add pref 2061 fwmark 0x3d00/0x3f00 blackhole",
            "rule add pref 2062 fwmark 0x3e00/0x3f00 unreachable",
        ],
    )
    .single("1.1.1.1 from 192.168.92.10 iif lan0 mark 0x100", "wan1"),
    Set::new(
        "tables of two uplinks",
        "choice",
        "choice",
        &[
            "route add default via 192.168.42.1 table 101",
            "route add default via 192.168.62.1 table 102",
            "rule add pref 101 from 192.168.42.2 table 101",
            "rule add pref 102 from 192.168.62.2 table 102",
        ],
    )
    .single("1.1.1.1 from 192.168.62.2", "wan2"),
    Set::new(
        "everybody over wan1",
        "choice",
        "choice",
        &["route add default via 192.168.42.1 table 100", "rule add pref 100 table 100"],
    ),
    Set::new(
        "everybody over wan1, without a preference",
        "choice",
        "choice",
        &["route add default via 192.168.42.1 table 100", "rule add table 100"],
    ),
    Set::new(
        "everybody over wan1, in the last place before main",
        "choice",
        "choice",
        &["route add default via 192.168.42.1 table 100", "rule add pref 32765 table 100"],
    ),
    Set::new(
        "everybody over wan1, behind a tunnel's rule",
        "tunnel",
        "tunnel",
        &[
            "route add default dev wg0 table 51820",
            "route add default via 192.168.42.1 table 100",
            "rule add pref 90 not fwmark 0xca6c table 51820",
            "rule add pref 100 table 100",
        ],
    )
    .single("198.18.0.80 mark 0xca6c", "choice"),
    Set::new(
        "everybody over wan1, before all others",
        "wan1",
        "wan1",
        &["route add default via 192.168.42.1 table 100", "rule add pref 1 table 100"],
    ),
    Set::new(
        "everybody into main, early",
        "choice",
        "choice",
        &["route add default via 192.168.42.1", "rule add pref 10 table main"],
    ),
    Set::new("goto", "choice", "choice", &["rule add pref 20000 goto 32766"]),
    Set::new("the rule of VRFs", "choice", "choice", &["rule add pref 1000 l3mdev"]),
    Set::new(
        "everybody into a tunnel, in the last place before main",
        "tunnel",
        "tunnel",
        &["route add default dev wg0 table 100", "rule add pref 32765 table 100"],
    ),
    Set::new(
        "a kill switch",
        "nowhere",
        "nowhere",
        &["rule add pref 32700 not fwmark 0xca6c prohibit"],
    )
    .single("198.18.0.80 mark 0xca6c", "choice"),
    Set::new(
        "a kill switch behind a tunnel",
        "tunnel",
        "tunnel",
        &[
            "route add default dev wg0 table 51820",
            "rule add pref 32600 not fwmark 0xca6c table 51820",
            "rule add pref 32700 not fwmark 0xca6c unreachable",
        ],
    ),
    Set::new(
        "a black hole behind a tunnel, in its table",
        "tunnel",
        "tunnel",
        &[
            "route add default dev wg0 table 51820",
            "route add blackhole default metric 9 table 51820",
            "rule add pref 400 not fwmark 0xca6c table 51820",
        ],
    )
    .single("198.18.0.80 mark 0xca6c", "choice"),
    Set::new(
        "a black hole in main behind a tunnel",
        "tunnel",
        "tunnel",
        &["route add default dev wg0 metric 50", "route add blackhole default metric 100"],
    ),
    Set::new(
        "a black hole in main",
        "nowhere",
        "nowhere",
        &[
            "route add blackhole default metric 100",
            "route add default via 192.168.42.1 metric 300",
        ],
    ),
    Set::new(
        "a black hole in main, of a metric above imon's",
        "nowhere",
        "nowhere",
        &["route add blackhole default metric 9999"],
    ),
    Set::new(
        "a black hole in main, of the highest metric",
        "choice",
        "choice",
        &["route add blackhole default metric 4294967295"],
    ),
    Set::new(
        "a black hole for what has no hosts, in a table over wan1",
        "choice",
        "choice",
        &[
            "route add default via 192.168.42.1 table 700",
            "route add blackhole 224.0.0.0/3 table 700",
            "rule add pref 900 table 700",
        ],
    ),
    Set::new("a tunnel in main", "tunnel", "tunnel", &["route add default dev wg0 metric 50"]),
    Set::new(
        "a tunnel in main, of a metric above imon's",
        "tunnel",
        "tunnel",
        &["route add default dev wg0 metric 300"],
    ),
    Set::new(
        "a tunnel in main, behind a network's default",
        "choice",
        "choice",
        &["route add default via 192.168.42.1 metric 50", "route add default dev wg0 metric 300"],
    ),
    Set::new(
        "halves of a default by a tunnel (OpenVPN)",
        "tunnel",
        "tunnel",
        &[
            "route add 198.18.0.80 via 192.168.42.1",
            "route add 0.0.0.0/1 dev wg0",
            "route add 128.0.0.0/1 dev wg0",
        ],
    )
    .single("198.18.0.80", "wan1"),
    Set::new(
        "halves of a default over wan1",
        "choice",
        "choice",
        &["route add 0.0.0.0/1 via 192.168.42.1", "route add 128.0.0.0/1 via 192.168.42.1"],
    ),
    Set::new(
        "quarters of a default over wan1",
        "choice",
        "choice",
        &[
            "route add 0.0.0.0/2 via 192.168.42.1",
            "route add 64.0.0.0/2 via 192.168.42.1",
            "route add 128.0.0.0/1 via 192.168.42.1",
        ],
    ),
    Set::new(
        "halves of a default by a tunnel, in a table",
        "tunnel",
        "tunnel",
        &[
            "route add 0.0.0.0/1 dev wg0 table 77",
            "route add 128.0.0.0/1 dev wg0 table 77",
            "rule add pref 500 table 77",
        ],
    ),
    Set::new(
        "a stray default of the LAN",
        "choice",
        "choice",
        &["route add default via 192.168.92.254 dev lan0"],
    ),
    Set::new(
        "defaults over both networks, one by one",
        "choice",
        "choice",
        &[
            "route add default via 192.168.42.1 metric 10",
            "route add default via 192.168.62.1 metric 20",
        ],
    ),
    Set::new(
        "a default over both networks",
        "choice",
        "choice",
        &["route add default nexthop via 192.168.42.1 dev wan1 nexthop via 192.168.62.1 dev wan2"],
    ),
    Set::new(
        "a default by a nexthop object",
        "choice",
        "choice",
        &["nexthop add id 7 via 192.168.42.1 dev wan1", "route add default nhid 7 metric 10"],
    ),
    Set::new(
        "a tunnel's default by a nexthop object",
        "tunnel",
        "tunnel",
        &[
            "nexthop add id 9 dev wg0",
            "route add default nhid 9 table 51820",
            "rule add pref 400 not fwmark 0xca6c table 51820",
        ],
    ),
    Set::new(
        "a table that gives everything back",
        "choice",
        "choice",
        &["route add throw default table 60", "rule add pref 600 table 60"],
    ),
];
