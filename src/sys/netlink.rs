//! The kernel's network by netlink: a socket for requests, which answers at once, and one for news.

use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use libc::c_int;
use socket2::{Domain, Protocol, Socket, Type};

use super::cerr;
use crate::base::error;
use crate::engine::world::{ChangeRefused, Delivery};
use crate::kernel::news::{Message, Neighbour, News};
use crate::kernel::{BROAD, Change, Link, MAIN, Picture, Route, Rule};
use crate::wire::rtnetlink::{self, Query};

/// The kernel answers within the call; this is only against waiting for ever.
const PATIENCE: Duration = Duration::from_secs(1);
/// A list that changes while it is written is asked for again, this often.
const TRIES: usize = 5;
/// The kernel writes lists in pieces of at most 32 KiB,
const PIECE: usize = 32 * 1024;
/// a single message of one interface or route in much less than this,
const SINGLE: usize = 16 * 1024;
/// and an acknowledgement, with its words and a copy of the request, in less than this.
const ACKNOWLEDGEMENT: usize = 4096;
/// Datagrams of news taken in one turn of the loop.
const MOST_NEWS: usize = 64;
/// Room for news that arrives in a burst, in bytes; each takes about a kilobyte.
const NEWS_ROOM: c_int = 256 * 1024;

/// Who makes the routes to what is on a link.
const RTPROT_KERNEL: u8 = 2;
/// News of a change bears the number of its request, and everybody hears it. wireguard-go takes
/// news below 65,536 for answers to questions of its own, and would not look for a new way after a
/// switch.
const FIRST_SEQUENCE: u32 = 1 << 20;

const NETLINK_ADD_MEMBERSHIP: c_int = 1;
const NETLINK_EXT_ACK: c_int = 11;
const NETLINK_GET_STRICT_CHK: c_int = 12;

/// The multicast groups of rtnetlink(7): links, IPv4 addresses, routes and rules, IPv6 routes.
const GROUPS: c_int = libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV4_RULE
    | libc::RTMGRP_IPV6_ROUTE;
/// The group of next-hop objects, which has no bit.
const NEXTHOPS: c_int = 32;

/// Everything, in an order in which each finds there what it names.
const ALL: [Query; 6] =
    [Query::Links, Query::Addresses, Query::Nexthops, Query::Routes, Query::Rules, Query::Routes6];

/// The socket for requests.
pub struct Requests {
    socket: Socket,
    sequence: u32,
    request: Vec<u8>,
}

impl Requests {
    /// Opens it.
    ///
    /// # Errors
    /// As socket(2).
    pub fn open() -> io::Result<Self> {
        let socket = open(libc::NETLINK_ROUTE, 0)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        // Both since Linux 4.12 and 4.20: without them the words are fewer and the lists longer.
        let _ = super::set_option(&socket, libc::SOL_NETLINK, NETLINK_EXT_ACK);
        let _ = super::set_option(&socket, libc::SOL_NETLINK, NETLINK_GET_STRICT_CHK);
        Ok(Self { socket, sequence: FIRST_SEQUENCE, request: Vec::new() })
    }

    /// Tries whether this process may change anything, with a change that is none.
    ///
    /// # Errors
    /// The kernel's, `EPERM` without the capability `CAP_NET_ADMIN`; one that is of the moment or
    /// of this kernel is none.
    pub fn try_out(&mut self, nothing: &Change) -> Result<(), ChangeRefused> {
        match self.make(nothing) {
            Err(e)
                if e.errno == libc::EPERM
                    || error::is_shortage(&io::Error::from_raw_os_error(e.errno)) =>
            {
                Err(e)
            }
            _ => Ok(()),
        }
    }

    /// Makes a change. What is already so is no error: a rule that is there, a route or rule that
    /// is not there any more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn make(&mut self, change: &Change) -> Result<(), ChangeRefused> {
        self.sequence = self.sequence.wrapping_add(1);
        rtnetlink::change(change, self.sequence, &mut self.request);
        let (errno, words) = self.exchange(false, ACKNOWLEDGEMENT, &mut |_| {})?;
        match (change, errno) {
            (_, 0) | (Change::AddRule(_) | Change::AppendRule(_), libc::EEXIST) => Ok(()),
            (Change::RemoveRoute(_) | Change::RemoveRule(_), libc::ESRCH | libc::ENOENT) => Ok(()),
            (_, errno) => Err(ChangeRefused { errno, words }),
        }
    }

    /// Looks at everything, in place of what `picture` has.
    ///
    /// # Errors
    /// The kernel's. A kernel without policy routing has no rules, and one without IPv6 no routes
    /// of it, which is no error.
    pub fn look(&mut self, picture: &mut Picture) -> Result<(), ChangeRefused> {
        for _ in 0..TRIES {
            *picture = Picture::default();
            let mut interrupted = false;
            for query in ALL {
                let errno = self.ask(query, &mut |message| {
                    interrupted |= message.interrupted;
                    picture.note(message);
                });
                // qemu-user does not even pass on what it does not know.
                let errno = errno
                    .or_else(|e| if e.errno == libc::EOPNOTSUPP { Ok(e.errno) } else { Err(e) })?;
                match (query, errno) {
                    (_, 0)
                    | (Query::Nexthops, _)
                    | (Query::Routes6, libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => {}
                    (Query::Rules, libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => {
                        picture.no_policy_routing = true
                    }
                    (_, errno) => return Err(ChangeRefused { errno, words: None }),
                }
            }
            if !interrupted {
                break;
            }
        }
        Ok(())
    }

    /// All rules, in the order in which they are tried.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rules(&mut self) -> Result<Vec<Rule>, ChangeRefused> {
        let mut rules = Vec::new();
        let errno = self.ask(Query::Rules, &mut |m| {
            if let News::Rule(rule) = m.news {
                rules.push(rule);
            }
        })?;
        if errno == 0 { Ok(rules) } else { Err(ChangeRefused { errno, words: None }) }
    }

    /// The routes of others in the table main that lead to some hosts or networks by a gateway of
    /// this interface, or by its other end: the first `most`, and how many there are.
    ///
    /// # Errors
    /// The kernel's.
    pub fn routes_over(
        &mut self,
        picture: &Picture,
        link: &Link,
        most: usize,
    ) -> Result<(Vec<Route>, usize), ChangeRefused> {
        let (mut found, mut count) = (Vec::new(), 0);
        let errno = self.ask(Query::RoutesOver(link.index), &mut |m| {
            let News::Route(mut route) = m.news else { return };
            picture.resolve(&mut route);
            // The kernel's own leads to the other end itself.
            let on = link.point_to_point && route.protocol != RTPROT_KERNEL;
            let by = |h: &crate::kernel::Hop| h.index == link.index && (on || h.gateway.is_some());
            if route.table == MAIN
                && route.prefix > BROAD
                && !route.is_ours()
                && route.hops.iter().all(by)
            {
                count += 1;
                if found.len() < most {
                    found.push(route);
                }
            }
        })?;
        if errno == 0 { Ok((found, count)) } else { Err(ChangeRefused { errno, words: None }) }
    }

    /// An interface as it is now. `None`: there is none of this number.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link(&mut self, index: u32) -> Result<Option<Link>, ChangeRefused> {
        let mut found = None;
        match self.ask(Query::Link(index), &mut |m| {
            if let News::Link(link) = m.news {
                found = Some(link)
            }
        })? {
            0 | libc::ENODEV => Ok(found),
            errno => Err(ChangeRefused { errno, words: None }),
        }
    }

    /// Forgets a neighbour's link address, if one is known or being asked for: it is asked for
    /// again at once.
    ///
    /// # Errors
    /// The kernel's. That nothing was known is none.
    pub fn forget_neighbour(
        &mut self,
        index: u32,
        neighbour: Ipv4Addr,
    ) -> Result<(), ChangeRefused> {
        self.sequence = self.sequence.wrapping_add(1);
        rtnetlink::forget(index, neighbour, self.sequence, &mut self.request);
        match self.exchange(false, ACKNOWLEDGEMENT, &mut |_| {})? {
            (0 | libc::ENOENT, _) => Ok(()),
            (errno, words) => Err(ChangeRefused { errno, words }),
        }
    }

    /// Finds out whether a known neighbour still answers, see [`rtnetlink::verify`].
    ///
    /// # Errors
    /// The kernel's, `EPERM` without the capability `CAP_NET_ADMIN`.
    pub fn verify_neighbour(
        &mut self,
        index: u32,
        neighbour: Ipv4Addr,
    ) -> Result<(), ChangeRefused> {
        self.sequence = self.sequence.wrapping_add(1);
        rtnetlink::verify(index, neighbour, self.sequence, &mut self.request);
        match self.exchange(false, ACKNOWLEDGEMENT, &mut |_| {})? {
            (0 | libc::ENOENT, _) => Ok(()),
            (errno, words) => Err(ChangeRefused { errno, words }),
        }
    }

    /// All neighbours of all interfaces.
    ///
    /// # Errors
    /// The kernel's.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>, ChangeRefused> {
        let mut found = Vec::new();
        self.ask(Query::Neighbours, &mut |m| {
            if let News::Neighbour(neighbour) = m.news {
                found.push(neighbour);
            }
        })?;
        Ok(found)
    }

    /// The route that packets to this address take now, with the table that it is in. Sends
    /// nothing.
    ///
    /// # Errors
    /// The kernel's: no route.
    pub fn way(&mut self, to: Ipv4Addr) -> Result<Route, ChangeRefused> {
        let mut found = None;
        let errno = self.ask(Query::Way(to), &mut |m| {
            if let News::Route(route) = m.news {
                found = Some(route)
            }
        })?;
        found.ok_or(ChangeRefused {
            errno: if errno == 0 { libc::ENETUNREACH } else { errno },
            words: None,
        })
    }

    fn ask(&mut self, query: Query, heard: &mut dyn FnMut(Message)) -> Result<i32, ChangeRefused> {
        self.sequence = self.sequence.wrapping_add(1);
        rtnetlink::query(query, self.sequence, &mut self.request);
        // An answer that is no list has no end.
        let one = matches!(query, Query::Link(_) | Query::Way(_));
        Ok(self.exchange(one, if one { SINGLE } else { PIECE }, heard)?.0)
    }

    /// Sends the request and takes what is answered, up to its end or only `one` message: `errno`
    /// and the kernel's words. A piece of the answer has at most `size` bytes.
    fn exchange(
        &mut self,
        one: bool,
        size: usize,
        heard: &mut dyn FnMut(Message),
    ) -> Result<(i32, Option<String>), ChangeRefused> {
        self.socket.send(&self.request)?;
        let mut buffer = vec![0; size];
        loop {
            let n = self.receive(&mut buffer)?;
            for message in rtnetlink::messages(buffer.get(..n).unwrap_or_default()) {
                match message.news {
                    // Of an earlier request that was given up.
                    _ if message.sequence != self.sequence => continue,
                    News::End(errno, words) => return Ok((errno, words)),
                    _ => heard(message),
                }
                if one {
                    return Ok((0, None));
                }
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match io::Read::read(&mut self.socket, buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// The socket for news.
pub struct Events {
    socket: Socket,
    buffer: Box<[u8; 16 * 1024]>,
}

impl Events {
    /// Opens it. From then on nothing is missed.
    ///
    /// # Errors
    /// As socket(2), bind(2).
    pub fn open() -> io::Result<Self> {
        let events = Self::of(GROUPS)?;
        // Since Linux 5.3; without it there are no such objects.
        let _ = super::set_option_to(
            &events.socket,
            libc::SOL_NETLINK,
            NETLINK_ADD_MEMBERSHIP,
            NEXTHOPS,
        );
        Ok(events)
    }

    /// The same for news of addresses and routes only, of both families.
    ///
    /// # Errors
    /// As socket(2), bind(2).
    pub fn of_addresses() -> io::Result<Self> {
        Self::of(
            libc::RTMGRP_IPV4_IFADDR
                | libc::RTMGRP_IPV6_IFADDR
                | libc::RTMGRP_IPV4_ROUTE
                | libc::RTMGRP_IPV6_ROUTE,
        )
    }

    fn of(groups: c_int) -> io::Result<Self> {
        let socket = open(libc::NETLINK_ROUTE, groups.cast_unsigned())?;
        socket.set_nonblocking(true)?;
        // Beyond what the system allows everybody, where we may.
        if super::set_option_to(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, NEWS_ROOM).is_err()
        {
            let _ = socket.set_recv_buffer_size(NEWS_ROOM as usize);
        }
        Ok(Self { socket, buffer: Box::new([0; 16 * 1024]) })
    }

    /// The descriptor to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Takes what has arrived, in a flood only a part of it.
    pub fn receive(&mut self, mut heard: impl FnMut(Message)) -> Delivery {
        for _ in 0..MOST_NEWS {
            match receive(&self.socket, self.buffer.as_mut_slice()) {
                Ok((_, sender)) if sender != 0 => {}
                Ok((n, _)) => rtnetlink::messages(self.buffer.get(..n).unwrap_or_default())
                    .for_each(&mut heard),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => return Delivery::Overrun,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        Delivery::Complete
    }
}

/// Receives a message, and who sent it; 0 is the kernel. Others may send to groups, where they have
/// `CAP_NET_ADMIN`, and those come on a connected socket as well.
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, u32)> {
    // SAFETY: integers only, for which zero is valid.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: buffer and address are writable for the lengths that are given, and live through the
    // call.
    let n = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut address).cast(),
            &raw mut length,
        )
    };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    Ok((n, address.nl_pid))
}

/// A socket to this part of the kernel, which gets the news of these groups.
pub(super) fn open(protocol: c_int, groups: u32) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(protocol)))?;
    // SAFETY: integers only, for which zero is valid.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    let length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the address is a sockaddr_nl that lives through the call, and its length is given.
    cerr(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    // Only the kernel is listened to: whoever else may send to a netlink socket is not heard on a
    // connected one. SAFETY: as above; port 0 and no groups mean the kernel.
    unsafe {
        address.nl_groups = 0;
        cerr(libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length))?;
    }
    Ok(socket)
}
