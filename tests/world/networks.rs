//! What is behind the links of the simulated router: gateways, the internet beyond them, and their
//! weather.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How quickly a gateway itself answers.
const NEAR: Duration = Duration::from_millis(2);

/// What becomes of a packet, and of the one that comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is there, and what is said to it is back after this time.
    Arrives(Duration),
    /// A router says after this time that it goes no further.
    Rejected(IpAddr, Duration),
    /// Nothing comes back.
    Silent,
}

/// A network that a link leads to.
#[derive(Clone, Debug)]
pub struct Network {
    /// The link.
    pub index: u32,
    pub gateway: Ipv4Addr,
    /// The gateway for IPv6, where there is IPv6.
    pub gateway6: Option<Ipv6Addr>,
    /// The gateway answers, and forwards.
    pub has_gateway: bool,
    /// The internet behind the gateway answers,
    pub has_upstream: bool,
    /// and so does that of IPv6.
    pub has_upstream6: bool,
    /// What the gateway cannot forward it says so.
    pub rejects: bool,
    /// Of a hundred packets so many are lost.
    pub loss: u64,
    pub delay: Duration,
    /// The address that the internet sees.
    pub external: Ipv4Addr,
    /// Hosts that do not answer pings whatever the weather.
    pub dead: Vec<IpAddr>,
    /// The gateway answers every question of DNS in the servers' place, with this address.
    pub hijack: Option<Ipv4Addr>,
    /// Pages that are not secured come by a proxy, which they take for the asker.
    pub proxy: Option<Ipv4Addr>,
    /// Whoever has not logged in sees a page to do so, wherever he goes.
    pub portal: bool,
}

impl Network {
    /// One in which everything answers.
    pub fn new(index: u32, gateway: Ipv4Addr) -> Self {
        Self {
            index,
            gateway,
            gateway6: None,
            has_gateway: true,
            has_upstream: true,
            has_upstream6: true,
            rejects: false,
            loss: 0,
            delay: Duration::from_millis(20),
            external: Ipv4Addr::new(81, 2, 69, index as u8),
            dead: Vec::new(),
            hijack: None,
            proxy: None,
            portal: false,
        }
    }

    /// What becomes of a packet that the router sends to this gateway, or to a neighbour.
    /// `stopped`: the gateway answers it itself, whomever it is for.
    pub fn fate(&self, gateway: Option<IpAddr>, to: IpAddr, stopped: bool, luck: u64) -> Fate {
        let next = gateway.unwrap_or(to);
        let its = |address: IpAddr| {
            address == self.gateway || self.gateway6.is_some_and(|v6| address == v6)
        };
        if !self.has_gateway || !its(next) || luck % 100 < self.loss {
            return Fate::Silent;
        }
        let upstream =
            if to.is_ipv6() { self.has_upstream6 } else { self.has_upstream && !self.portal };
        match (its(to) || upstream, self.rejects) {
            _ if stopped => Fate::Arrives(NEAR),
            (true, _) => Fate::Arrives(self.delay),
            (false, true) => Fate::Rejected(self.gateway.into(), NEAR),
            (false, false) => Fate::Silent,
        }
    }

    /// Whether the internet can be used by it, as long as the link can.
    pub fn works(&self) -> bool {
        self.has_gateway && self.has_upstream && !self.portal
    }

    /// The address that the gateway gives to every name.
    pub fn made_up(&self) -> Option<Ipv4Addr> {
        self.hijack.or(self.portal.then_some(self.gateway))
    }
}
