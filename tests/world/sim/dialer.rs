//! Questions to name servers and connections: sockets of one purpose each, over the simulated
//! networks.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Duration;

use imon::engine::world::{Dialer, World};
use imon::kernel::path::Bound;
use imon::kernel::path::Via;
use imon::kernel::{TCP, UDP};

use super::{Arrival, SimWorld, errno};
use crate::internet::{DNS, Port, Said};
use crate::kernel::{Flow, Way};
use crate::networks::Fate;

/// So often a request for a connection is sent, each time after twice as long.
const REQUESTS: u32 = 6;

/// A socket that is held.
pub struct Socket {
    pub(super) number: u64,
    _open: Rc<()>,
}

/// What a socket is for, and what has come to it.
pub(super) struct Inbox {
    open: Weak<()>,
    lead: Lead,
    to: SocketAddr,
    /// Its place among the questions that were asked.
    asked: Option<usize>,
    /// Datagrams, or what became of a connection.
    pub(super) came: VecDeque<Result<Vec<u8>, i32>>,
}

/// What a socket is bound to.
#[derive(Clone, Copy)]
pub(super) struct Lead {
    pub(super) from: Option<IpAddr>,
    /// The interface; 0: none.
    pub(super) device: u32,
}

/// What became of a packet that was sent.
pub(super) struct Trip {
    /// Over which link, and from which address.
    pub(super) way: Way,
    pub(super) fate: Fate,
}

/// A question that imon has asked a name server, by no WAN's way.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: imon::base::time::Instant,
    pub to: IpAddr,
    pub name: String,
    /// What the server says, and when that is here.
    pub said: Option<(Said, imon::base::time::Instant)>,
}

impl SimWorld {
    /// What a socket that is bound like this sends by.
    pub(super) fn lead(&self, bound: &Bound, to: SocketAddr) -> io::Result<Lead> {
        let link = |name: &String| self.kernel.links().find(|l| l.name == *name).map(|l| l.index);
        let device = match &bound.device {
            Some(name) => link(name).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?,
            None => 0,
        };
        let from = bound.from.filter(|from| from.is_ipv4() == to.is_ipv4());
        match from {
            Some(from) if !self.kernel.addresses().iter().any(|a| a.address == from) => {
                errno(libc::EADDRNOTAVAIL)
            }
            _ => Ok(Lead { from, device }),
        }
    }

    /// Sends a packet by the way that the kernel finds.
    pub(super) fn travel(&mut self, lead: Lead, to: SocketAddr, protocol: u8) -> io::Result<Trip> {
        let Lead { from, device } = lead;
        let flow = Flow { from, device, protocol, port: to.port(), ..Flow::to(to.ip()) };
        let way = self.kernel.way(&flow).map_err(io::Error::from_raw_os_error)?;
        let luck = self.random();
        let carrier = self.kernel.links().any(|l| l.index == way.index && l.carrier);
        let network = self.networks.iter().find(|n| n.index == way.index && carrier);
        let fate = network.map_or(Fate::Silent, |network| {
            let stopped =
                protocol == UDP && to.port() == DNS && to.is_ipv4() && network.made_up().is_some();
            network.fate(way.gateway, to.ip(), stopped, luck)
        });
        Ok(Trip { way, fate })
    }

    fn open(&mut self, lead: Lead, to: SocketAddr) -> Socket {
        self.sockets.retain(|_, inbox| inbox.open.strong_count() > 0);
        let (number, open) = (self.number(), Rc::new(()));
        self.sockets.insert(
            number,
            Inbox { open: Rc::downgrade(&open), lead, to, asked: None, came: VecDeque::new() },
        );
        Socket { number, _open: open }
    }

    /// Sockets of one purpose that are open.
    pub fn open_sockets(&self) -> usize {
        self.sockets.values().filter(|inbox| inbox.open.strong_count() > 0).count()
    }

    /// Asks for a connection, for the nth time.
    pub(super) fn request_connection(&mut self, number: u64, nth: u32) {
        let Some(inbox) = self.sockets.get(&number).filter(|inbox| inbox.open.strong_count() > 0)
        else {
            return;
        };
        let (lead, to) = (inbox.lead, inbox.to);
        let (result, after, index) = match self.travel(lead, to, TCP) {
            Err(e) => (Some(Err(e.raw_os_error().unwrap_or(libc::EIO))), Duration::ZERO, None),
            Ok(Trip { way, fate: Fate::Arrives(after) }) => match self.internet.port(to) {
                Port::Open => (Some(Ok(Vec::new())), after, Some(way.index)),
                Port::Closed => (Some(Err(libc::ECONNREFUSED)), after, Some(way.index)),
                Port::Silent => (None, Duration::ZERO, None),
            },
            Ok(Trip { way, fate: Fate::Rejected(_, after) }) => {
                (Some(Err(libc::ENETUNREACH)), after, Some(way.index))
            }
            Ok(Trip { fate: Fate::Silent, .. }) => (None, Duration::ZERO, None),
        };
        let again = self.now + Duration::from_secs(1 << nth);
        match result {
            Some(result) => self.arrive(self.now + after, Arrival::Datagram(index, number, result)),
            None if nth < REQUESTS => self.arrive(again, Arrival::Request(number, nth + 1)),
            None => self.arrive(again, Arrival::Datagram(None, number, Err(libc::ETIMEDOUT))),
        }
    }

    /// Something comes to a socket, over a link, which must have a carrier for it.
    pub(super) fn deliver(&mut self, index: Option<u32>, number: u64, what: Result<Vec<u8>, i32>) {
        let there =
            index.is_none_or(|index| self.kernel.links().any(|l| l.index == index && l.carrier));
        let Some(inbox) = self.sockets.get_mut(&number) else { return };
        if there {
            inbox.came.push_back(what);
        } else if let Some(asked) = inbox.asked.and_then(|place| self.asked.get_mut(place)) {
            asked.said = None;
        }
    }
}

pub(super) fn bound(via: Option<&Via>) -> Bound {
    via.map_or_else(Bound::default, |via| Bound {
        device: Some(via.device.clone()),
        from: Some(via.address.into()),
    })
}

impl Dialer for SimWorld {
    type Question = Socket;
    type Opening = Socket;

    fn server_address(&mut self, address: IpAddr, _zone: Option<&str>, port: u16) -> SocketAddr {
        SocketAddr::new(address, port)
    }

    fn ask(&mut self, via: Option<&Via>, to: SocketAddr, packet: &[u8]) -> io::Result<Socket> {
        self.may_fail()?;
        if self.networks.is_empty() {
            return errno(libc::ENETUNREACH);
        }
        let lead = self.lead(&bound(via), to)?;
        let Trip { way, fate } = self.travel(lead, to, UDP)?;
        self.sent += 1;
        let socket = self.open(lead, to);
        let (now, index, number) = (self.now, way.index, socket.number);
        let mut said = None;
        match fate {
            Fate::Arrives(after) => {
                let network = self.networks.iter().find(|n| n.index == index);
                let made_up = network.and_then(|n| n.made_up()).filter(|_| to.is_ipv4());
                let (what, answers) = self.internet.ask(to.ip(), made_up, packet);
                said = what.map(|what| {
                    (what, now + after + answers.last().map_or(Duration::ZERO, |(later, _)| *later))
                });
                for (later, answer) in answers {
                    self.arrive(
                        now + after + later,
                        Arrival::Datagram(Some(index), number, answer),
                    );
                }
            }
            Fate::Rejected(_, after) => {
                self.arrive(
                    now + after,
                    Arrival::Datagram(Some(index), number, Err(libc::ENETUNREACH)),
                );
            }
            Fate::Silent => {}
        }
        if via.is_none()
            && let Some((name, _)) = crate::internet::question(packet)
        {
            if let Some(inbox) = self.sockets.get_mut(&number) {
                inbox.asked = Some(self.asked.len());
            }
            self.asked.push(Asked { at: now, to: to.ip(), name, said });
        }
        Ok(socket)
    }

    fn receive<'a>(
        &mut self,
        question: &mut Socket,
        buffer: &'a mut [u8],
    ) -> io::Result<Option<&'a [u8]>> {
        match self.sockets.get_mut(&question.number).and_then(|inbox| inbox.came.pop_front()) {
            None => Ok(None),
            Some(Err(number)) => errno(number),
            Some(Ok(bytes)) => {
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                Ok(Some(&buffer[..length]))
            }
        }
    }

    fn connect(&mut self, via: Option<&Via>, to: SocketAddr) -> io::Result<Socket> {
        self.may_fail()?;
        if self.networks.is_empty() {
            return errno(libc::ENETUNREACH);
        }
        let lead = self.lead(&bound(via), to)?;
        // Without a route it is known at once.
        let flow = Flow {
            from: lead.from,
            device: lead.device,
            protocol: TCP,
            port: to.port(),
            ..Flow::to(to.ip())
        };
        self.kernel.way(&flow).map_err(io::Error::from_raw_os_error)?;
        self.sent += 1;
        let socket = self.open(lead, to);
        self.request_connection(socket.number, 0);
        Ok(socket)
    }

    fn opened(&mut self, opening: &Socket) -> io::Result<()> {
        match self.sockets.get_mut(&opening.number).and_then(|inbox| inbox.came.pop_front()) {
            Some(Err(number)) => errno(number),
            _ => Ok(()),
        }
    }
}
