//! Telling systemd: one datagram to `$NOTIFY_SOCKET` (sd_notify(3)).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, if there is one that listens.
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Reads `$NOTIFY_SOCKET` and `$WATCHDOG_USEC` and takes them out of the environment, so that
    /// no action script speaks in our name. To be called while there is one thread.
    #[must_use]
    pub fn from_environment() -> Self {
        let to = super::env("NOTIFY_SOCKET").and_then(|path| open(&path).ok());
        let for_us =
            super::env("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog =
            super::env("WATCHDOG_USEC").filter(|_| for_us).and_then(|usec| usec.parse().ok());
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            // SAFETY: called at start, before any other thread could exist.
            unsafe { std::env::remove_var(name) };
        }
        Self { to, watchdog: watchdog.filter(|usec| *usec > 0).map(Duration::from_micros) }
    }

    /// How often the watchdog wants to be fed at least, if at all.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.to.is_some())
    }

    /// Sends a state, `READY=1` for instance.
    pub fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.to {
            let _: io::Result<usize> = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

/// A socket, and the address to send to: a path, or after `@` an abstract name.
fn open(path: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    }?;
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not stop us.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in containers; a path is tested end to end.
    #[test]
    fn an_abstract_socket_is_told() {
        let name = format!("imon-test-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notify = Notify { to: open(&format!("@{name}")).ok(), watchdog: None };
        notify.send("READY=1");
        let mut bytes = [0; 16];
        let n = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..n], b"READY=1");
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        assert!(open(&"x".repeat(200)).is_err());
        assert!(open(&format!("@{}", "x".repeat(200))).is_err());
        assert!(open("a\0b").is_err());
    }
}
