//! A TCP connection that is opened only to see whether it can be.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::kernel::path::Via;
use crate::sys::ping;

/// A connection that is being opened.
pub struct TcpOpening(Socket);

impl TcpOpening {
    /// Begins, by a WAN's way or by whatever way the kernel chooses.
    ///
    /// # Errors
    /// As socket(2), connect(2): no route, no permission.
    pub fn begin(via: Option<&Via>, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        via.map_or(Ok(()), |via| ping::bind(via, &socket))?;
        // Closed with a reset: nothing is left behind here or there.
        let _ = socket.set_linger(Some(Duration::ZERO));
        match socket.connect(&to.into()) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
            _ => Ok(Self(socket)),
        }
    }

    /// The descriptor to wait for; it is ready to write to when something is known.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Whether it is open, once it is ready.
    ///
    /// # Errors
    /// Why it is not: refused, unreachable.
    pub fn result(&self) -> io::Result<()> {
        self.0.take_error()?.map_or(Ok(()), Err)
    }
}
