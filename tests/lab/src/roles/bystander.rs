//! Somebody else's traffic: pings, lookups and connections at a steady pace, and which of them were
//! answered. What something costs those who have nothing to do with it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Control, Role, ok, wait};
use crate::lab::Lab;
use crate::timeline::monotonic_ns;

pub(super) const NAME: &str = "bystander";
/// From one packet of a flow to the next.
const EVERY: Duration = Duration::from_millis(20);
/// An answer that comes later is none.
const GRACE: Duration = Duration::from_secs(1);

/// Who sends, and to whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flow {
    name: String,
    to: Ipv4Addr,
    from: Option<Ipv4Addr>,
    device: Option<String>,
}

impl Flow {
    /// A flow of this name to an address.
    #[must_use]
    pub fn new(name: &str, to: &str) -> Self {
        let to = to.parse().unwrap_or_else(|e| panic!("{to}: {e}"));
        Self { name: name.to_owned(), to, from: None, device: None }
    }

    /// From this address.
    #[must_use]
    pub const fn from(mut self, from: Ipv4Addr) -> Self {
        self.from = Some(from);
        self
    }

    /// Bound to this interface.
    #[must_use]
    pub fn device(mut self, device: &str) -> Self {
        self.device = Some(device.to_owned());
        self
    }

    /// Whether a system with these addresses and interfaces (as `ip -o` prints them) has none of
    /// what it is bound to.
    #[must_use]
    pub fn is_from_elsewhere(&self, has: &str) -> bool {
        let from = self.from.is_some_and(|from| !has.contains(&format!(" {from}/")));
        from || self.device.as_ref().is_some_and(|device| !has.contains(&format!(" {device}")))
    }

    fn prepare(&self, socket: &Socket) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        socket.bind(&SocketAddr::new(self.from.unwrap_or(Ipv4Addr::UNSPECIFIED).into(), 0).into())
    }
}

/// One packet or connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// The flow, and what it was: `lan ping`, `host dns`, `host tcp`.
    pub flow: String,
    /// When.
    pub at_ns: u64,
    /// It was answered.
    pub answered: bool,
}

/// What was answered of a flow, in the order in which it was sent.
#[derive(Debug)]
pub struct Answers(Vec<Attempt>);

impl Answers {
    /// The flows of which less was answered between two moments than before the first: `host dns: 3
    /// of 80 lost`. One that was answered only in part before says nothing and is named as
    /// unsteady.
    #[must_use]
    pub fn losses(&self, begin_ns: u64, end_ns: u64) -> Vec<String> {
        let mut flows: Vec<&str> = self.0.iter().map(|a| a.flow.as_str()).collect();
        flows.sort_unstable();
        flows.dedup();
        let count = |flow: &str, during: &dyn Fn(u64) -> bool| {
            let of: Vec<bool> = self
                .0
                .iter()
                .filter(|a| a.flow == flow && during(a.at_ns))
                .map(|a| a.answered)
                .collect();
            (of.iter().filter(|answered| **answered).count(), of.len())
        };
        let lost = |flow: &&str| {
            let (good, all) = count(flow, &|at| at < begin_ns);
            let (good_then, all_then) = count(flow, &|at| (begin_ns..end_ns).contains(&at));
            match (good, all) {
                (_, 0) => Some(format!("{flow}: nothing was sent before")),
                (0, _) => None,
                (good, all) if good < all => {
                    Some(format!("{flow}: unsteady before, {good} of {all}"))
                }
                _ if all_then == 0 => Some(format!("{flow}: nothing was sent meanwhile")),
                _ => (good_then < all_then)
                    .then(|| format!("{flow}: {} of {all_then} lost", all_then - good_then)),
            }
        };
        flows.iter().filter_map(lost).collect()
    }

    /// How many were answered, and how many there were, of the flows whose names begin so.
    #[must_use]
    pub fn answered(&self, flow: &str) -> (usize, usize) {
        let of = || self.0.iter().filter(|a| a.flow.starts_with(flow));
        (of().filter(|a| a.answered).count(), of().count())
    }

    /// Together with another one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

#[derive(Serialize, Deserialize)]
enum Command {
    Sent,
    Stop,
}

/// The handle; dropping it ends it.
#[derive(Debug)]
pub struct Bystander(Role);

impl Lab {
    /// Pings, lookups at port 53 and connections to port 443, all flows of a namespace side by
    /// side, until told to stop.
    #[track_caller]
    pub fn bystander(&self, ns: &str, flows: &[Flow]) -> Bystander {
        let flows = serde_json::to_string(flows).expect("flows are JSON");
        Bystander(Role::start(self, ns, NAME, &[flows]))
    }
}

impl Bystander {
    /// How many packets and connections have been sent of each flow and kind.
    #[track_caller]
    pub fn sent(&self) -> usize {
        self.0.call(&Command::Sent)
    }

    /// Stops sending, waits for what is under way, and says what was answered.
    #[track_caller]
    pub fn stop(&self) -> Answers {
        Answers(self.0.call(&Command::Stop))
    }
}

struct Sockets {
    flow: Flow,
    icmp: Socket,
    udp: UdpSocket,
    connections: Vec<(usize, Socket)>,
}

pub(super) fn play(args: &[String]) -> io::Result<()> {
    let flows: Vec<Flow> = serde_json::from_str(args.first().map_or("", String::as_str))?;
    let open = |flow: Flow| {
        let icmp = Socket::new_raw(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        let udp = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        flow.prepare(&icmp)?;
        flow.prepare(&udp)?;
        Ok(Sockets { flow, icmp, udp: udp.into(), connections: Vec::new() })
    };
    let mut all = flows.into_iter().map(open).collect::<io::Result<Vec<Sockets>>>()?;
    let mut control = Control::ready()?;
    let id = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
    let mut attempts: Vec<Attempt> = Vec::new();
    let every = u64::try_from(EVERY.as_nanos()).unwrap_or(0);
    let (mut next, mut rounds, mut end) = (monotonic_ns(), 0_usize, None);
    loop {
        let now = monotonic_ns();
        all.iter_mut().for_each(|sockets| hear(sockets, id, &mut attempts));
        if end.is_some_and(|end| now >= end || attempts.iter().all(|a| a.answered)) {
            ok(&attempts);
            return Ok(());
        }
        if end.is_none() && now >= next {
            all.iter_mut().for_each(|sockets| send(sockets, id, &mut attempts));
            (next, rounds) = (next + every, rounds + 1);
        }
        let mut fds = vec![control.as_fd()];
        fds.extend(all.iter().flat_map(|s| [s.icmp.as_fd(), s.udp.as_fd()]));
        if wait(&fds, Some(if end.is_some() { now + every } else { next }))?[0] {
            let Some(commands) = control.read::<Command>()? else { return Ok(()) };
            for command in commands {
                match command {
                    Command::Sent => ok(&rounds),
                    Command::Stop => end = Some(now + u64::try_from(GRACE.as_nanos()).unwrap_or(0)),
                }
            }
        }
    }
}

/// One packet of each kind. Their number among all attempts comes back with the answer.
fn send(sockets: &mut Sockets, id: u16, attempts: &mut Vec<Attempt>) {
    let Sockets { flow, icmp, udp, connections } = sockets;
    let mut attempt = |kind: &str| {
        attempts.push(Attempt {
            flow: format!("{} {kind}", flow.name),
            at_ns: monotonic_ns(),
            answered: false,
        });
        attempts.len() - 1
    };
    // What cannot be sent is not answered.
    let number = u32::try_from(attempt("ping")).unwrap_or(u32::MAX).to_be_bytes();
    let mut packet =
        [&[8, 0, 0, 0][..], &id.to_be_bytes(), &number[2..], &number, b"bystander by"].concat();
    let sum = pnet::util::checksum(&packet, 1);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    let _ = icmp.send_to(&packet, &SocketAddr::new(flow.to.into(), 0).into());
    // `one.one.one.one`, type A, with recursion, and the number as part of the id: a lookup has 16
    // bits for it.
    let number = attempt("dns");
    let mut packet = u16::try_from(number & 0xffff).unwrap_or(0).to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    (0..4).for_each(|_| packet.extend(b"\x03one"));
    packet.extend([0, 0, 1, 0, 1]);
    let _ = udp.send_to(&packet, (flow.to, 53));
    let number = attempt("tcp");
    if let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
        && flow.prepare(&socket).is_ok()
    {
        let _ = socket.set_linger(Some(Duration::ZERO));
        let begun = socket.connect(&SocketAddr::new(flow.to.into(), 443).into());
        if begun.is_ok() || begun.is_err_and(|e| e.raw_os_error() == Some(nix::libc::EINPROGRESS)) {
            connections.push((number, socket));
        }
    }
}

/// Takes note of what was answered.
fn hear(sockets: &mut Sockets, id: u16, attempts: &mut [Attempt]) {
    let mut bytes = [0; 1024];
    while let Some(n) = received(&sockets.icmp, &mut bytes) {
        // Behind the IP header; a raw socket hears the replies to all pings of this system.
        let header = usize::from(bytes[0] & 0xf) * 4;
        let Some(icmp) = bytes.get(header..n).filter(|icmp| icmp.len() >= 12) else { continue };
        let number = u32::from_be_bytes([icmp[8], icmp[9], icmp[10], icmp[11]]);
        if icmp[0] == 0 && icmp[4..6] == id.to_be_bytes() {
            let flow = format!("{} ping", sockets.flow.name);
            let attempt = usize::try_from(number).ok().and_then(|number| attempts.get_mut(number));
            attempt.filter(|a| a.flow == flow).into_iter().for_each(|a| a.answered = true);
        }
    }
    while let Ok((n, from)) = sockets.udp.recv_from(&mut bytes) {
        let number = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        let flow = format!("{} dns", sockets.flow.name);
        if n > 12 && from.ip() == sockets.flow.to {
            let same = attempts.iter_mut().skip(number).step_by(1 << 16);
            same.filter(|a| a.flow == flow).for_each(|a| a.answered = true);
        }
    }
    sockets.connections.retain(|(number, socket)| {
        let is_open = socket.peer_addr().is_ok();
        if let Some(attempt) = attempts.get_mut(*number).filter(|_| is_open) {
            attempt.answered = true;
        }
        !is_open && !matches!(socket.take_error(), Ok(Some(_)))
    });
}

fn received(socket: &Socket, bytes: &mut [u8]) -> Option<usize> {
    use nix::sys::socket::{MsgFlags, recv};
    recv(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT).ok()
}
