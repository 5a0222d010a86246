//! One HTTP or HTTPS request.
//!
//! ureq blocks, and TLS is the largest and most exposed code that is linked: never to be called
//! from the loop, only by a process that does nothing else, owns nothing, and ends soon (see
//! `worker`).

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use ureq::config::Config;
use ureq::http::Uri;
#[cfg(feature = "tls")]
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
    time::Duration as Wait,
};
use ureq::{Agent, Error, Timeout};

use super::error_text;
use crate::base::time::RELEASED;
use crate::base::time::Wall;
use crate::kernel::path::Bound;
use crate::secret::Secrets;
use crate::web::TOO_LATE;

/// Size of each buffer, in bytes.
const BUFFER: usize = 8 * 1024;

/// Opens a socket whose packets leave by this path.
///
/// # Errors
/// As socket(2), `SO_BINDTODEVICE` (before Linux 5.7 only for those with `CAP_NET_RAW`), bind(2).
pub fn socket(bound: &Bound, to: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
    let from = bound.from.filter(|from| from.is_ipv4() == to.is_ipv4());
    if let Some(device) = &bound.device {
        match socket.bind_device(Some(device.as_bytes())) {
            // Routing rules lead by the address alone, too.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && from.is_some() => {}
            other => other?,
        }
    }
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    Ok(socket)
}

/// What is asked.
pub struct Get<'a> {
    /// `https://` or `http://`.
    pub url: &'a str,
    /// The addresses of its host.
    pub addresses: Vec<SocketAddr>,
    /// By which way.
    pub bound: &'a Bound,
    /// The value of the header `Authorization`.
    pub authorization: Option<String>,
    /// What no message may show.
    pub secrets: Secrets,
    /// Certificates to trust in place of the built-in ones, as PEM.
    pub roots: Option<&'a [u8]>,
    /// Longest body that is read, in bytes.
    pub longest: usize,
    /// For all of it.
    pub limit: Duration,
    /// The time, for judging certificates.
    pub now: Wall,
}

/// What was answered.
pub struct HttpAnswer {
    /// HTTP status.
    pub status: u16,
    /// The body; `None`: it is longer than that.
    pub body: Option<Vec<u8>>,
    /// Our own address on the way.
    pub local: Option<IpAddr>,
    /// The header `Location`,
    pub location: Option<String>,
    /// and `Date`.
    pub date: Option<String>,
}

/// A clock this long after it is most probably wrong, too.
const TOO_FAR: i64 = 20 * 366 * 86_400;

/// Asks. No proxy, no redirect is followed.
///
/// # Errors
/// What went wrong, for a person.
pub fn get(get: Get<'_>) -> Result<HttpAnswer, String> {
    let secure = get.url.starts_with("https://");
    if secure && !cfg!(feature = "tls") {
        // ureq would panic.
        return Err("this build of imon (nano) has no TLS: use an http:// or dns: source, or the full build".to_owned());
    }
    let local = Arc::new(Mutex::new(None));
    let config = Agent::config_builder()
        .timeout_global(Some(get.limit))
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("imon/", env!("CARGO_PKG_VERSION")))
        .accept("text/plain, */*")
        .max_response_header_size(BUFFER)
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER);
    #[cfg(feature = "tls")]
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(super::tls::provider());
    #[cfg(feature = "tls")]
    let tls = match get.roots {
        Some(pem) => {
            let items = parse_pem(pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            let roots: Vec<_> = items.collect();
            if roots.is_empty() {
                return Err("ca-file has no certificate in PEM format".to_owned());
            }
            tls.root_certs(RootCerts::new_with_certs(&roots))
        }
        None => tls,
    };
    #[cfg(feature = "tls")]
    let config = config.tls_config(tls.build());
    #[cfg(not(feature = "tls"))]
    let _ = get.roots;
    let connect = Connect { bound: get.bound.clone(), local: Arc::clone(&local) };
    #[cfg(feature = "tls")]
    let connect = connect.chain(ureq::unversioned::transport::RustlsConnector::default());
    let agent = Agent::with_parts(config.build(), connect, KnownHosts(get.addresses));
    let mut request = agent.get(get.url);
    if let Some(authorization) = get.authorization {
        request = request.header("authorization", authorization);
    }
    let in_words = |e: &Error| in_words(e, get.now, &get.secrets);
    let mut response = request.call().map_err(|e| in_words(&e))?;
    let status = response.status().as_u16();
    let header = |name: &str| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let (location, date) = (header("location"), header("date"));
    // One byte more than is allowed: the limit itself is an error for ureq.
    let body = match response.body_mut().with_config().limit(get.longest as u64 + 1).read_to_vec() {
        Ok(body) => Some(body).filter(|body| body.len() <= get.longest),
        Err(Error::BodyExceedsLimit(_)) => None,
        Err(e) => return Err(in_words(&e)),
    };
    let local = *local.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(HttpAnswer { status, body, local, location, date })
}

/// An error without the URL, which may have a secret in it.
fn in_words(e: &Error, now: Wall, secrets: &Secrets) -> String {
    let mut foreign = false;
    let text = match e {
        Error::Timeout(_) => TOO_LATE.to_owned(),
        Error::BadUri(_) => "the URL is not a good one".to_owned(),
        Error::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            "connection refused".to_owned()
        }
        Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed without an answer".to_owned()
        }
        Error::Io(e) if e.raw_os_error().is_some() => error_text(e),
        Error::Protocol(_) | Error::LargeResponseHeader(..) => e.to_string(),
        // Of TLS, with the names in the other's certificate.
        e => {
            foreign = true;
            if let Error::Io(e) = e { error_text(e) } else { e.to_string() }
        }
    };
    let (early, late) = (text.contains("not valid yet"), text.contains("certificate expired"));
    let odd = now.secs < RELEASED || now.secs > RELEASED + TOO_FAR;
    if odd && (early || late) {
        return format!(
            "this system's clock is wrong ({now}), so no certificate can be checked: set it (NTP)"
        );
    }
    match text {
        _ if late => "the certificate has expired".to_owned(),
        _ if early => "the certificate is not valid yet".to_owned(),
        text if text.contains("UnknownIssuer") => {
            "the certificate is from an unknown issuer".to_owned()
        }
        text if text.contains("not valid for name") => {
            "the certificate is for another name".to_owned()
        }
        text if foreign => secrets.hide(&text),
        text => text,
    }
}

/// Addresses that were looked up before: ureq's own resolver would start a thread.
struct KnownHosts(Vec<SocketAddr>);

impl Resolver for KnownHosts {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        // It has room for 16.
        self.0.iter().take(8).for_each(|address| found.push(*address));
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

/// Connects by a given way.
#[derive(Debug)]
struct Connect {
    bound: Bound,
    local: Arc<Mutex<Option<IpAddr>>>,
}

impl Connector<()> for Connect {
    type Out = Stream;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Stream>, Error> {
        let mut last = Error::HostNotFound;
        let count = u32::try_from(details.addrs.len()).unwrap_or(1).max(1);
        for address in &details.addrs {
            // Each gets its share.
            let wait = details.timeout.not_zero().map_or(Duration::from_secs(5), |t| *t) / count;
            let connected =
                socket(&self.bound, *address, Type::STREAM, Protocol::TCP).and_then(|socket| {
                    socket.connect_timeout(&(*address).into(), wait)?;
                    socket.set_tcp_nodelay(true)?;
                    Ok(TcpStream::from(socket))
                });
            match connected {
                Ok(stream) => {
                    let ours = stream.local_addr().ok().map(|address| address.ip());
                    *self.local.lock().unwrap_or_else(PoisonError::into_inner) = ours;
                    let buffers = LazyBuffers::new(
                        details.config.input_buffer_size(),
                        details.config.output_buffer_size(),
                    );
                    return Ok(Some(Stream { stream, buffers }));
                }
                Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                    last = Error::Timeout(Timeout::Connect)
                }
                Err(e) => last = Error::Io(e),
            }
        }
        Err(last)
    }
}

/// A connection.
struct Stream {
    stream: TcpStream,
    buffers: LazyBuffers,
}

/// ureq wants it; nobody looks.
impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

/// The same.
impl std::fmt::Debug for KnownHosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known")
    }
}

/// The time left, for a socket option; 0 would mean for ever.
fn left(timeout: &NextTimeout) -> Result<Option<Duration>, Error> {
    match timeout.after {
        Wait::NotHappening => Ok(None),
        Wait::Exact(left) if left.is_zero() => Err(Error::Timeout(timeout.reason)),
        Wait::Exact(left) => Ok(Some(left.max(Duration::from_millis(1)))),
    }
}

fn failed(e: io::Error, timeout: &NextTimeout) -> Error {
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(e),
    }
}

impl Transport for Stream {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(left(&timeout)?)?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(|e| failed(e, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(left(&timeout)?)?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match self.stream.read(input) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|e| failed(e, &timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // One request, one connection.
        false
    }
}

/// Our own address towards another: what the kernel would choose. Nothing is sent.
#[must_use]
pub fn local_towards(bound: &Bound, to: IpAddr) -> Option<IpAddr> {
    let to = SocketAddr::new(to, 53);
    let socket = socket(bound, to, Type::DGRAM, Protocol::UDP).ok()?;
    socket.connect(&to.into()).ok()?;
    Some(socket.local_addr().ok()?.as_socket()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_clock_is_told_in_place_of_the_certificate() {
        let at = |secs| Wall { secs, nanos: 0 };
        let expired = || {
            Error::Io(io::Error::other(
                "invalid peer certificate: certificate expired: verification time",
            ))
        };
        let early = || {
            Error::Io(io::Error::other(
                "invalid peer certificate: certificate not valid yet: verification",
            ))
        };
        assert!(
            in_words(&early(), at(0), &Secrets::default()).contains("clock is wrong (1970-01-01")
        );
        assert!(
            in_words(&expired(), at(RELEASED + TOO_FAR + 1), &Secrets::default())
                .contains("clock is wrong")
        );
        assert_eq!(
            in_words(&expired(), at(RELEASED + 1), &Secrets::default()),
            "the certificate has expired"
        );
        assert_eq!(
            in_words(&early(), at(RELEASED + 1), &Secrets::default()),
            "the certificate is not valid yet"
        );
    }
}
