//! What is behind the links of the simulated router: gateways, the internet beyond them, and their weather.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// What becomes of an echo request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Answered after this time.
    Reply(Duration),
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
    /// The gateway answers, and forwards.
    pub has_gateway: bool,
    /// The internet behind the gateway answers.
    pub has_upstream: bool,
    /// What the gateway cannot forward it says so.
    pub rejects: bool,
    /// Of a hundred packets so many are lost.
    pub loss: u64,
    pub delay: Duration,
    /// The address that the internet sees.
    pub external: Ipv4Addr,
    /// Hosts that do not answer whatever the weather.
    pub dead: Vec<IpAddr>,
}

impl Network {
    /// One in which everything answers.
    pub fn new(index: u32, gateway: Ipv4Addr) -> Self {
        Self {
            index,
            gateway,
            has_gateway: true,
            has_upstream: true,
            rejects: false,
            loss: 0,
            delay: Duration::from_millis(20),
            external: Ipv4Addr::new(81, 2, 69, index as u8),
            dead: Vec::new(),
        }
    }

    /// What becomes of an echo request that the router sends to this gateway, or to a neighbour.
    pub fn fate(&self, gateway: Option<IpAddr>, to: IpAddr, luck: u64) -> Fate {
        let next = gateway.unwrap_or(to);
        if !self.has_gateway || next != self.gateway || luck % 100 < self.loss {
            return Fate::Silent;
        }
        let near = to == self.gateway;
        match (near || self.has_upstream, self.rejects) {
            (true, _) if self.dead.contains(&to) => Fate::Silent,
            (true, _) => Fate::Reply(self.delay),
            (false, true) => Fate::Rejected(self.gateway.into(), Duration::from_millis(2)),
            (false, false) => Fate::Silent,
        }
    }

    /// Whether the internet can be used by it, as long as the link can.
    pub fn works(&self) -> bool {
        self.has_gateway && self.has_upstream
    }
}
