//! A socket for one DNS question: connected, so the kernel drops what comes from elsewhere and
//! tells a closed port.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::clock;
use crate::base::time::Instant;
use crate::kernel::path::Bound;
use crate::kernel::path::Via;
use crate::sys::{http, ping};

/// One question's socket, with a random port of the kernel's choosing.
pub struct UdpExchange(Socket);

impl UdpExchange {
    /// Sends `packet` to `server`, by a WAN's way or by whatever way the kernel chooses.
    ///
    /// # Errors
    /// As socket(2), connect(2), send(2): no route, no permission.
    pub fn send(via: Option<&Via>, server: SocketAddr, packet: &[u8]) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // Without this Linux tells a closed port, but keeps "host unreachable" to itself (udp(7)).
        let (level, option) = if server.is_ipv4() {
            (libc::SOL_IP, libc::IP_RECVERR)
        } else {
            (libc::SOL_IPV6, libc::IPV6_RECVERR)
        };
        let _ = super::set_option(&socket, level, option);
        via.map_or(Ok(()), |via| ping::bind(via, &socket))?;
        socket.connect(&server.into())?;
        socket.send(packet)?;
        Ok(Self(socket))
    }

    /// The descriptor to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Takes one datagram. `None`: nothing there after all.
    ///
    /// # Errors
    /// As recv(2): port or host unreachable.
    pub fn receive<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match io::Read::read(&mut self.0, buffer) {
            Ok(n) => Ok(buffer.get(..n)),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

/// Asks a server and waits until `accept` takes an answer, at most until the moment given. Blocks:
/// not for the loop.
///
/// # Errors
/// As socket(2), connect(2), send(2), recv(2): no route, port closed.
pub fn ask<T>(
    bound: &Bound,
    server: SocketAddr,
    packet: &[u8],
    until: Instant,
    mut accept: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut socket = http::socket(bound, server, Type::DGRAM, Protocol::UDP)?;
    socket.connect(&server.into())?;
    socket.send(packet)?;
    let mut buffer = [0; 4096];
    loop {
        let left = until.since(clock::monotonic());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        match io::Read::read(&mut socket, &mut buffer) {
            Ok(n) => {
                if let Some(answer) = accept(buffer.get(..n).unwrap_or_default()) {
                    return Ok(Some(answer));
                }
            }
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
    }
}
