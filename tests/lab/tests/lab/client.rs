//! Small clients that run inside a lab: this program again, with `--client WHAT`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use imon_lab::roles::Ping;
use imon_lab::{Lab, Proc};

const FLAG: &str = "--client";
const LIMIT: Duration = Duration::from_secs(20);

/// Plays a client and does not return, when this process was started as one.
pub(crate) fn intercept() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        [FLAG, "udp", to, query] => udp(to, query),
        [FLAG, "http", to] => http(to),
        [FLAG, "log", ref texts @ ..] => log(texts),
        [FLAG, "flood-log"] => flood_log(),
        [FLAG, "hold-a-lab"] => hold_a_lab(),
        [FLAG, "ping-in-a-lab"] => ping_in_a_lab(),
        [FLAG, "signals"] => signals(),
        _ => return,
    }
    std::process::exit(0);
}

/// Starts a client in a namespace.
pub(crate) fn start(lab: &Lab, ns: &str, args: &[&str]) -> Proc {
    let this = std::env::current_exe().unwrap();
    lab.spawn(ns, this, [FLAG].iter().chain(args))
}

/// Runs a client in a namespace and returns what it printed.
pub(crate) fn run(lab: &Lab, ns: &str, args: &[&str]) -> Vec<String> {
    let client = start(lab, ns, args);
    assert!(client.wait(LIMIT).success(), "{:?}\n{}", client.texts(), lab.timeline());
    client.texts()
}

/// Sends a query (in hexadecimal) and prints who answered what, or `nothing` after 300 ms.
fn udp(to: &str, query: &str) {
    let to: SocketAddr = to.parse().unwrap();
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    let digits: Vec<u32> = query.chars().map(|c| c.to_digit(16).unwrap()).collect();
    let query: Vec<u8> =
        digits.chunks(2).map(|d| u8::try_from(d[0] * 16 + d[1]).unwrap()).collect();
    socket.send_to(&query, to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut buffer = [0; 4096];
    match socket.recv_from(&mut buffer) {
        Ok((n, from)) => {
            let hex: String = buffer[..n].iter().map(|b| format!("{b:02x}")).collect();
            println!("{from} {hex}");
        }
        Err(_) => println!("nothing"),
    }
}

/// Prints status line and body, or `nothing` after 300 ms of silence.
fn http(to: &str) {
    let mut connection = TcpStream::connect(to).unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\nHost: whatismyip.test\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    if connection.read_to_end(&mut bytes).is_err() && bytes.is_empty() {
        return println!("nothing");
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    println!("{}\n{body}", head.lines().next().unwrap());
}

/// Sends each text as a message to /dev/log and prints what became of it.
fn log(texts: &[&str]) {
    let socket = UnixDatagram::unbound().unwrap();
    for text in texts {
        match socket.send_to(text.as_bytes(), "/dev/log") {
            Ok(_) => println!("sent"),
            Err(e) => println!("{:?}", e.kind()),
        }
    }
}

/// Sends messages until no more fit, and prints how many that were.
fn flood_log() {
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_nonblocking(true).unwrap();
    let sent =
        (0..100_000).take_while(|_| socket.send_to(b"<14>once more", "/dev/log").is_ok()).count();
    println!("{sent}");
}

/// Builds a lab, fills it with life, says so, and waits to be killed.
fn hold_a_lab() {
    let lab = Lab::new();
    let _dns = lab.dns();
    let _responder = lab.responder("inet");
    let _sleeper = lab.spawn("router", "sleep", ["1000"]);
    println!("ready {}", lab.keeper_pid());
    loop {
        std::thread::park();
    }
}

/// Builds a lab and uses a bit of everything that needs privileges inside.
fn ping_in_a_lab() {
    let lab = Lab::builder().wire(imon_lab::Wan::One).up();
    let _wire = lab.wire(imon_lab::Wan::One);
    let _responder = lab.responder("inet");
    let (_dns, _http, _syslog) = (lab.dns(), lab.http(), lab.syslog());
    lab.write("/etc/default/imon-x", "{}");
    assert_eq!(lab.sh("router", "cat /etc/default/imon-x; echo hello >/run/imon-was-here"), "{}");
    assert!(lab.spawn("router", "sleep", ["9"]).usage().rss_kib > 0);
    for to in ["1.1.1.1", "2606:4700:4700::1111"] {
        assert_eq!(lab.ping("lan", &Ping::new(to)).answered(to), 1, "{to}\n{}", lab.timeline());
    }
    println!(
        "works for uid {}",
        lab.sh("router", "cat /proc/self/uid_map").split_whitespace().nth(1).unwrap()
    );
}

/// Prints which of the first three signals (a bit each) are ignored here and in a lab's programs.
fn signals() {
    let ignored = |status: &str| {
        let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & 7
    };
    let own = ignored(&std::fs::read_to_string("/proc/self/status").unwrap());
    let inside = ignored(&Lab::new().sh("router", "cat /proc/self/status"));
    println!("ignored by the test {own}, by the program {inside}");
}
