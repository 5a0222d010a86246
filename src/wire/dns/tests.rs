use super::*;
use crate::base::random::Random;

const ID: u16 = 0x1234;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn ask(text: &str, kind: RecordType) -> DnsQuestion {
    DnsQuestion { name: name(text), kind, class: Class::In }
}

/// A response under construction. Written apart from the code under test, so that both would have
/// to be wrong alike.
struct Message(Vec<u8>);

impl Message {
    fn new(flags: u16, question: &str, kind: u16) -> Self {
        let mut m = vec![0x12, 0x34, (flags >> 8) as u8, flags as u8, 0, 1, 0, 0, 0, 0, 0, 0];
        m.extend(wire(question));
        m.extend([0, kind as u8, 0, 1]);
        Self(m)
    }

    fn raw(mut self, owner: &[u8], kind: u8, class: u8, ttl: u32, data: &[u8]) -> Self {
        let count = u16::from_be_bytes([self.0[6], self.0[7]]) + 1;
        self.0[6..8].copy_from_slice(&count.to_be_bytes());
        self.0.extend(owner);
        self.0.extend([0, kind, 0, class]);
        self.0.extend(ttl.to_be_bytes());
        self.0.extend((data.len() as u16).to_be_bytes());
        self.0.extend(data);
        self
    }

    fn a(self, owner: &str, ttl: u32, address: [u8; 4]) -> Self {
        self.raw(&wire(owner), 1, 1, ttl, &address)
    }

    fn cname(self, owner: &str, ttl: u32, target: &str) -> Self {
        self.raw(&wire(owner), 5, 1, ttl, &wire(target))
    }

    fn read(&self, question: &DnsQuestion) -> Result<DnsAnswer, Reject> {
        response(&self.0, ID, question)
    }
}

fn wire(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|l| !l.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn ip(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

#[test]
fn a_query_has_the_bytes_rfc_1035_wants() {
    let mut out = vec![9; 3];
    query(0xabcd, &ask("Example.COM.", RecordType::Aaaa), &mut out);
    assert_eq!(out, b"\xab\xcd\x01\x00\x00\x01\0\0\0\0\0\0\x07example\x03com\0\x00\x1c\x00\x01");
    query(
        1,
        &DnsQuestion { name: name("whoami.cloudflare"), kind: RecordType::Txt, class: Class::Ch },
        &mut out,
    );
    assert_eq!(
        out,
        b"\0\x01\x01\x00\x00\x01\0\0\0\0\0\0\x06whoami\x0acloudflare\0\x00\x10\x00\x03"
    );
}

#[test]
fn names_keep_to_the_limits() {
    let label = "x".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "y".repeat(61));
    assert_eq!(longest.len(), 253);
    assert_eq!(name(&longest).as_bytes().len(), 255);
    assert_eq!(name(&longest).to_string(), longest);
    assert_eq!(Name::parse(&format!("{longest}y")), Err(NameError::LongName));
    assert_eq!(Name::parse(&format!("x{label}.example")), Err(NameError::LongLabel));
    assert_eq!(Name::parse("."), Err(NameError::Empty));
    assert_eq!(Name::parse(""), Err(NameError::Empty));
    assert_eq!(Name::parse("a..b"), Err(NameError::EmptyLabel));
    assert_eq!(Name::parse("a.."), Err(NameError::EmptyLabel));
    assert_eq!(Name::parse("a b"), Err(NameError::Character));
    assert_eq!(Name::parse("bücher.example"), Err(NameError::Character));
    assert_eq!(name("ONE.one"), name("one.ONE."));
    assert_ne!(name("one"), name("one.one"));
}

#[test]
fn a_strange_name_cannot_forge_text() {
    let mut n = Name::ROOT;
    n.push(b"a.b\n").unwrap();
    n.push(b"C\\").unwrap();
    assert_eq!(n.to_string(), "a\\.b\\010.c\\\\");
    assert_eq!(Name::ROOT.to_string(), ".");
}

#[test]
fn a_real_answer_with_compression() {
    // www.example.com A: an alias and two addresses, every name but the first compressed.
    let bytes = crate::selftest::DNS_ANSWER;
    let answer = response(bytes, ID, &ask("www.example.com", RecordType::A)).unwrap();
    assert_eq!(answer.rcode, Rcode::NOERROR);
    assert_eq!(answer.addresses, [ip(203, 0, 113, 5), ip(203, 0, 113, 6)]);
    assert_eq!(answer.ttl, 60);
    assert!(!answer.truncated && !answer.referral);
}

#[test]
fn an_answer_to_somebody_else_is_not_ours() {
    let q = ask("example.com", RecordType::A);
    let good = || Message::new(0x8180, "example.com", 1).a("example.com", 60, [1, 2, 3, 4]);
    assert!(good().read(&q).is_ok());
    assert!(
        Message::new(0x8180, "EXAMPLE.com", 1).a("eXample.com", 60, [1, 2, 3, 4]).read(&q).is_ok()
    );
    let mismatch = |m: &[u8], what: &str| {
        assert!(matches!(response(m, ID, &q), Err(Reject::Mismatch(_))), "{what}");
    };
    mismatch(&good().0[..11], "short");
    mismatch(&good().0[..20], "question cut short");
    let with = |at: usize, byte: u8| {
        let mut m = good().0;
        m[at] = byte;
        m
    };
    mismatch(&with(0, 0x13), "id");
    mismatch(&with(2, 0x01), "a query");
    mismatch(&with(2, 0x81 | 0x20), "opcode");
    mismatch(&with(5, 0), "no question");
    mismatch(&with(5, 2), "two questions");
    mismatch(&Message::new(0x8180, "example.org", 1).0, "name");
    mismatch(&Message::new(0x8180, "com", 1).0, "shorter name");
    mismatch(&Message::new(0x8180, "example.com", 28).0, "type");
    assert!(matches!(
        response(&good().0, ID, &DnsQuestion { class: Class::Ch, ..q }),
        Err(Reject::Mismatch(_))
    ));
}

#[test]
fn verdicts_come_without_addresses() {
    let q = ask("example.com", RecordType::A);
    for code in 1..16 {
        let answer = Message::new(0x8180 | code, "example.com", 1)
            .a("example.com", 60, [1, 2, 3, 4])
            .read(&q)
            .unwrap();
        assert_eq!(u16::from(answer.rcode.0), code);
        assert_eq!((answer.addresses.len(), answer.ttl), (0, 0));
    }
    let empty = Message::new(0x8180, "example.com", 1).read(&q).unwrap();
    assert_eq!((empty.rcode, empty.addresses.len(), empty.referral), (Rcode::NOERROR, 0, false));
    assert!(Message::new(0x8100, "example.com", 1).read(&q).unwrap().referral, "neither AA nor RA");
    assert!(!Message::new(0x8500, "example.com", 1).read(&q).unwrap().referral, "authoritative");
}

#[test]
fn a_chain_is_followed_in_any_order() {
    let q = ask("a.example", RecordType::A);
    let answer = Message::new(0x8180, "a.example", 1)
        .a("c.example", 500, [203, 0, 113, 1])
        .cname("b.example", 40, "c.example")
        .a("other.example", 1, [203, 0, 113, 66])
        .cname("a.example", 300, "B.example")
        .a("C.example", 400, [203, 0, 113, 2])
        .a("c.example", 400, [203, 0, 113, 1])
        .read(&q)
        .unwrap();
    assert_eq!(answer.addresses, [ip(203, 0, 113, 1), ip(203, 0, 113, 2)]);
    assert_eq!(answer.ttl, 40, "the least on the way, the unrelated record's apart");
}

#[test]
fn what_the_chain_does_not_reach_is_no_answer() {
    let q = ask("a.example", RecordType::A);
    let none = |m: Message| assert_eq!(m.read(&q).unwrap().addresses, Vec::<IpAddr>::new());
    let m = || Message::new(0x8180, "a.example", 1);
    none(m().a("b.example", 60, [1, 2, 3, 4]));
    none(m().a("example", 60, [1, 2, 3, 4]));
    none(m().a("x.a.example", 60, [1, 2, 3, 4]));
    none(m().cname("a.example", 60, "b.example"));
    none(m().cname("a.example", 60, "a.example"));
    none(m().cname("a.example", 60, "b.example").cname("b.example", 60, "a.example"));
    none(m().raw(&wire("a.example"), 1, 3, 60, &[1, 2, 3, 4]));
    none(m().raw(&wire("a.example"), 28, 1, 60, &[1; 16]));
}

#[test]
fn sixteen_links_are_followed_and_no_more() {
    let chain = |links: usize| {
        let mut m = Message::new(0x8180, "0.example", 1);
        for i in 0..links {
            m = m.cname(&format!("{i}.example"), 60, &format!("{}.example", i + 1));
        }
        m.a(&format!("{links}.example"), 60, [1, 2, 3, 4])
            .read(&ask("0.example", RecordType::A))
            .unwrap()
            .addresses
            .len()
    };
    assert_eq!((chain(16), chain(17)), (1, 0));
}

#[test]
fn at_most_sixteen_addresses_are_taken() {
    let mut m = Message::new(0x8180, "a.example", 1);
    for i in 0..100 {
        m = m.a("a.example", 60, [203, 0, 113, i]);
    }
    assert_eq!(m.read(&ask("a.example", RecordType::A)).unwrap().addresses.len(), MAX_RECORDS);
}

#[test]
fn a_lifetime_with_the_top_bit_is_none() {
    let ttl = |t| Message::new(0x8180, "a.example", 1).a("a.example", t, [1, 2, 3, 4]);
    let q = ask("a.example", RecordType::A);
    assert_eq!(ttl(0x7fff_ffff).read(&q).unwrap().ttl, 0x7fff_ffff);
    assert_eq!(ttl(0x8000_0000).read(&q).unwrap().ttl, 0);
    assert_eq!(ttl(0xffff_ffff).read(&q).unwrap().ttl, 0);
}

#[test]
fn ipv6_addresses() {
    let address: Ipv6Addr = "2001:db8::5".parse().unwrap();
    let m =
        Message::new(0x8180, "a.example", 28).raw(&wire("a.example"), 28, 1, 60, &address.octets());
    assert_eq!(
        m.read(&ask("a.example", RecordType::Aaaa)).unwrap().addresses,
        [IpAddr::from(address)]
    );
}

#[test]
fn texts_are_joined_within_a_record() {
    let m = Message::new(0x8180, "o.example", 16)
        .raw(&wire("o.example"), 16, 1, 60, b"\x05203.0\x06.113.9")
        .raw(&wire("o.example"), 16, 1, 60, b"\x00");
    let q = ask("o.example", RecordType::Txt);
    assert_eq!(m.read(&q).unwrap().texts, [b"203.0.113.9".to_vec(), Vec::new()]);
    for bad in [&b""[..], b"\x05abcd", b"\x01ab", b"\x01a\x01"] {
        let m = Message::new(0x8180, "o.example", 16).raw(&wire("o.example"), 16, 1, 60, bad);
        assert!(matches!(m.read(&q), Err(Reject::Malformed(_))), "{bad:?}");
    }
}

#[test]
fn chaos_answers() {
    let mut m = Message::new(0x8180, "whoami.cloudflare", 16);
    let end = m.0.len();
    m.0[end - 1] = 3;
    let m = m.raw(b"\xc0\x0c", 16, 3, 0, b"\x0b203.0.113.9");
    let q =
        DnsQuestion { name: name("whoami.cloudflare"), kind: RecordType::Txt, class: Class::Ch };
    assert_eq!(m.read(&q).unwrap().texts, [b"203.0.113.9".to_vec()]);
}

#[test]
fn a_truncated_answer_gives_what_fitted() {
    let q = ask("a.example", RecordType::A);
    let m = Message::new(0x8380, "a.example", 1).a("a.example", 60, [1, 2, 3, 4]).a(
        "a.example",
        60,
        [1, 2, 3, 5],
    );
    let answer = response(&m.0[..m.0.len() - 2], ID, &q).unwrap();
    assert!(answer.truncated);
    assert_eq!(answer.addresses, [ip(1, 2, 3, 4)]);
    let mut whole = m.0.clone();
    whole[2] = 0x81;
    assert_eq!(response(&whole, ID, &q).unwrap().addresses.len(), 2);
    assert!(
        matches!(response(&whole[..whole.len() - 2], ID, &q), Err(Reject::Malformed(_))),
        "cut, but not marked"
    );
}

#[test]
fn broken_records_are_refused() {
    let q = ask("a.example", RecordType::A);
    let owner = wire("a.example");
    let m = || Message::new(0x8180, "a.example", 1);
    // The first record starts at 12 + 11 + 4 = 27.
    for (what, m) in [
        ("address of 3 bytes", m().raw(&owner, 1, 1, 60, &[1, 2, 3])),
        ("address of 5 bytes", m().raw(&owner, 1, 1, 60, &[1, 2, 3, 4, 5])),
        ("no address", m().raw(&owner, 1, 1, 60, &[])),
        ("alias with something after it", m().raw(&owner, 5, 1, 60, b"\x01b\x00x")),
        (
            "alias beyond its data",
            m().raw(&owner, 5, 1, 60, b"\x01b").raw(&owner, 1, 1, 60, &[1, 2, 3, 4]),
        ),
        ("pointer to itself", m().raw(b"\xc0\x1b", 1, 1, 60, &[1, 2, 3, 4])),
        ("pointer forwards", m().raw(b"\xc0\x20", 1, 1, 60, &[1, 2, 3, 4])),
        ("pointer beyond the end", m().raw(b"\xff\xff", 1, 1, 60, &[1, 2, 3, 4])),
        ("pointer into the header", m().raw(b"\xc0\x05", 1, 1, 60, &[1, 2, 3, 4])),
        ("label, then a pointer back to it", m().raw(b"\x01x\xc0\x1b", 1, 1, 60, &[1, 2, 3, 4])),
        ("label type 01", m().raw(b"\x41x\x00", 1, 1, 60, &[1, 2, 3, 4])),
        ("label type 10", m().raw(b"\x81x\x00", 1, 1, 60, &[1, 2, 3, 4])),
    ] {
        assert!(matches!(m.read(&q), Err(Reject::Malformed(_))), "{what}");
    }
    let long = format!("{0}.{0}.{0}.{0}", "x".repeat(63));
    assert!(
        matches!(m().a(&long, 60, [1, 2, 3, 4]).read(&q), Err(Reject::Malformed(_))),
        "name of 257 bytes"
    );
    let mut many = m().a("a.example", 60, [1, 2, 3, 4]).0;
    many[6..8].copy_from_slice(&[0xff, 0xff]);
    assert!(
        matches!(response(&many, ID, &q), Err(Reject::Malformed(_))),
        "65,535 records announced"
    );
    let mut padded = m().a("a.example", 60, [1, 2, 3, 4]).0;
    padded.resize(MAX_MESSAGE + 1, 0);
    assert!(matches!(response(&padded, ID, &q), Err(Reject::Malformed(_))), "too long");
    padded.truncate(MAX_MESSAGE);
    assert!(response(&padded, ID, &q).is_ok(), "the other sections are nobody's business");
}

/// What an accepted message must satisfy, judged without the parser's help.
fn must_be_ours(bytes: &[u8], answer: &DnsAnswer, question_bytes: &[u8]) {
    assert_eq!(bytes[..2], ID.to_be_bytes());
    assert_eq!(bytes[2] & 0xf8, 0x80, "a response to a standard query");
    assert_eq!(bytes[4..6], [0, 1]);
    assert!(bytes[12..].len() >= question_bytes.len());
    assert!(bytes[12..12 + question_bytes.len()].eq_ignore_ascii_case(question_bytes));
    assert_eq!(bytes[3] & 0x0f, answer.rcode.0);
    assert!(answer.addresses.len() <= MAX_RECORDS && answer.texts.len() <= MAX_RECORDS);
    if answer.rcode != Rcode::NOERROR {
        assert!(answer.addresses.is_empty() && answer.texts.is_empty());
    }
    for address in &answer.addresses {
        let IpAddr::V4(v4) = address else { panic!("asked for A, got {address}") };
        assert!(bytes.windows(4).any(|w| w == v4.octets()), "an address from nowhere");
    }
}

#[test]
fn random_and_mutated_bytes_are_never_taken_for_more_than_they_are() {
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
    println!("seed {SEED:#x}");
    let mut random = Random(SEED);
    let q = ask("a.example", RecordType::A);
    let mut question_bytes = wire("a.example");
    question_bytes.extend([0, 1, 0, 1]);
    let seeds = [
        Message::new(0x8180, "a.example", 1)
            .cname("a.example", 9, "b.example")
            .a("b.example", 9, [1, 2, 3, 4])
            .0,
        Message::new(0x8180, "a.example", 1)
            .raw(b"\xc0\x0c", 5, 1, 60, b"\x01b\xc0\x0e")
            .a("b.example", 9, [1; 4])
            .0,
        Message::new(0x8380, "a.example", 1)
            .a("a.example", 9, [1, 2, 3, 4])
            .a("a.example", 9, [1, 2, 3, 5])
            .0,
    ];
    let (mut accepted, mut with_address) = (0, 0);
    for round in 0..120_000 {
        let mut bytes = if round % 4 == 0 {
            (0..random.place(80)).map(|_| random.next() as u8).collect()
        } else {
            seeds[random.place(seeds.len())].clone()
        };
        for _ in 0..random.place(4) {
            if bytes.is_empty() {
                break;
            }
            let at = random.place(bytes.len());
            match random.place(4) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes[at] ^= 1 << random.place(8),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, random.next() as u8),
            }
        }
        if let Ok(answer) = response(&bytes, ID, &q) {
            accepted += 1;
            with_address += usize::from(!answer.addresses.is_empty());
            must_be_ours(&bytes, &answer, &question_bytes);
        }
    }
    assert!(
        accepted > 10_000 && with_address > 5_000,
        "the test reaches what it is about: {accepted}, {with_address}"
    );
}

/// Random graphs of aliases and addresses, whose truth the test works out from the graph itself.
#[test]
fn only_addresses_on_the_chain_are_returned() {
    const SEED: u64 = 0x2545_f491_4f6c_dd1d;
    println!("seed {SEED:#x}");
    let mut random = Random(SEED);
    let mut found = 0;
    for _ in 0..20_000 {
        let names = 2 + random.place(6);
        let mut records: Vec<(usize, Result<usize, u8>)> = Vec::new();
        // At most one alias per name: what a name with two leads to is nobody's promise.
        for owner in 0..names {
            match random.place(3) {
                0 => records.push((owner, Ok(random.place(names)))),
                1 => records
                    .extend((0..1 + random.place(3)).map(|i| (owner, Err((owner * 10 + i) as u8)))),
                _ => {}
            }
        }
        let mut at = 0;
        for _ in 0..names {
            match records.iter().find(|(o, _)| *o == at) {
                Some((_, Ok(target))) => at = *target,
                _ => break,
            }
        }
        let mut truth: Vec<u8> =
            records.iter().filter(|(o, _)| *o == at).filter_map(|(_, r)| r.err()).collect();
        for i in (1..records.len()).rev() {
            records.swap(i, random.place(i + 1));
        }
        let mut m = Message::new(0x8180, "n0.example", 1);
        for (owner, record) in &records {
            m = match record {
                Ok(target) => {
                    m.cname(&format!("n{owner}.example"), 60, &format!("N{target}.example"))
                }
                Err(last) => m.a(&format!("n{owner}.example"), 60, [203, 0, 113, *last]),
            };
        }
        let answer = m.read(&ask("n0.example", RecordType::A)).unwrap();
        let mut got: Vec<u8> = answer
            .addresses
            .iter()
            .map(|a| a.to_string().rsplit('.').next().unwrap().parse().unwrap())
            .collect();
        truth.sort_unstable();
        got.sort_unstable();
        assert_eq!(got, truth, "{records:?}");
        found += usize::from(!got.is_empty());
    }
    assert!(found > 5_000, "{found}");
}
