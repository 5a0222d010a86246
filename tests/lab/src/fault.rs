//! What can go wrong on the way, without any packet filter.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use crate::Lab;
use crate::topology::{LAN, LAN_V6, provider_nat};

/// One of the router's two links to the internet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wan {
    /// `wan1`, 192.168.42.2, through isp1 (203.0.113.1).
    One,
    /// `wan2`, 192.168.62.2, through isp2 (198.51.100.1).
    Two,
}

impl Wan {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::One, Self::Two];

    /// 1 or 2.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// The router's interface: `wan1`, `wan2`.
    #[must_use]
    pub const fn device(self) -> &'static str {
        match self {
            Self::One => "wan1",
            Self::Two => "wan2",
        }
    }

    /// The provider's namespace: `isp1`, `isp2`.
    #[must_use]
    pub const fn isp(self) -> &'static str {
        match self {
            Self::One => "isp1",
            Self::Two => "isp2",
        }
    }

    const fn subnet(self) -> u8 {
        match self {
            Self::One => 42,
            Self::Two => 62,
        }
    }

    /// The router's address on this link.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, self.subnet(), 2)
    }

    /// The provider's address on this link: the router's gateway.
    #[must_use]
    pub const fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, self.subnet(), 1)
    }

    /// The router's IPv6 address on this link.
    #[must_use]
    pub const fn address_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0x42 + 0x20 * (self.number() as u16 - 1), 0, 0, 0, 0, 2)
    }

    /// The IPv6 gateway on this link.
    #[must_use]
    pub const fn gateway_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0x42 + 0x20 * (self.number() as u16 - 1), 0, 0, 0, 0, 1)
    }

    /// The provider's address towards the internet.
    #[must_use]
    pub const fn public(self) -> Ipv4Addr {
        match self {
            Self::One => Ipv4Addr::new(203, 0, 113, 1),
            Self::Two => Ipv4Addr::new(198, 51, 100, 1),
        }
    }

    pub(crate) const fn upstream(self) -> Ipv4Addr {
        match self {
            Self::One => Ipv4Addr::new(203, 0, 113, 254),
            Self::Two => Ipv4Addr::new(198, 51, 100, 254),
        }
    }

    pub(crate) const fn public_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xf0 + self.number() as u16, 0, 0, 0, 0, 1)
    }

    pub(crate) const fn upstream_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xf0 + self.number() as u16, 0, 0, 0, 0, 0xfe)
    }

    pub(crate) fn network(self) -> String {
        format!("192.168.{}.0/24", self.subnet())
    }

    pub(crate) fn network_v6(self) -> String {
        format!("2001:db8:{:x}::/64", 0x42 + 0x20 * (u16::from(self.number()) - 1))
    }
}

/// A fault that [`Lab::fault`] makes and [`Lab::heal`] undoes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The link is set down on the router: the kernel drops its routes.
    LinkDown(Wan),
    /// The cable is pulled or the modem is off: no carrier, addresses and IPv4 routes stay.
    Carrier(Wan),
    /// The gateway forwards but does not answer pings.
    GatewaySilent(Wan),
    /// The gateway is dead, for ARP as well; the carrier is still up. Needs nft.
    GatewayDead(Wan),
    /// The gateway answers; nothing behind it does.
    UpstreamDead(Wan),
    /// The gateway answers everything beyond it with "network unreachable".
    UpstreamRejecting(Wan),
}

impl Lab {
    /// Makes a fault. Returns the moment at which it was certainly there (at most some milliseconds
    /// after it began).
    pub fn fault(&self, fault: Fault) -> Instant {
        self.apply(fault, true)
    }

    /// Undoes a fault. After [`Fault::LinkDown`] the default routes that the kernel dropped are
    /// still missing, as in real life until DHCP runs; see [`Lab::add_default_route`]. Returns the
    /// moment at which it was certainly gone.
    pub fn heal(&self, fault: Fault) -> Instant {
        self.apply(fault, false)
    }

    /// The router gets another address on this link (192.168.x.`host`/24), as with a new DHCP
    /// lease. The kernel drops the routes that used the old one.
    pub fn renumber(&self, wan: Wan, host: u8) -> Instant {
        let (device, [a, b, c, _]) = (wan.device(), wan.address().octets());
        self.change(
            &format!("{device} is renumbered to .{host}"),
            "router",
            &format!(
                "ip -4 addr flush dev {device} && ip addr add {a}.{b}.{c}.{host}/24 dev {device}"
            ),
        )
    }

    /// A provider translates to another public address from now on. For a lab with
    /// [`crate::Builder::public`].
    ///
    /// # Panics
    /// With the timeline, when that cannot be done.
    #[track_caller]
    pub fn public_address(&self, wan: Wan, address: &str) -> Instant {
        let (isp, via) = (wan.isp(), wan.public());
        self.sh(
            isp,
            &format!(
                "ip addr add {address}/32 dev core 2>/dev/null; nft -f - <<'E'\n{}E",
                provider_nat(address)
            ),
        );
        self.sh(
            "inet",
            &format!("[ {address} = {via} ] || ip route replace {address}/32 via {via}"),
        );
        Instant::now()
    }

    /// Deletes the router's IPv4 default route (all of them, if there are several).
    pub fn delete_default_routes(&self) -> Instant {
        self.change(
            "default route deleted",
            "router",
            "while ip -4 route del default 2>/dev/null; do :; done",
        )
    }

    /// Adds an IPv4 default route through this link, with the metric given (0 is the kernel's own
    /// choice).
    pub fn add_default_route(&self, wan: Wan, metric: u32) -> Instant {
        let (gateway, device) = (wan.gateway(), wan.device());
        let command = format!("ip route add default via {gateway} dev {device} metric {metric}");
        self.change(&format!("default route through {device}, metric {metric}"), "router", &command)
    }

    fn apply(&self, fault: Fault, broken: bool) -> Instant {
        let state = if broken { "down" } else { "up" };
        let (ns, command) = match fault {
            Fault::LinkDown(wan) if broken => ("router", format!("ip link set {} down", wan.device())),
            Fault::Carrier(wan) if broken => (wan.isp(), "ip link set cust down".into()),
            // An interface that was down has lost its IPv6 addresses, and the provider's its routes
            // to the LAN.
            Fault::LinkDown(wan) => {
                let (device, v6) = (wan.device(), wan.address_v6());
                ("router", format!("ip link set {device} up && ip addr replace {v6}/64 dev {device} nodad"))
            }
            Fault::Carrier(wan) => {
                let (gateway, v4, v6) = (wan.gateway_v6(), wan.address(), wan.address_v6());
                let routes = format!("ip route replace {LAN} via {v4} && ip -6 route replace {LAN_V6} via {v6}");
                (wan.isp(), format!("ip link set cust up && ip addr replace {gateway}/64 dev cust nodad && {routes}"))
            }
            Fault::GatewaySilent(wan) => {
                let on = u8::from(broken);
                let v4 = format!("echo {on} >/proc/sys/net/ipv4/icmp_echo_ignore_all");
                (wan.isp(), format!("{v4}; echo {on} >/proc/sys/net/ipv6/icmp/echo_ignore_all"))
            }
            Fault::GatewayDead(wan) if broken => {
                let chain = "type filter hook ingress device cust priority 0; policy drop;";
                (wan.isp(), format!("nft 'table netdev dead {{ chain c {{ {chain} }}; }}'"))
            }
            Fault::GatewayDead(wan) => (wan.isp(), "nft delete table netdev dead".into()),
            Fault::UpstreamDead(wan) => {
                let on = u8::from(!broken);
                let v4 = format!("echo {on} >/proc/sys/net/ipv4/ip_forward");
                (wan.isp(), format!("{v4}; echo {on} >/proc/sys/net/ipv6/conf/all/forwarding"))
            }
            Fault::UpstreamRejecting(wan) if broken => (
                wan.isp(),
                "ip route replace unreachable default && ip -6 route add unreachable default metric 1".into(),
            ),
            Fault::UpstreamRejecting(wan) => {
                let v6 = "ip -6 route del unreachable default metric 1";
                (wan.isp(), format!("ip route replace default via {} && {v6}", wan.upstream()))
            }
        };
        // The two halves of a wire are two cables: losing one must be seen at the other end.
        if let (Fault::Carrier(wan), true) = (fault, self.wired(fault.wan())) {
            self.sh("wire", &format!("ip link set w{}r {state}", wan.number()));
        }
        if let (Fault::LinkDown(wan), true) = (fault, self.wired(fault.wan())) {
            self.sh("wire", &format!("ip link set w{}i {state}", wan.number()));
        }
        self.change(&format!("{fault:?} {}", if broken { "begins" } else { "ends" }), ns, &command)
    }

    fn change(&self, what: &str, ns: &str, command: &str) -> Instant {
        self.sh(ns, command);
        self.note(what);
        Instant::now()
    }
}

impl Fault {
    /// The link it concerns.
    #[must_use]
    pub const fn wan(self) -> Wan {
        match self {
            Self::LinkDown(wan)
            | Self::Carrier(wan)
            | Self::GatewaySilent(wan)
            | Self::GatewayDead(wan)
            | Self::UpstreamDead(wan)
            | Self::UpstreamRejecting(wan) => wan,
        }
    }
}
