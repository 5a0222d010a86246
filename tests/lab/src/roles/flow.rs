//! A steady stream of UDP packets, and who gets it: what a switch costs those who send.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sys::prctl::set_timerslack;
use serde::{Deserialize, Serialize};

use super::{Control, Role, ok, wait};
use crate::lab::Lab;
use crate::timeline::monotonic_ns;

pub(super) const SENDER: &str = "sender";
pub(super) const SINK: &str = "sink";
const PORT: u16 = 4242;
/// Packets that a sender without a pause sends between two looks at its commands.
const BURST: u32 = 64;

#[derive(Serialize, Deserialize)]
enum Command {
    Report,
}

/// What a sender has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SenderReport {
    /// Packets that the kernel took.
    pub sent: u64,
    /// Errors by their text, and how often.
    pub errors: BTreeMap<String, u64>,
}

/// What a sink has seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SinkReport {
    /// The numbers of the packets that came, from 0, and when each did.
    pub heard: Vec<(u64, u64)>,
}

/// The handle of a sender; dropping it ends it.
#[derive(Debug)]
pub struct Sender(Role);

/// The handle of a sink; dropping it ends it.
#[derive(Debug)]
pub struct Sink(Role);

impl Lab {
    /// Sends numbered UDP packets from a namespace to an address, one each `every`, or as fast as
    /// it can.
    #[track_caller]
    pub fn sender(&self, ns: &str, to: &str, every: Option<Duration>) -> Sender {
        let every = every.map_or(0, |every| every.as_nanos());
        Sender(Role::start(self, ns, SENDER, &[to.to_owned(), every.to_string()]))
    }

    /// Takes what senders send to addresses of this namespace.
    #[track_caller]
    pub fn sink(&self, ns: &str) -> Sink {
        Sink(Role::start(self, ns, SINK, &[]))
    }
}

impl Sender {
    /// So far.
    #[track_caller]
    pub fn report(&self) -> SenderReport {
        self.0.call(&Command::Report)
    }
}

impl Sink {
    /// So far.
    #[track_caller]
    pub fn report(&self) -> SinkReport {
        self.0.call(&Command::Report)
    }
}

pub(super) fn play_sender(args: &[String]) -> io::Result<()> {
    let (to, every) = match args {
        [to, every] => (to, every.parse::<u64>().map_err(io::Error::other)?),
        _ => return Err(io::Error::other("sender ADDRESS NANOSECONDS")),
    };
    let to: SocketAddr = format!("{to}:{PORT}").parse().map_err(io::Error::other)?;
    set_timerslack(1)?;
    let mut control = Control::ready()?;
    // One socket, so that it is one connection to whoever translates addresses.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_nonblocking(true)?;
    let mut done = SenderReport::default();
    let (mut number, mut next) = (0_u64, monotonic_ns());
    loop {
        for _ in 0..if every == 0 { BURST } else { 1 } {
            match socket.send_to(&number.to_be_bytes(), to) {
                Ok(_) => done.sent += 1,
                // A full queue is the sender's own haste.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // An ICMP error for an earlier packet is told at the next one; it was sent all the
                // same.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) => *done.errors.entry(e.to_string()).or_default() += 1,
            }
            number += 1;
        }
        next += every;
        let until = if every == 0 { 0 } else { next };
        loop {
            if wait(&[control.as_fd()], Some(until))?[0] {
                let Some(commands) = control.read::<Command>()? else { return Ok(()) };
                commands.iter().for_each(|_| ok(&done));
            }
            if monotonic_ns() >= until {
                break;
            }
        }
    }
}

pub(super) fn play_sink() -> io::Result<()> {
    let mut control = Control::ready()?;
    let socket = UdpSocket::bind(("0.0.0.0", PORT))?;
    socket.set_nonblocking(true)?;
    let mut seen = SinkReport::default();
    loop {
        let ready = wait(&[control.as_fd(), socket.as_fd()], None)?;
        let mut packet = [0; 8];
        while let Ok((8, _)) = socket.recv_from(&mut packet) {
            seen.heard.push((u64::from_be_bytes(packet), monotonic_ns()));
        }
        if ready[0] {
            let Some(commands) = control.read::<Command>()? else { return Ok(()) };
            commands.iter().for_each(|_| ok(&seen));
        }
    }
}
