//! A "what is my address" provider on ports 80 and 443, and what stands in its place when the path
//! is not honest. It serves updates of addresses as well: a test says what is answered.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::{Deserialize, Serialize};

use super::{Control, Role, ok, report};
use crate::lab::Lab;
use crate::lock;
use crate::timeline::monotonic_ns;
use crate::topology::{INTERNET, INTERNET_V6};

pub(super) const NAME: &str = "http";

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpMode {
    /// The asker's address and a line end; nothing, with status 204, on the path `/generate_204`.
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
    /// Status and body.
    Reply(u16, String),
    /// The asker's address, but in a header only.
    HeaderOnly,
    /// The asker's address in Cloudflare's trace format.
    Trace,
    /// A body without end, in a steady trickle.
    Endless,
    /// The connection is closed once the request is there.
    Drop,
    /// These bytes and nothing else: no head is added. Then the connection is closed.
    Bytes(String),
    /// The first text, and then the second for ever, each time after this pause. No head is added.
    Flood(String, String, Duration),
    /// On port 443 the same without encryption, at once; on port 80 as it is.
    Plain(Box<HttpMode>),
    /// Each request gets the next of these, from the last on all get that.
    Sequence(Vec<HttpMode>),
    /// The same so much later.
    After(Duration, Box<HttpMode>),
}

/// The certificate that is shown on port 443.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Certificate {
    /// For all addresses of inet and the names of [`NAMES`].
    Good,
    /// The same, since a day expired.
    Expired,
    /// The same, valid from tomorrow on.
    NotYetValid,
    /// The same by itself instead of by the authority.
    SelfSigned,
    /// For another name.
    WrongName,
}

/// Names that a good certificate is for, below .test; the name server knows them.
pub const NAMES: [&str; 2] = ["whatismyip.test", "host2.test"];

#[derive(Serialize, Deserialize)]
enum Command {
    Mode(Option<IpAddr>, HttpMode),
    Certificate(Certificate),
    Clock(i64),
    Authority,
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
    /// By HTTPS.
    pub secure: bool,
    /// Request line and header lines.
    pub head: Vec<String>,
}

/// The handle of a running provider; dropping it ends it.
#[derive(Debug)]
pub struct Http(Role);

impl Lab {
    /// A provider on ports 80 and 443 of all addresses of inet.
    #[track_caller]
    pub fn http(&self) -> Http {
        Http(Role::start(self, "inet", NAME, &[]))
    }
}

impl Http {
    /// What all addresses answer from now on.
    #[track_caller]
    pub fn mode(&self, mode: &HttpMode) {
        self.0.call(&Command::Mode(None, mode.clone()))
    }

    /// What one address answers from now on.
    #[track_caller]
    pub fn mode_of(&self, server: &str, mode: &HttpMode) {
        let server = server.parse().unwrap_or_else(|e| panic!("{server}: {e}"));
        self.0.call(&Command::Mode(Some(server), mode.clone()))
    }

    /// From now on the servers' clocks are ahead by so many seconds, which their header `Date`
    /// tells.
    #[track_caller]
    pub fn clock(&self, ahead: i64) {
        self.0.call(&Command::Clock(ahead))
    }

    /// The certificate that is shown from now on.
    #[track_caller]
    pub fn certificate(&self, certificate: Certificate) {
        self.0.call(&Command::Certificate(certificate))
    }

    /// The certificate of the authority that all but a self-signed one are from, as PEM.
    #[track_caller]
    #[must_use]
    pub fn authority(&self) -> String {
        self.0.call(&Command::Authority)
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
    pub fn wait_request(
        &self,
        skip: usize,
        wanted: impl Fn(&HttpRequest) -> bool,
        limit: Duration,
    ) -> HttpRequest {
        self.0.wait_event(skip, wanted, limit)
    }
}

/// What the threads share.
struct Shared {
    mode: HttpMode,
    modes: BTreeMap<IpAddr, HttpMode>,
    certificate: Certificate,
    ahead: i64,
}

impl Shared {
    /// What this address answers to the next request.
    fn next(&mut self, server: IpAddr) -> HttpMode {
        let mode = self.modes.get_mut(&server).unwrap_or(&mut self.mode);
        match mode {
            HttpMode::Sequence(modes) if modes.len() > 1 => modes.remove(0),
            HttpMode::Sequence(modes) => modes.first().cloned().unwrap_or(HttpMode::Ok),
            mode => mode.clone(),
        }
    }
}

/// The role's life: a thread for each connection, and this one for commands.
pub(super) fn play() -> io::Result<()> {
    let shared = Shared {
        mode: HttpMode::Ok,
        modes: BTreeMap::new(),
        certificate: Certificate::Good,
        ahead: 0,
    };
    let shared = Arc::new(Mutex::new(shared));
    // Making keys takes a moment, and most tests have no use for them.
    let certificates: Arc<OnceLock<Certificates>> = Arc::default();
    for secure in [false, true] {
        // Also hears IPv4, as ::ffff:a.b.c.d.
        let listener = TcpListener::bind(if secure { "[::]:443" } else { "[::]:80" })?;
        let (shared, certificates) = (shared.clone(), certificates.clone());
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (shared, certificates) = (shared.clone(), certificates.clone());
                // A client that goes away ends its own thread only.
                thread::spawn(move || drop(accept(connection, secure, &shared, &certificates)));
            }
        });
    }
    let mut control = Control::ready()?;
    while let Some(commands) = control.read()? {
        for command in commands {
            match command {
                Command::Mode(Some(server), mode) => drop(lock(&shared).modes.insert(server, mode)),
                Command::Mode(None, mode) => {
                    let mut shared = lock(&shared);
                    shared.mode = mode;
                    shared.modes.clear();
                }
                Command::Clock(ahead) => lock(&shared).ahead = ahead,
                Command::Certificate(certificate) => lock(&shared).certificate = certificate,
                Command::Authority => {
                    ok(&certificates.get_or_init(Certificates::make).authority);
                    continue;
                }
            }
            ok(&());
        }
    }
    Ok(())
}

fn accept(
    connection: TcpStream,
    secure: bool,
    shared: &Mutex<Shared>,
    certificates: &OnceLock<Certificates>,
) -> io::Result<()> {
    let from = connection.peer_addr()?.ip().to_canonical();
    let server = connection.local_addr()?.ip().to_canonical();
    if !secure {
        return serve(connection, from, server, false, shared);
    }
    let plain =
        lock(shared).modes.get(&server).filter(|mode| matches!(mode, HttpMode::Plain(_))).cloned();
    if let Some(mode) = plain {
        return respond(&mut &connection, &mode, from);
    }
    let config = certificates.get_or_init(Certificates::make).config(lock(shared).certificate);
    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(tls, connection);
    let result = serve(&mut stream, from, server, true, shared);
    stream.conn.send_close_notify();
    let _ = stream.flush();
    result
}

fn serve(
    mut connection: impl Read + Write,
    from: IpAddr,
    server: IpAddr,
    secure: bool,
    shared: &Mutex<Shared>,
) -> io::Result<()> {
    let lines = BufReader::new(&mut connection).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|l| !l.is_empty()).collect();
    if head.is_empty() {
        return Ok(());
    }
    let empty = head.first().is_some_and(|line| line.starts_with("GET /generate_204 "));
    report(&HttpRequest { at_ns: monotonic_ns(), from, server, secure, head });
    let (mode, ahead) = {
        let mut shared = lock(shared);
        (shared.next(server), shared.ahead)
    };
    if empty && mode == HttpMode::Ok {
        let date = date(ahead);
        return connection.write_all(
            format!("HTTP/1.1 204 No Content\r\nDate: {date}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        );
    }
    respond(&mut connection, &mode, from)
}

fn respond(connection: &mut (impl Read + Write), mode: &HttpMode, from: IpAddr) -> io::Result<()> {
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
                connection.flush()?;
                thread::sleep(Duration::from_millis(1500));
            }
            Ok(())
        }
        HttpMode::Html => answer(connection, "200 OK", "<html>captive portal</html>"),
        HttpMode::Empty => answer(connection, "200 OK", ""),
        HttpMode::Error500 => answer(connection, "500 Internal Server Error", &address),
        HttpMode::V6 => answer(connection, "200 OK", "2001:db8::77\n"),
        HttpMode::Huge => {
            connection.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\nConnection: close\r\n\r\n",
            )?;
            let chunk = [b'9'; 50_000];
            (0..4000).try_for_each(|_| connection.write_all(&chunk))
        }
        HttpMode::Redirect(to) => {
            let head = format!(
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            connection.write_all(head.as_bytes())
        }
        HttpMode::Raw(body) => answer(connection, "200 OK", body),
        HttpMode::Reply(status, body) => answer(connection, &format!("{status} Status"), body),
        HttpMode::HeaderOnly => {
            let head = format!("X-Forwarded-For: {from}\r\nX-Real-IP: {from}\r\n");
            answer_with(connection, "200 OK", &head, "")
        }
        HttpMode::Trace => {
            let lines = [
                "fl=1f1",
                "h=x.test",
                &format!("ip={from}"),
                "ts=1.0",
                "visit_scheme=https",
                "warp=off",
            ];
            answer(connection, "200 OK", &format!("{}\n", lines.join("\n")))
        }
        HttpMode::Endless => {
            connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                connection.write_all(b" ")?;
                connection.flush()?;
                thread::sleep(Duration::from_millis(100));
            }
        }
        HttpMode::Drop => Ok(()),
        HttpMode::Plain(mode) => respond(connection, mode, from),
        HttpMode::Bytes(bytes) => connection.write_all(bytes.as_bytes()),
        HttpMode::Flood(start, again, pause) => {
            connection.write_all(start.as_bytes())?;
            loop {
                connection.write_all(again.as_bytes())?;
                connection.flush()?;
                thread::sleep(*pause);
            }
        }
        HttpMode::Sequence(modes) => {
            modes.first().map_or(Ok(()), |mode| respond(connection, mode, from))
        }
        HttpMode::After(delay, mode) => {
            thread::sleep(*delay);
            respond(connection, mode, from)
        }
    }
}

/// The time as servers tell it (RFC 9110, 5.6.7).
fn date(ahead: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let at = format!("@{}", i64::try_from(now).unwrap_or(0) + ahead);
    let date = std::process::Command::new("date")
        .env("LC_ALL", "C")
        .args(["-u", "-d", &at, "+%a, %d %b %Y %H:%M:%S GMT"])
        .output();
    date.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

fn answer(connection: &mut impl Write, status: &str, body: &str) -> io::Result<()> {
    answer_with(connection, status, "", body)
}

fn answer_with(
    connection: &mut impl Write,
    status: &str,
    header: &str,
    body: &str,
) -> io::Result<()> {
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n{header}Content-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(format!("{head}{body}").as_bytes())
}

/// An authority, and a certificate of each kind.
struct Certificates {
    authority: String,
    kinds: Vec<(Certificate, Arc<ServerConfig>)>,
}

impl Certificates {
    fn make() -> Self {
        const DAY: time::Duration = time::Duration::DAY;
        let authority_key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new([]).expect("an authority without names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "imon's lab");
        let authority = params.self_signed(&authority_key).expect("an authority can sign itself");
        let issuer = Issuer::new(params, authority_key);
        let now = time::OffsetDateTime::now_utc();
        let kinds = [
            Certificate::Good,
            Certificate::Expired,
            Certificate::NotYetValid,
            Certificate::SelfSigned,
            Certificate::WrongName,
        ];
        let kinds = kinds.map(|kind| {
            let names: Vec<String> = match kind {
                Certificate::WrongName => vec!["elsewhere.test".to_owned()],
                _ => NAMES
                    .iter()
                    .chain(&INTERNET)
                    .chain(&INTERNET_V6)
                    .map(ToString::to_string)
                    .collect(),
            };
            let mut params = CertificateParams::new(names).expect("names and addresses");
            (params.not_before, params.not_after) = match kind {
                Certificate::Expired => (now - DAY * 30, now - DAY),
                Certificate::NotYetValid => (now + DAY, now + DAY * 30),
                _ => (now - DAY, now + DAY * 30),
            };
            let key = KeyPair::generate().expect("a key can be made");
            let signed = match kind {
                Certificate::SelfSigned => params.self_signed(&key),
                _ => params.signed_by(&key, &issuer),
            };
            let der = signed.expect("it can be signed").der().clone();
            let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key in PKCS#8");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder =
                ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let builder = builder.expect("the usual versions").with_no_client_auth();
            (
                kind,
                Arc::new(
                    builder.with_single_cert(vec![der], key).expect("certificate and key fit"),
                ),
            )
        });
        Self { authority: authority.pem(), kinds: kinds.into() }
    }

    fn config(&self, kind: Certificate) -> Arc<ServerConfig> {
        let found = self.kinds.iter().find(|(k, _)| *k == kind).or(self.kinds.first());
        found.map(|(_, config)| config.clone()).expect("there is one of each kind")
    }
}
