//! Where log lines go: the system log by a datagram to `/dev/log`, or the terminal as V2.99 wrote
//! it.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::clock;
use super::poll::writable;
use crate::base::text::Clean;
use crate::event::{Monitor, Severity};

const SOCKET: &str = "/dev/log";
/// Facility "daemon" (RFC 3164, section 4.1.1), shifted as the priority wants it.
const DAEMON: u8 = 3 << 3;
/// Longer lines are cut: rsyslog takes 8 KiB, OpenWrt's logd 1 KiB.
const LONGEST: usize = 1000;
/// What may wait for a log that does not read, in bytes. More is lost, and said. Without systemd
/// the kernel itself keeps ten datagrams for the system log, which is less than imon says at its
/// start.
const PENDING: usize = 64 * 1024;
/// How long what still waits at the end is waited for, in milliseconds.
const LAST: u64 = 100;
/// V2.99's default for `datefmt`.
pub const DATE_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// Writes log lines. Never blocks: a log that does not read costs lines in the end, but no probes.
pub struct Logger {
    instance: String,
    /// More than one monitor is enabled: tags name the monitor.
    multi: bool,
    datefmt: String,
    /// `None`: the terminal.
    syslog: Option<Syslog>,
    /// Lines that are not written yet, each with its end.
    pending: Vec<u8>,
    /// Lines that came after those and had no room.
    lost: u64,
    text: String,
    line: String,
}

struct Syslog {
    socket: Option<UnixDatagram>,
    pid: u32,
}

impl Logger {
    /// A logger for an instance, to the system log or to the terminal.
    #[must_use]
    pub fn new(instance: &str, to_syslog: bool) -> Self {
        Self {
            instance: instance.to_owned(),
            multi: false,
            datefmt: DATE_FORMAT.to_owned(),
            syslog: to_syslog.then(|| Syslog { socket: None, pid: std::process::id() }),
            pending: Vec::new(),
            lost: 0,
            text: String::new(),
            line: String::new(),
        }
    }

    /// What the configuration says: the name that lines carry, the terminal's date format, and
    /// whether tags name the monitor.
    pub fn configure(&mut self, instance: &str, datefmt: &str, multi: bool) {
        instance.clone_into(&mut self.instance);
        datefmt.clone_into(&mut self.datefmt);
        self.multi = multi;
    }

    /// Whether lines go to the system log.
    #[must_use]
    pub fn is_syslog(&self) -> bool {
        self.syslog.is_some()
    }

    /// Whether there is a system log that took the last line.
    #[must_use]
    pub fn reaches_syslog(&self) -> bool {
        self.syslog.as_ref().is_some_and(|syslog| syslog.socket.is_some())
    }

    /// Writes one line. Control characters in it are escaped.
    pub fn line(
        &mut self,
        severity: Severity,
        monitor: Option<Monitor>,
        message: fmt::Arguments<'_>,
    ) {
        self.compose(severity, monitor, message);
        self.put();
    }

    /// Output of an action script: to the terminal as it is, to the system log at debug severity.
    pub fn script_output(&mut self, monitor: Monitor, action: &str, line: &str) {
        if self.syslog.is_some() {
            return self.line(Severity::Debug, Some(monitor), format_args!("{action}: {line}"));
        }
        self.line.clear();
        for part in line.split_inclusive('\t') {
            let (text, tab) = part.strip_suffix('\t').map_or((part, ""), |text| (text, "\t"));
            let _ = write!(self.line, "{}{tab}", Clean(text));
        }
        self.line.push('\n');
        self.put();
    }

    /// The descriptor that must become writable before [`Logger::flush`] can do more, if lines
    /// wait.
    #[must_use]
    pub fn waits_for(&self) -> Option<RawFd> {
        if self.pending.is_empty() {
            return None;
        }
        self.syslog
            .as_ref()
            .map_or(Some(1), |syslog| syslog.socket.as_ref().map(AsRawFd::as_raw_fd))
    }

    /// Writes what can be written without blocking.
    pub fn flush(&mut self) {
        loop {
            let done = match &mut self.syslog {
                Some(syslog) => send(syslog, &self.pending),
                None => print(&self.pending),
            };
            self.pending.drain(..done.min(self.pending.len()));
            if self.lost == 0 || self.pending.len() > PENDING / 2 {
                return;
            }
            let lines = if self.lost == 1 {
                "1 line was".to_owned()
            } else {
                format!("{} lines were", self.lost)
            };
            let who = if self.syslog.is_some() { "the system log" } else { "the terminal" };
            self.lost = 0;
            self.compose(
                Severity::Warning,
                None,
                format_args!("{lines} lost here, {who} did not take more"),
            );
            self.pending.extend_from_slice(self.line.as_bytes());
        }
    }

    /// The last thing to do: what waits gets a moment more, and is given up then.
    pub fn finish(&mut self) {
        self.flush();
        let end = clock::monotonic() + Duration::from_millis(LAST);
        while let Some(fd) = self.waits_for() {
            let now = clock::monotonic();
            if now >= end || !writable(fd, clock::poll_timeout(now, Some(end))) {
                return;
            }
            self.flush();
        }
    }

    /// Makes `self.line`: stamp, tag, message, line end.
    fn compose(
        &mut self,
        severity: Severity,
        monitor: Option<Monitor>,
        message: fmt::Arguments<'_>,
    ) {
        let wall = clock::wall();
        self.text.clear();
        let _ = self.text.write_fmt(message);
        self.line.clear();
        match &self.syslog {
            Some(syslog) => {
                let _ = write!(self.line, "<{}>", DAEMON | severity as u8);
                // Always stamped: OpenWrt's logd cuts off 16 bytes when byte 16 of the text is a
                // blank.
                if !clock::local(wall, "%b %e %H:%M:%S ", &mut self.line) {
                    self.line.push_str("Jan  1 00:00:00 ");
                }
                let _ = write!(self.line, "imon[{}]: imon ", syslog.pid);
            }
            None => {
                if !clock::local(wall, &self.datefmt, &mut self.line) {
                    let _ = write!(self.line, "{wall}");
                }
                self.line.push(' ');
            }
        }
        let _ = write!(self.line, "[{}", Clean(&self.instance));
        if let Some(monitor) = monitor.filter(|_| self.multi) {
            let _ = write!(self.line, "-{}", monitor.name());
        }
        let _ = write!(self.line, "] {}", Clean(&self.text));
        if self.syslog.is_some() {
            cut(&mut self.line);
        }
        self.line.push('\n');
    }

    /// Writes `self.line`, after what waits.
    fn put(&mut self) {
        if self.lost > 0 || self.pending.len() + self.line.len() > PENDING {
            self.lost += 1;
        } else {
            self.pending.extend_from_slice(self.line.as_bytes());
        }
        self.flush();
    }
}

/// Sends lines to the system log, a datagram each, and returns how many bytes are done with.
fn send(syslog: &mut Syslog, lines: &[u8]) -> usize {
    let mut done = 0;
    for line in lines.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match syslog.send(text) {
            Ok(()) => {}
            // Its queue is full: waiting for it here would stop the monitors.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            // There is no system log.
            Err(_) if writable(2, 0) => {
                let after_priority = text.iter().position(|b| *b == b'>').map_or(0, |at| at + 1);
                let _ = io::stderr().write_all(line.get(after_priority..).unwrap_or(line));
            }
            Err(_) => break,
        }
        done += line.len();
    }
    done
}

/// Writes to the terminal what it takes without blocking, and returns how many bytes are done with.
/// A pipe or terminal that polls writable takes 512 bytes.
fn print(text: &[u8]) -> usize {
    let mut done = 0;
    for chunk in text.chunks(512) {
        if !writable(1, 0) {
            break;
        }
        let mut out = io::stdout();
        if out.write_all(chunk).and_then(|()| out.flush()).is_err() {
            // Nobody reads any more. Monitoring goes on, scripts are called.
            return text.len();
        }
        done += chunk.len();
    }
    done
}

impl Syslog {
    /// Sends a datagram, reconnecting once: the system log may have been restarted.
    fn send(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(line) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(e),
                Err(_) => self.socket = None,
            }
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(SOCKET)?;
        self.socket.insert(socket).send(line).map(|_| ())
    }
}

/// Cuts a line that is too long for some system log, at a character's boundary, visibly.
fn cut(line: &mut String) {
    if line.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push_str("...");
    }
}
