//! Web servers: their pages, and their answers byte by byte; and the secrets that they may repeat.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{Input, assert_clean, parts};
use imon::addr::family::Family;
use imon::base::time::{self, Wall};
use imon::kernel::path::Bound;
use imon::monitor::ddns::answer::{self, LONGEST};
use imon::monitor::ddns::update::{AnswerReading, UpdateOutcome, outcome};
use imon::secret::mask::HIDDEN;
use imon::secret::{Secrets, WITHHELD};
use imon::sys::http::{self, Get};
use imon::web;

const SECRET: &str = "Zq7xTokenZ9kk3";

pub(super) const PAGE_WORDS: &[&str] = &[
    "203.0.113.1",
    "2001:db8::1",
    "2a00::1",
    "good ",
    "nochg",
    "badauth",
    "911",
    "ip=",
    "fl=1f2\n",
    "192.168.1.1",
    "127.0.0.1",
    SECRET,
    "\n",
    "20010db8000000000000000000000002 03 40 00 80     eth0\n",
    "::ffff:1.1.1.1",
    "Zq7x%54okenZ9kk3",
];

/// Pages that tell an address, answers of providers, and the kernel's table of IPv6 addresses.
pub(super) fn pages(data: &[u8]) {
    let mut input = Input(data);
    let form = input.byte();
    let family = if form & 1 == 0 { Family::V4 } else { Family::V6 };
    let body = input.0;
    for found in [answer::address(body, family), answer::trace(body, family)] {
        match found {
            Ok(address) => {
                assert!(
                    family.has(address)
                        && !address.is_loopback()
                        && !address.is_multicast()
                        && !address.is_unspecified()
                );
                assert!(
                    body.len() <= 2048
                        && String::from_utf8_lossy(body)
                            .contains(&['.', ':'][usize::from(form & 1)].to_string())
                );
            }
            Err(refusal) => assert_clean(&refusal.to_string()),
        }
    }
    let table = String::from_utf8_lossy(body);
    let own = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    assert!(answer::stable_v6(&table, own).is_none_or(|found| found.segments()[0] >> 13 == 1));
    let address: IpAddr = if form & 1 == 0 { [203, 0, 113, 1].into() } else { own.into() };
    let secrets = Secrets::of("https://h.example/u", SECRET);
    let status = [200, 204, 302, 401, 500, 999][usize::from(form >> 1) % 6];
    for reading in [
        AnswerReading::DynDns2,
        AnswerReading::Whole(vec!["OK".to_owned()]),
        AnswerReading::Whole(vec![]),
    ] {
        match outcome(&reading, status, body, address, &secrets) {
            UpdateOutcome::Done => {}
            UpdateOutcome::Failed(why) | UpdateOutcome::Stop(why) | UpdateOutcome::Wait(_, why) => {
                assert_clean(&why);
                // 40 characters, each of them perhaps as an escape.
                assert!(why.chars().count() < 100 + 40 * 10, "{why}");
                assert!(!why.contains(SECRET), "{why}");
            }
        }
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }
        })
        .collect()
}

fn each(text: &str, spell: impl Fn(u32) -> String) -> String {
    text.chars().map(|c| spell(c.into())).collect()
}

/// A spelling of a secret, with the most characters that one byte of it takes.
fn spelled(secret: &str, form: u8) -> (String, usize) {
    let bytes = |spell: fn(u8) -> String| secret.bytes().map(spell).collect::<String>();
    match form % 16 {
        0 => (secret.to_owned(), 1),
        1 => (secret.to_ascii_uppercase(), 1),
        2 => (encoded(secret), 3),
        3 => (encoded(&encoded(secret)), 5),
        4 => (bytes(|b| format!("%{b:02x}")), 3),
        5 => (each(secret, |c| format!("\\u{c:04x}")), 6),
        6 => (serde_json::to_string(secret).unwrap(), 2),
        7 => (each(secret, |c| format!("&#{c};")), 7),
        8 => (each(secret, |c| format!("&#x{c:X};")), 7),
        9 => (bytes(|b| format!("{b:02x}")), 2),
        10 => (bytes(|b| format!("{b:02X}:")), 3),
        11 => (STANDARD.encode(secret), 2),
        12 => (STANDARD.encode(format!("me:{secret}")), 2),
        13 => (URL_SAFE_NO_PAD.encode(format!("abc={secret}&d=e")), 2),
        14 => (bytes(|b| format!("\\x{b:02x}")), 4),
        _ => (secret.chars().skip(secret.chars().count() / 4).collect(), 1),
    }
}

/// A secret, and what stands before and behind it in a text: no piece of it is left in any
/// spelling. And any text.
pub(super) fn secrets(data: &[u8]) {
    let mut input = Input(data);
    let form = input.byte();
    let [secret, before, after] =
        parts::<3>(input.0).map(|text| String::from_utf8_lossy(text).into_owned());
    // Printable ASCII, without blanks and `+`, which do not count.
    let secret: String =
        secret.chars().filter(|c| c.is_ascii_graphic() && *c != '+').take(64).collect();
    // What stands around it is whole words: an escape that is cut in two is nobody's spelling.
    let word = |text: &str| -> String {
        text.chars()
            .filter(|c| {
                matches!(c, 'g'..='z' | ' ' | '\n' | '=' | ':' | '\'' | '<' | '>' | ',' | '.')
            })
            .take(40)
            .collect()
    };
    let any = format!("{before}{after}");
    let hiding = Secrets::of("https://h.example/u?ip=203.0.113.1", &secret);
    let shown = hiding.hide(&any);
    assert!(shown.len() <= any.len() + HIDDEN.len() * (any.len() + 1) || shown == WITHHELD);
    assert_eq!(Secrets::default().hide(&any), any);
    assert!(secret.chars().count() < 6 || !shown.contains(&secret), "{shown:?}");
    let letters = secret.chars().filter(char::is_ascii_alphanumeric).count();
    if secret.chars().count() < 8 || letters < 6 {
        return;
    }
    let (spelled, widest) = spelled(&secret, form);
    let shown = hiding.hide(&format!("{}{spelled}{}", word(&before), word(&after)));
    let chars: Vec<char> = spelled.chars().collect();
    for piece in chars.windows(6 * widest.max(2)) {
        let piece: String = piece.iter().collect();
        assert!(
            !shown.contains(&piece),
            "spelling {} of {secret:?}: {piece:?} is left in {shown:?}",
            form % 16
        );
    }
    assert!(
        shown.contains(HIDDEN) || shown == WITHHELD,
        "spelling {} of {secret:?}: {shown:?}",
        form % 16
    );
}

pub(super) const HTTP_WORDS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 302 Found\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "Content-Length: 12\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Location: http://x/\r\n",
    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    "\r\n\r\n",
    "ffffffffffffffff\r\n",
    "0\r\n\r\n",
    "Connection: close\r\n",
    SECRET,
    ":",
    "204",
];

/// A server on this machine that says to whoever asks what it is told to say.
struct Server {
    address: SocketAddr,
    saying: Arc<Mutex<Vec<u8>>>,
    turns: u8,
}

impl Server {
    fn start() -> Mutex<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let saying = Arc::new(Mutex::new(Vec::new()));
        let says = Arc::clone(&saying);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let answer = says.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let (mut heard, mut buffer) = (Vec::<u8>::new(), [0; 1024]);
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(n @ 1..) => heard.extend(&buffer[..n]),
                        _ => break,
                    }
                }
                let _ = stream.write_all(&answer);
                let _ = stream.shutdown(Shutdown::Write);
                // Until the other end has gone: who closes with something unread takes what was
                // said back.
                while matches!(stream.read(&mut buffer), Ok(1..)) {}
            }
        });
        Mutex::new(Self { address, saying, turns: 0 })
    }
}

/// The answer of a web server, as a worker reads it.
pub(super) fn http(data: &[u8]) {
    static SERVER: OnceLock<Mutex<Server>> = OnceLock::new();
    let mut server =
        SERVER.get_or_init(Server::start).lock().unwrap_or_else(PoisonError::into_inner);
    data.clone_into(&mut server.saying.lock().unwrap_or_else(PoisonError::into_inner));
    // A source of its own for each, in turn: there are only so many ports.
    server.turns = server.turns.wrapping_add(1);
    let bound = Bound { device: None, from: Some(Ipv4Addr::new(127, 0, 1, server.turns).into()) };
    let url = format!("http://{}/u?token={SECRET}", server.address);
    let answer = http::get(Get {
        url: &url,
        addresses: vec![server.address],
        bound: &bound,
        authorization: Some(format!("Basic {SECRET}")),
        secrets: Secrets::of(&url, ""),
        roots: None,
        longest: LONGEST,
        limit: Duration::from_secs(20),
        now: Wall { secs: 1_795_478_400, nanos: 0 },
    });
    match answer {
        Ok(answer) => {
            assert!((100..1000).contains(&answer.status));
            assert!(answer.body.is_none_or(|body| body.len() <= LONGEST));
            assert_eq!(answer.local, bound.from);
            for text in [&answer.location, &answer.date].into_iter().flatten() {
                assert!(text.len() <= data.len());
                let _ = time::http_date(text);
            }
        }
        Err(why) => {
            assert_clean(&why);
            assert!(!why.contains(SECRET) && why.len() < 500, "{why}");
            assert_ne!(why, web::TOO_LATE, "the answer has ended, and it waits");
        }
    }
}
