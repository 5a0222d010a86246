//! Messages of the kernel about its network.

use std::net::{IpAddr, Ipv6Addr};

use super::{Address, Link, Nexthop, Route, Rule};

/// An IPv6 default route, as far as a warning needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Default6 {
    /// The table it is in.
    pub table: u32,
    /// The lower one wins.
    pub metric: u32,
    /// Who made it.
    pub protocol: u8,
    /// Its ways out: the interface's number, and the gateway. Several where routers on more than
    /// one network announce themselves.
    pub hops: Vec<(u32, Option<Ipv6Addr>)>,
}

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The number of the request that it answers; 0 for news.
    pub sequence: u32,
    /// The list it belongs to changed while it was written, and may lack something.
    pub interrupted: bool,
    /// The route took the place of another of the same table, destination, metric and type of
    /// service.
    pub replaces: bool,
    /// What it says.
    pub news: News,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// An interface is there, or has changed.
    Link(Link),
    /// The interface of this number is gone.
    NoLink(u32),
    /// There is an address.
    Address(Address),
    /// It is gone.
    NoAddress(Address),
    /// There is a route of IPv4.
    Route(Route),
    /// It is gone.
    NoRoute(Route),
    /// There is a default route of IPv6.
    Default6(Default6),
    /// It is gone.
    NoDefault6(Default6),
    /// Somebody on a link.
    Neighbour(Neighbour),
    /// There is an IPv4 rule.
    Rule(Rule),
    /// It is gone.
    NoRule(Rule),
    /// There is a next-hop object, or it has changed.
    Nexthop(Nexthop),
    /// The next-hop object of this number is gone.
    NoNexthop(u32),
    /// The end of a list, or of a request that brings no list. `errno`, 0 for success, and the
    /// kernel's own words.
    End(i32, Option<String>),
    /// Anything else.
    Other,
}

/// Somebody on a link, and whether that one answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// The interface's number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// It has answered a moment ago (or need not: there is no neighbour discovery on the link).
    pub answers: bool,
    /// It is being asked, or has been, in vain.
    pub silent: bool,
}
