//! A "what is my address" provider on port 80, and what stands in its place when the path is not honest.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Control, Role, ok, report};
use crate::lab::Lab;
use crate::lock;
use crate::timeline::monotonic_ns;

pub(super) const NAME: &str = "http";

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpMode {
    /// The asker's address and a line end.
    Ok,
    /// Nothing, and the connection stays open.
    Hang,
    /// The right answer, one byte in 1.5 s.
    Slow,
    /// A captive portal's page.
    Html,
    /// An empty body.
    Empty,
    /// The right body with status 500.
    Error500,
    /// An IPv6 address, whoever asks.
    V6,
    /// 200 MB of nines.
    Huge,
    /// A redirection to this URL.
    Redirect(String),
    /// This body.
    Raw(String),
}

/// A request that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// When its head was complete.
    pub at_ns: u64,
    /// Who asked.
    pub from: IpAddr,
    /// Which of our addresses was asked.
    pub server: IpAddr,
    /// Request line and header lines.
    pub head: Vec<String>,
}

/// The handle of a running provider; dropping it ends it.
#[derive(Debug)]
pub struct Http(Role);

impl Lab {
    /// A provider on port 80 of all addresses of inet.
    #[track_caller]
    pub fn http(&self) -> Http {
        Http(Role::start(self, "inet", NAME, &[]))
    }
}

impl Http {
    /// What is answered from now on.
    #[track_caller]
    pub fn mode(&self, mode: &HttpMode) {
        self.0.call(mode)
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.0.events()
    }

    /// Waits for a request, leaving out the first `skip`.
    ///
    /// # Panics
    /// When there is none after `limit`.
    #[track_caller]
    pub fn wait_request(&self, skip: usize, wanted: impl Fn(&HttpRequest) -> bool, limit: Duration) -> HttpRequest {
        self.0.wait_event(skip, wanted, limit)
    }
}

/// The role's life: a thread for each connection, and this one for commands.
pub(super) fn play() -> io::Result<()> {
    // Also hears IPv4, as ::ffff:a.b.c.d.
    let listener = TcpListener::bind("[::]:80")?;
    let mode = Arc::new(Mutex::new(HttpMode::Ok));
    let current = mode.clone();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mode = current.clone();
            // A client that goes away ends its own thread only.
            thread::spawn(move || drop(serve(&connection, &mode)));
        }
    });
    let mut control = Control::ready()?;
    while let Some(commands) = control.read()? {
        for command in commands {
            *lock(&mode) = command;
            ok(&());
        }
    }
    Ok(())
}

fn serve(mut connection: &TcpStream, mode: &Mutex<HttpMode>) -> io::Result<()> {
    let from = connection.peer_addr()?.ip().to_canonical();
    let server = connection.local_addr()?.ip().to_canonical();
    let lines = BufReader::new(connection).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|l| !l.is_empty()).collect();
    report(&HttpRequest { at_ns: monotonic_ns(), from, server, head });
    let mode = lock(mode).clone();
    let address = format!("{from}\n");
    match mode {
        HttpMode::Ok => answer(connection, "200 OK", &address),
        HttpMode::Hang => loop {
            thread::park();
        },
        HttpMode::Slow => {
            connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            for byte in address.bytes() {
                connection.write_all(&[byte])?;
                thread::sleep(Duration::from_millis(1500));
            }
            Ok(())
        }
        HttpMode::Html => answer(connection, "200 OK", "<html>captive portal</html>"),
        HttpMode::Empty => answer(connection, "200 OK", ""),
        HttpMode::Error500 => answer(connection, "500 Internal Server Error", &address),
        HttpMode::V6 => answer(connection, "200 OK", "2001:db8::77\n"),
        HttpMode::Huge => {
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\nConnection: close\r\n\r\n")?;
            let chunk = [b'9'; 50_000];
            (0..4000).try_for_each(|_| connection.write_all(&chunk))
        }
        HttpMode::Redirect(to) => {
            let head =
                format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            connection.write_all(head.as_bytes())
        }
        HttpMode::Raw(body) => answer(connection, "200 OK", &body),
    }
}

fn answer(mut connection: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    let len = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    connection.write_all(format!("{head}{body}").as_bytes())
}
