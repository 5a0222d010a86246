//! The system's log: hears what is sent to /dev/log, byte by byte, and can go away or stop
//! listening.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Control, Role, ok, report, wait};
use crate::lab::Lab;
use crate::timeline::monotonic_ns;

pub(super) const NAME: &str = "syslog";

const SOCKET: &str = "/dev/log";

/// A message as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// When it was read.
    pub at_ns: u64,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Datagram {
    /// As text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// On the way from the role: each byte is the character of that number, so that the line is exact
/// and can be read.
#[derive(Serialize, Deserialize)]
struct Event {
    at_ns: u64,
    bytes: String,
}

impl From<Event> for Datagram {
    fn from(event: Event) -> Self {
        Self {
            at_ns: event.at_ns,
            bytes: event.bytes.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect(),
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Command {
    Start,
    Stop,
    Pause,
    Resume,
}

/// The handle of a running log; dropping it ends it, and leaves a dead /dev/log as a crash would.
#[derive(Debug)]
pub struct Syslog(Role);

impl Lab {
    /// A log on /dev/log, seen from every namespace of the lab.
    #[track_caller]
    pub fn syslog(&self) -> Syslog {
        Syslog(Role::start(self, "inet", NAME, &[]))
    }
}

impl Syslog {
    /// Ends listening and removes /dev/log: the log daemon was stopped.
    #[track_caller]
    pub fn stop(&self) {
        self.0.call(&Command::Stop)
    }

    /// Listens again on a new /dev/log: the log daemon was started.
    #[track_caller]
    pub fn start(&self) {
        self.0.call(&Command::Start)
    }

    /// Does not read any more; the socket stays and fills up: the log daemon hangs.
    #[track_caller]
    pub fn pause(&self) {
        self.0.call(&Command::Pause)
    }

    /// Reads again, first what was waiting.
    #[track_caller]
    pub fn resume(&self) {
        self.0.call(&Command::Resume)
    }

    /// All messages so far.
    #[must_use]
    pub fn messages(&self) -> Vec<Datagram> {
        self.0.events::<Event>().into_iter().map(Datagram::from).collect()
    }

    /// Waits for a message whose text is wanted, leaving out the first `skip`.
    ///
    /// # Panics
    /// When there is none after `limit`.
    #[track_caller]
    pub fn wait(&self, skip: usize, wanted: impl Fn(&str) -> bool, limit: Duration) -> Datagram {
        let wanted = |e: &Event| {
            wanted(&String::from_utf8_lossy(&e.bytes.chars().map(|c| c as u8).collect::<Vec<_>>()))
        };
        self.0.wait_event(skip, wanted, limit).into()
    }
}

/// The role's life.
pub(super) fn play() -> io::Result<()> {
    let mut socket = Some(listen()?);
    let mut reading = true;
    let mut control = Control::ready()?;
    let mut buffer = vec![0; 65_536];
    loop {
        let mut fds = vec![control.as_fd()];
        fds.extend(socket.as_ref().filter(|_| reading).map(|s| s.as_fd()));
        let ready = wait(&fds, None)?;
        if let (Some(socket), Some(true)) = (&socket, ready.get(1)) {
            hear(socket, &mut buffer)?;
        }
        if ready[0] {
            let Some(commands) = control.read()? else { return Ok(()) };
            for command in commands {
                match command {
                    Command::Start => socket = Some(listen()?),
                    Command::Stop => {
                        socket = None;
                        fs::remove_file(SOCKET)?;
                    }
                    Command::Pause => reading = false,
                    Command::Resume => reading = true,
                }
                ok(&());
            }
        }
    }
}

fn listen() -> io::Result<UnixDatagram> {
    match fs::remove_file(SOCKET) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let socket = UnixDatagram::bind(SOCKET)?;
    // As log daemons do: everybody may write.
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o666))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn hear(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match socket.recv(buffer) {
            Ok(n) => report(&Event {
                at_ns: monotonic_ns(),
                bytes: buffer[..n].iter().map(|b| char::from(*b)).collect(),
            }),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}
