//! Packets from the network: ICMP, frames, DNS.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

use super::Input;
use imon::base::time::Instant;
use imon::wire::dns::{
    self, Class, DnsQuestion, MAX_MESSAGE, MAX_RECORDS, Name, Rcode, RecordType, Reject,
};
use imon::wire::frame::{self, Answered, Knock};
use imon::wire::icmp::{Codec, REQUEST, Received, Token};

type Fixed = BuildHasherDefault<DefaultHasher>;

const ME: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 2);
const HOST: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 0x1111);

/// The internet checksum (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum = words.fold(0_u32, |sum, word| sum.wrapping_add(word));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn put_sum(icmp: &mut [u8]) {
    if icmp.len() >= 4 {
        icmp[2..4].fill(0);
        let sum = sum(icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

fn ip4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = frame::icmp4(from, to, payload);
    packet[9] = protocol;
    packet
}

/// Arbitrary bytes, and answers to a probe with arbitrary changes. A probe is never taken for
/// another one: what is heard as the answer to a probe has its whole payload in it.
pub(super) fn icmp(data: &[u8]) {
    let mut input = Input(data);
    let form = input.byte();
    let codec = Codec::new(0x1234, Fixed::default());
    let token = Token {
        owner: 7,
        check: input.long(),
        index: input.word(),
        sent: Instant::from_nanos(input.long().into()),
    };
    let v6 = form & 1 != 0;
    let to: IpAddr = if v6 { HOST6.into() } else { HOST.into() };
    let size = if form & 2 == 0 { REQUEST } else { usize::from(input.word()) % 1500 };
    let request = codec.request_of(to, &token, size);
    assert!(
        request.len() == size.max(REQUEST)
            && request[..4] == codec.request_of(to, &token, size)[..4]
    );
    let mut message = match form >> 2 & 3 {
        // A reply.
        0 => [&[if v6 { 129 } else { 0 }], &request[1..]].concat(),
        // An error that quotes the request.
        1 => {
            let [kind, code] = [input.byte(), input.byte()];
            let quoted = if v6 {
                let mut head = vec![0x60, 0, 0, 0, 0, 40, 58, 64];
                head.extend(Ipv6Addr::LOCALHOST.octets());
                head.extend(HOST6.octets());
                [head, request.clone()].concat()
            } else {
                frame::icmp4(ME, HOST, &request)
            };
            [vec![kind, code, 0, 0, 0, 0, 0, 0], quoted].concat()
        }
        // Anything.
        _ => input.take(usize::MAX).to_vec(),
    };
    if !v6 {
        put_sum(&mut message);
    }
    let raw = form & 0x10 != 0 && !v6;
    let mut packet = if raw { frame::icmp4(HOST, ME, &message) } else { message };
    let changed = input.edit(&mut packet);
    if form & 0x20 != 0 && !v6 {
        put_sum(if raw { packet.get_mut(20..).unwrap_or_default() } else { &mut packet });
    }
    let hear = |packet: &[u8]| match () {
        () if raw => codec.heard_ip4(packet),
        () if v6 => codec.heard_icmp6(HOST6, packet),
        () => codec.heard_icmp4(HOST, packet),
    };
    let heard = hear(&packet);
    if form >> 2 & 3 == 0 && !changed {
        assert_eq!(heard, Some(Received::Reply(token)), "the true reply is not heard");
    }
    let inner = packet.get(if raw { 20 } else { 0 }..).unwrap_or_default();
    match heard {
        Some(Received::Reply(token)) => assert_has_payload(&packet, &codec.request(to, &token)),
        Some(Received::Failed(token, error)) => {
            let quoted_to: IpAddr = if v6 {
                Ipv6Addr::from(<[u8; 16]>::try_from(&inner[32..48]).unwrap()).into()
            } else {
                Ipv4Addr::from(<[u8; 4]>::try_from(&inner[24..28]).unwrap()).into()
            };
            // A raw packet with options has its message further behind.
            if !raw || packet[0] == 0x45 {
                assert_has_payload(&packet, &codec.request(quoted_to, &token));
            }
            assert!(error.to_string().len() < 200);
        }
        Some(Received::Hint(_, error)) => assert!(error.to_string().len() < 200),
        None => {}
    }
    // Somebody else's eyes see nothing of ours in it.
    let other = Codec::new(0x1235, Fixed::default());
    assert!(
        !matches!(other.heard_ip4(&packet), Some(Received::Reply(_) | Received::Failed(..)))
            || changed
            || form >> 2 & 3 > 1
    );
    let error = imon::wire::icmp::IcmpError { what: "x", from: to };
    if let Some(Received::Failed(token, _)) = codec.quoted(to, &packet, error) {
        assert_has_payload(&packet, &codec.request(to, &token));
    }
}

fn assert_has_payload(packet: &[u8], request: &[u8]) {
    // Its last bytes mean nothing.
    let payload = &request[8..8 + 26];
    assert!(
        packet.windows(payload.len()).any(|window| window == payload),
        "it is no probe of ours: {packet:x?}"
    );
}

/// Answers to a question of ARP and to the beginning of a connection. Who does not know its number
/// is not heard.
pub(super) fn frames(data: &[u8]) {
    let mut input = Input(data);
    let form = input.byte();
    let knock = Knock {
        from: SocketAddrV4::new(ME, 40_000),
        to: SocketAddrV4::new(HOST, 443),
        number: 0x1234_5678,
    };
    let hardware = [2, 0, 0, 0, 0, 1];
    let request = knock.request();
    let end = knock.end();
    assert!(
        sum(&request[..20]) == 0 && sum(&end[..20]) == 0 && request.len() == 44 && end.len() == 40
    );
    let mut answer = match form & 7 {
        0 => {
            let mut reply = frame::arp_request(hardware, ROUTER, ME);
            reply[7] = 2;
            reply
        }
        kind @ 1..=3 => {
            let mut tcp = vec![0; 20];
            tcp[0..2].copy_from_slice(&443_u16.to_be_bytes());
            tcp[2..4].copy_from_slice(&40_000_u16.to_be_bytes());
            tcp[8..12].copy_from_slice(&knock.number.wrapping_add(1).to_be_bytes());
            tcp[12] = 5 << 4;
            tcp[13] = [0x12, 0x14, input.byte()][usize::from(kind) - 1];
            ip4(HOST, ME, 6, &tcp)
        }
        4 => {
            let [kind, code] = [input.byte(), input.byte()];
            frame::icmp4(ROUTER, ME, &[&[kind, code, 0, 0, 0, 0, 0, 0], &request[..]].concat())
        }
        _ => input.take(usize::MAX).to_vec(),
    };
    let changed = input.edit(&mut answer);
    let heard = knock.heard(&answer);
    let wanted = match form & 7 {
        1 => Some(Answered::Open),
        2 => Some(Answered::Closed),
        _ => None,
    };
    assert!(
        changed || wanted.is_none() || heard == wanted,
        "the true answer is not heard: {heard:?}"
    );
    if let Some(heard) = heard {
        // The flags, whatever is cut off behind them.
        assert!(answer.len() >= 34 || matches!(heard, Answered::Failed(_)));
        let other = Knock { number: knock.number ^ 1, ..knock };
        assert_eq!(other.heard(&answer), None, "whoever guesses is heard");
    }
    match frame::arp_reply(&answer, ME) {
        Some((address, found)) => {
            assert!(
                answer.len() >= 28 && answer[8..14] == found && answer[14..18] == address.octets()
            );
        }
        None => assert!(changed || form & 7 != 0),
    }
}

/// Names, questions, and answers with the right id and question before arbitrary records.
pub(super) fn dns(data: &[u8]) {
    let mut input = Input(data);
    let form = input.byte();
    let kind = [RecordType::A, RecordType::Aaaa, RecordType::Txt][usize::from(form & 3) % 3];
    let class = if form & 4 == 0 { Class::In } else { Class::Ch };
    let length = usize::from(input.byte());
    let text = String::from_utf8_lossy(input.take(length)).into_owned();
    let name = match Name::parse(&text) {
        Ok(name) => {
            let bytes = name.as_bytes();
            assert!((3..=255).contains(&bytes.len()) && bytes.last() == Some(&0));
            if !text.contains('\\') {
                assert_eq!(Name::parse(&name.to_string()), Ok(name), "{text:?}");
                assert_eq!(
                    name.to_string(),
                    text.strip_suffix('.').unwrap_or(&text).to_ascii_lowercase()
                );
            }
            name
        }
        Err(e) => {
            assert!(!e.to_string().is_empty());
            Name::parse("www.example.com").unwrap()
        }
    };
    let question = DnsQuestion { name, kind, class };
    let mut asked = Vec::new();
    dns::query(0x1234, &question, &mut asked);
    assert!(asked.len() <= 271 && dns::response(&asked, 0x1234, &question).is_err());
    let mut message = if form & 8 == 0 {
        let mut message = asked.clone();
        message[2..8].copy_from_slice(&[
            0x81,
            form & 0x80 | input.byte() & 0x0f,
            0,
            1,
            0,
            input.byte() & 31,
        ]);
        message.extend(input.0);
        message
    } else {
        input.0.to_vec()
    };
    if form & 0x10 != 0 {
        message.resize(message.len().max(usize::from(form) * 24), 0);
    }
    match dns::response(&message, 0x1234, &question) {
        Ok(answer) => {
            assert!(message.len() <= MAX_MESSAGE);
            assert!(answer.addresses.len() <= MAX_RECORDS && answer.texts.len() <= MAX_RECORDS);
            assert!(answer.texts.iter().all(|text| text.len() < message.len()));
            assert!(
                answer
                    .addresses
                    .iter()
                    .all(|a| a.is_ipv6() == (kind == RecordType::Aaaa) && kind != RecordType::Txt)
            );
            assert!(answer.texts.is_empty() || kind == RecordType::Txt);
            let mut once = answer.addresses.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), answer.addresses.len(), "an address comes twice");
            assert!(answer.ttl <= u32::MAX / 2);
            let found = !answer.addresses.is_empty() || !answer.texts.is_empty();
            assert!(found || answer.ttl == 0);
            assert!(answer.rcode == Rcode::NOERROR || !found);
            assert!(matches!(dns::response(&message, 0x1235, &question), Err(Reject::Mismatch(_))));
            let other = DnsQuestion { name: Name::parse("other.example.com").unwrap(), ..question };
            assert!(name == other.name || dns::response(&message, 0x1234, &other).is_err());
        }
        Err(e) => assert!(e.to_string().len() < 200),
    }
}
