//! The network as a script for the keeper's shell: namespaces, links, addresses, routes.
//!
//! ```text
//!   lan eth0 --- lan0 router wan1 --- cust isp1 core --- i1 inet
//!                     router wan2 --- cust isp2 core --- i2 inet
//! ```

use std::fmt::Write as _;

use crate::fault::Wan;

/// The namespaces of every lab.
pub const NAMESPACES: [&str; 5] = ["lan", "router", "isp1", "isp2", "inet"];

/// Addresses on inet's loopback interface: the internet's well-known servers, and four of our own
/// for HTTP.
pub const INTERNET: [&str; 9] = [
    "1.1.1.1",
    "8.8.8.8",
    "9.9.9.9",
    "198.18.0.80",
    "198.18.0.81",
    "198.18.0.82",
    "198.18.0.83",
    // The name servers of OpenDNS and Google that tell who asks.
    "208.67.222.222",
    "216.239.32.10",
];

/// The same in IPv6.
pub const INTERNET_V6: [&str; 6] = [
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2001:db8:80::80",
    "2001:db8:80::81",
    "2620:119:35::35",
    "2001:4860:4802:32::a",
];

/// The network behind the router.
pub(crate) const LAN: &str = "192.168.92.0/24";

/// The same in IPv6.
pub(crate) const LAN_V6: &str = "2001:db8:92::/64";

/// How the router translates addresses of what it sends to its providers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Nat {
    /// Not at all: the internet knows the way to the LAN through the first provider.
    #[default]
    None,
    /// `masquerade` for everything that leaves, the router's own packets included: the usual rule.
    All,
    /// `masquerade` for what comes from the LAN only.
    Lan,
    /// `snat to` the address of each link, which a connection keeps for its life.
    Fixed,
}

/// What a builder may change.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rp_filter: u8,
    pub(crate) nat: Nat,
    pub(crate) bcp38: bool,
    pub(crate) default_route: Option<Wan>,
    pub(crate) wires: Vec<Wan>,
    pub(crate) late: Vec<Wan>,
    pub(crate) public: bool,
}

/// The shell script that makes the network. It relies on the functions of setup.sh. IPv6 addresses
/// are `nodad`: the kernel would make them usable only a moment later, too late for a server that
/// is started at once.
pub(crate) fn script(plan: &Plan) -> String {
    let mut s = format!(
        "rp_filter={}\nnameserver router 8.8.8.8\nnameserver lan 8.8.8.8\n",
        plan.rp_filter
    );
    s.push_str("ip -batch - <<'E'\n");
    for ns in NAMESPACES {
        line(&mut s, format_args!("netns add {ns}"));
    }
    if !plan.wires.is_empty() {
        line(&mut s, format_args!("netns add wire"));
    }
    let mut links = Links { next: 11, late: false };
    links.add(&mut s, "router", "lan0", "lan", "eth0");
    for wan in Wan::BOTH {
        let (n, isp) = (wan.number(), wan.isp());
        if plan.wires.contains(&wan) {
            links.add(&mut s, "router", wan.device(), "wire", &format!("w{n}r"));
            links.add(&mut s, isp, "cust", "wire", &format!("w{n}i"));
        } else {
            links.late = plan.late.contains(&wan);
            links.add(&mut s, "router", wan.device(), isp, "cust");
            links.late = false;
        }
        links.add(&mut s, isp, "core", "inet", &format!("i{n}"));
    }
    s.push_str("E\n");
    namespace(&mut s, "lan", LAN_HOST);
    namespace(&mut s, "router", &router(plan));
    for wan in Wan::BOTH {
        namespace(&mut s, wan.isp(), &isp(wan, plan.wires.contains(&wan)));
    }
    namespace(&mut s, "inet", &inet());
    if !plan.wires.is_empty() {
        wire_namespace(&mut s, &plan.wires);
    }
    s.push_str("configured\n");
    if plan.bcp38 {
        // A provider passes on only what comes from where it would send the answer to (RFC 2827).
        for wan in Wan::BOTH {
            let strict = "echo 1 >/proc/sys/net/ipv4/conf/cust/rp_filter";
            line(&mut s, format_args!("ip netns exec {} sh -c '{strict}'", wan.isp()));
        }
    }
    nat(&mut s, plan.nat);
    if plan.public {
        for wan in Wan::BOTH {
            line(
                &mut s,
                format_args!(
                    "ip netns exec {} nft -f - <<'E'\n{}E",
                    wan.isp(),
                    provider_nat(&wan.public().to_string())
                ),
            );
        }
    }
    s
}

/// The rules by which a provider translates what its customer sends to this address.
pub(crate) fn provider_nat(address: &str) -> String {
    format!(
        "table ip nat
delete table ip nat
table ip nat {{
	chain out {{
		type nat hook postrouting priority 100
		oifname \"core\" snat to {address}
	}}
}}
"
    )
}

/// Hands out interface indexes that differ at the two ends of a link: equal ones (which is what the
/// kernel picks in fresh namespaces) delay carrier events by 0.7 to 0.9 s.
struct Links {
    next: u32,
    /// The kernel is to be late with its news, as it is for real interfaces: the ends have the same
    /// index.
    late: bool,
}

impl Links {
    fn add(&mut self, s: &mut String, ns: &str, device: &str, peer_ns: &str, peer: &str) {
        let (index, peer_index) = (self.next, if self.late { self.next } else { self.next + 100 });
        self.next += 1;
        line(
            s,
            format_args!(
                "link add {device} index {index} netns {ns} type veth peer name {peer} index {peer_index} netns {peer_ns}"
            ),
        );
    }
}

const LAN_HOST: &str = "link set lo up
link set eth0 up
addr add 192.168.92.10/24 dev eth0
addr add 2001:db8:92::10/64 dev eth0 nodad
route add default via 192.168.92.1
route add default via 2001:db8:92::1
";

fn router(plan: &Plan) -> String {
    let mut s = String::from(
        "link set lo up
link set lan0 up
addr add 192.168.92.1/24 dev lan0
addr add 2001:db8:92::1/64 dev lan0 nodad
",
    );
    for wan in Wan::BOTH {
        let device = wan.device();
        // A wire carries frames as they are on a real cable: segments of at most the MTU.
        let segments = if plan.wires.contains(&wan) { " gso_max_segs 1" } else { "" };
        line(&mut s, format_args!("link set {device}{segments} up"));
        line(&mut s, format_args!("addr add {}/24 dev {device}", wan.address()));
        line(&mut s, format_args!("addr add {}/64 dev {device} nodad", wan.address_v6()));
    }
    if let Some(wan) = plan.default_route {
        line(&mut s, format_args!("route add default via {}", wan.gateway()));
        line(&mut s, format_args!("route add default via {}", wan.gateway_v6()));
    }
    s
}

fn isp(wan: Wan, wired: bool) -> String {
    let (segments, gateway, address) =
        (if wired { " gso_max_segs 1" } else { "" }, wan.gateway(), wan.address());
    let (gateway6, address6) = (wan.gateway_v6(), wan.address_v6());
    let (public, upstream) = (wan.public(), wan.upstream());
    let (public6, upstream6) = (wan.public_v6(), wan.upstream_v6());
    format!(
        "link set lo up
link set cust{segments} up
link set core up
addr add {gateway}/24 dev cust
addr add {gateway6}/64 dev cust nodad
addr add {public}/24 dev core
addr add {public6}/64 dev core nodad
route add default via {upstream}
route add default via {upstream6}
route add {LAN} via {address}
route add {LAN_V6} via {address6}
"
    )
}

fn inet() -> String {
    let mut s = String::from("link set lo up\n");
    for wan in Wan::BOTH {
        let n = wan.number();
        line(&mut s, format_args!("link set i{n} up"));
        line(&mut s, format_args!("addr add {}/24 dev i{n}", wan.upstream()));
        line(&mut s, format_args!("addr add {}/64 dev i{n} nodad", wan.upstream_v6()));
        line(&mut s, format_args!("route add {} via {}", wan.network(), wan.public()));
        line(&mut s, format_args!("route add {} via {}", wan.network_v6(), wan.public_v6()));
    }
    // Nobody translates addresses here, so inet knows the way back to the LAN: through the first
    // provider.
    line(&mut s, format_args!("route add {LAN} via {}", Wan::One.public()));
    line(&mut s, format_args!("route add {LAN_V6} via {}", Wan::One.public_v6()));
    for a in INTERNET {
        line(&mut s, format_args!("addr add {a}/32 dev lo"));
    }
    for a in INTERNET_V6 {
        line(&mut s, format_args!("addr add {a}/128 dev lo nodad"));
    }
    s
}

/// The rules of the router's address translation.
fn nat(s: &mut String, nat: Nat) {
    let both = "oifname { \"wan1\", \"wan2\" }";
    let rules = match nat {
        Nat::None => return,
        Nat::All => vec![format!("{both} masquerade")],
        Nat::Lan => vec![format!("iifname \"lan0\" {both} masquerade")],
        Nat::Fixed => {
            let rule = |wan: Wan| format!("oifname \"{}\" snat to {}", wan.device(), wan.address());
            Wan::BOTH.map(rule).to_vec()
        }
    };
    s.push_str("ip netns exec router nft -f - <<'E'\n");
    let rules = rules.join("\n");
    line(
        s,
        format_args!(
            "table ip nat {{\nchain post {{\ntype nat hook postrouting priority 100\n{rules}\n}}\n}}"
        ),
    );
    s.push_str("E\n");
}

/// The wire's ends have no addresses and say nothing of their own.
fn wire_namespace(s: &mut String, wires: &[Wan]) {
    s.push_str("ip netns exec wire sh -c 'for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >$f; done'\n");
    s.push_str("ip -n wire -batch - <<'E'\n");
    for n in wires.iter().map(|w| w.number()) {
        line(s, format_args!("link set w{n}r up"));
        line(s, format_args!("link set w{n}i up"));
    }
    s.push_str("E\n");
}

fn namespace(s: &mut String, ns: &str, batch: &str) {
    let _ = write!(s, "configure {ns} 3<<'E'\n{batch}E\n");
}

fn line(s: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(s, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_link_never_share_an_index() {
        let plan = Plan {
            rp_filter: 0,
            nat: Nat::All,
            bcp38: true,
            default_route: Some(Wan::One),
            wires: vec![Wan::One],
            late: Vec::new(),
            public: false,
        };
        let mut seen = std::collections::BTreeSet::new();
        for l in script(&plan).lines().filter(|l| l.starts_with("link add")) {
            let words: Vec<&str> = l.split(' ').collect();
            let indexes = words.windows(2).filter(|w| w[0] == "index").map(|w| w[1].to_owned());
            for i in indexes {
                assert!(seen.insert(i), "{l}");
            }
        }
        assert_eq!(seen.len(), 12);
    }
}
