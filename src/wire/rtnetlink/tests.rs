use super::*;

/// `struct ndmsg` with an address behind it, as the kernel sends it.
#[test]
fn neighbours_are_read_and_whether_they_answer() {
    let message = |family: libc::c_int, state: u16, address: &[u8]| {
        let mut out = Vec::new();
        begin(&mut out, NEWNEIGH, 0, 7);
        out.extend([family as u8, 0, 0, 0]);
        out.extend(3_u32.to_ne_bytes());
        out.extend(state.to_ne_bytes());
        out.extend([0; 2]);
        attribute(&mut out, NDA_DST, address);
        finish(&mut out);
        let all: Vec<News> = messages(&out).map(|m| m.news).collect();
        all
    };
    let v4: IpAddr = [192, 168, 42, 1].into();
    for (state, answers, silent) in [
        (NUD_REACHABLE, true, false),
        (0x40, true, false),
        (0x80, true, false),
        (NUD_FAILED, false, true),
        (NUD_INCOMPLETE, false, true),
        (NUD_PROBE, false, true),
        (0x04, false, false),
        (0x08, false, false),
    ] {
        let wanted = News::Neighbour(Neighbour { index: 3, address: v4, answers, silent });
        assert_eq!(message(libc::AF_INET, state, &[192, 168, 42, 1]), [wanted], "{state:#x}");
    }
    let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let wanted =
        News::Neighbour(Neighbour { index: 3, address: v6.into(), answers: true, silent: false });
    assert_eq!(message(libc::AF_INET6, NUD_REACHABLE, &v6.octets()), [wanted]);
    assert_eq!(message(libc::AF_INET6, NUD_REACHABLE, &[1, 2, 3]), [News::Other]);
}
use crate::base::random::Random;
use crate::kernel::{MAIN, PROTOCOL};

fn only(bytes: &[u8]) -> Message {
    let all: Vec<_> = messages(bytes).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap()
}

fn written(c: &Change) -> Vec<u8> {
    let mut out = vec![1, 2, 3];
    change(c, 77, &mut out);
    out
}

fn route() -> Route {
    let hop =
        Hop { index: 3, gateway: Some(Ipv4Addr::new(192, 168, 42, 1)), onlink: true, dead: false };
    Route {
        table: 171_000_010,
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        metric: 201,
        protocol: PROTOCOL,
        tos: 0,
        source: Some(Ipv4Addr::new(192, 168, 42, 2)),
        hops: vec![hop],
        nexthop: 0,
    }
}

fn a_rule() -> Rule {
    Rule {
        priority: 22_010,
        table: MAIN,
        protocol: PROTOCOL,
        source: Some(Ipv4Addr::new(192, 168, 42, 2)),
        source_length: 32,
        suppress: Some(0),
        ..Rule::default()
    }
}

#[test]
fn what_is_written_reads_back_as_what_was_meant() {
    let on_link = Route {
        table: MAIN,
        metric: 0,
        source: None,
        hops: vec![Hop { index: 9, gateway: None, onlink: false, dead: false }],
        ..route()
    };
    let network = Route { destination: Ipv4Addr::new(10, 1, 0, 0), prefix: 16, ..route() };
    for r in [route(), on_link, network] {
        let message = only(&written(&Change::Replace(r.clone())));
        assert_eq!((message.sequence, message.news), (77, News::Route(r.clone())));
        assert_eq!(only(&written(&Change::RemoveRoute(r.clone()))).news, News::NoRoute(r));
    }
    let all =
        Rule { source: None, source_length: 0, suppress: None, table: 171_000_010, ..a_rule() };
    let narrow = Rule {
        destination: Some(Ipv4Addr::new(1, 1, 1, 1)),
        destination_length: 32,
        ip_protocol: 17,
        port: 53,
        mark: 0x1710_0001,
        device: Some("wan1".into()),
        inverted: true,
        ..a_rule()
    };
    for r in [a_rule(), all, narrow] {
        assert_eq!(only(&written(&Change::AddRule(r.clone()))).news, News::Rule(r.clone()));
        assert_eq!(only(&written(&Change::RemoveRule(r.clone()))).news, News::NoRule(r));
    }
}

/// A message by hand: type, flags, body, attributes.
fn message(kind: u16, flags: u16, body: &[u8], parts: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    begin(&mut out, kind, flags, 5);
    out.extend(body);
    for (kind, value) in parts {
        attribute(&mut out, *kind, value);
    }
    finish(&mut out);
    out
}

fn link_body(index: u32, flags: libc::c_int) -> Vec<u8> {
    let flags = (flags as u32).to_ne_bytes();
    [&[0, 0, 1, 0][..], &index.to_ne_bytes(), &flags, &[0; 4]].concat()
}

#[test]
fn links_with_and_without_carrier() {
    let up = link_body(3, libc::IFF_UP | libc::IFF_LOWER_UP | libc::IFF_POINTOPOINT);
    let read = |body: &[u8]| {
        only(&message(NEWLINK, 0, body, &[(1, &[9; 6]), (IFLA_IFNAME, b"wan1\0")])).news
    };
    let wan1 = Link {
        index: 3,
        name: "wan1".into(),
        up: true,
        carrier: true,
        point_to_point: true,
        tunnel: true,
        master: 0,
    };
    assert_eq!(read(&up), News::Link(wan1.clone()));
    let quiet = Link { carrier: false, point_to_point: false, tunnel: false, ..wan1 };
    assert_eq!(read(&link_body(3, libc::IFF_UP)), News::Link(quiet));
    assert_eq!(only(&message(DELLINK, 0, &up, &[])).news, News::NoLink(3));
    let mut bridge = up;
    bridge[0] = libc::AF_BRIDGE as u8;
    assert_eq!(read(&bridge), News::Other);
}

#[test]
fn addresses_with_a_peer_and_without() {
    let body = [&[libc::AF_INET as u8, 24, 0x80, 0][..], &4_u32.to_ne_bytes()].concat();
    let (own, peer) = ([10, 0, 0, 2], [10, 0, 0, 1]);
    let read = |parts: &[(u16, &[u8])]| only(&message(NEWADDR, 0, &body, parts)).news;
    let plain = Address {
        index: 4,
        address: own.into(),
        peer: None,
        prefix: 24,
        local: false,
        secondary: false,
    };
    assert_eq!(read(&[(IFA_ADDRESS, &own), (IFA_LOCAL, &own)]), News::Address(plain));
    let with_peer = Address { peer: Some(peer.into()), secondary: true, ..plain };
    let flags = 0x81_u32.to_ne_bytes();
    assert_eq!(
        read(&[(IFA_ADDRESS, &peer), (IFA_LOCAL, &own), (IFA_FLAGS, &flags)]),
        News::Address(with_peer)
    );
}

fn route_body(kind: u8, flags: u32) -> Vec<u8> {
    [&[libc::AF_INET as u8, 0, 0, 0, 254, 16, 0, kind][..], &flags.to_ne_bytes()].concat()
}

#[test]
fn a_multipath_route_has_all_its_hops() {
    let hop = |flags: u8, index: u32, gateway: [u8; 4]| {
        let mut part = vec![16, 0, flags, 0];
        part.extend(index.to_ne_bytes());
        attribute(&mut part, RTA_GATEWAY, &gateway);
        part[..2].copy_from_slice(&16_u16.to_ne_bytes());
        part
    };
    let hops = [hop(0, 3, [10, 0, 0, 1]), hop(HOP_DEAD, 4, [10, 1, 0, 1])].concat();
    let bytes = message(NEWROUTE, 0, &route_body(UNICAST, 0), &[(RTA_MULTIPATH, &hops)]);
    let News::Route(r) = only(&bytes).news else { panic!() };
    let hops: Vec<_> =
        r.hops.iter().map(|h| (h.index, h.gateway.unwrap().octets(), h.dead)).collect();
    assert_eq!(hops, [(3, [10, 0, 0, 1], false), (4, [10, 1, 0, 1], true)]);
    assert_eq!((r.table, r.protocol, r.is_default()), (MAIN, 16, true));
}

#[test]
fn a_route_to_nowhere_has_no_way_out_and_what_is_local_or_only_cached_is_left_out() {
    let (local, throw) = (2, 9);
    for body in [route_body(local, 0), route_body(throw, 0), route_body(UNICAST, CLONED)] {
        assert_eq!(only(&message(NEWROUTE, 0, &body, &[])).news, News::Other);
    }
    for nowhere in NOWHERE {
        let News::Route(r) = only(&message(NEWROUTE, 0, &route_body(nowhere, 0), &[])).news else {
            panic!()
        };
        assert!(r.is_default() && r.hops.is_empty());
    }
}

#[test]
fn next_hop_objects_and_their_groups() {
    let (id, oif) = (7_u32.to_ne_bytes(), 3_u32.to_ne_bytes());
    let parts: &[(u16, &[u8])] = &[(NHA_ID, &id), (NHA_OIF, &oif), (NHA_GATEWAY, &[10, 0, 0, 1])];
    let hop =
        Hop { index: 3, gateway: Some(Ipv4Addr::new(10, 0, 0, 1)), onlink: false, dead: false };
    let object = Nexthop { id: 7, hop: Some(hop), group: vec![] };
    assert_eq!(
        only(&message(NEWNEXTHOP, 0, &[2, 0, 0, 0, 0, 0, 0, 0], parts)).news,
        News::Nexthop(object)
    );
    let members = [7_u32, 0, 9, 0].map(u32::to_ne_bytes).concat();
    let group =
        only(&message(NEWNEXTHOP, 0, &[0; 8], &[(NHA_ID, &oif), (NHA_GROUP, &members)])).news;
    assert_eq!(group, News::Nexthop(Nexthop { id: 3, hop: None, group: vec![7, 9] }));
    assert_eq!(only(&message(DELNEXTHOP, 0, &[0; 8], &[(NHA_ID, &id)])).news, News::NoNexthop(7));
}

#[test]
fn of_several_ways_out_of_ipv6_each_is_read() {
    let hop = |index: u32, last: u8| {
        let mut gateway = [0; 16];
        gateway[0] = 0xfe;
        gateway[15] = last;
        let mut bytes = [&28_u16.to_ne_bytes()[..], &[0, 0], &index.to_ne_bytes()].concat();
        attribute(&mut bytes, RTA_GATEWAY, &gateway);
        bytes
    };
    let hops = [hop(3, 1), hop(4, 2)].concat();
    let mut body = route_body(UNICAST, 0);
    body[0] = libc::AF_INET6 as u8;
    let News::Default6(d) = only(&message(NEWROUTE, 0, &body, &[(RTA_MULTIPATH, &hops)])).news
    else {
        panic!()
    };
    let found: Vec<_> =
        d.hops.iter().map(|(index, via)| (*index, via.unwrap().octets()[15])).collect();
    assert_eq!(found, [(3, 1), (4, 2)]);
}

#[test]
fn conditions_that_ours_never_have_make_a_rule_special() {
    let body = |dst: u8, action: u8, flags: u32| {
        [&[libc::AF_INET as u8, dst, 0, 0, 254, 0, 0, action][..], &flags.to_ne_bytes()].concat()
    };
    let read =
        |body: &[u8], parts: &[(u16, &[u8])]| match only(&message(NEWRULE, 0, body, parts)).news {
            News::Rule(r) => r,
            other => panic!("{other:?}"),
        };
    let none = u32::MAX.to_ne_bytes();
    let plain = read(
        &body(0, TO_TABLE, 0),
        &[(FRA_SUPPRESS_PREFIXLEN, &none), (FRA_SUPPRESS_IFGROUP, &none)],
    );
    assert_eq!((plain.special, plain.suppress, plain.table), (false, None, MAIN));
    let mark = 1_u32.to_ne_bytes();
    let some_bits = 0xff_u32.to_ne_bytes();
    assert!(read(&body(0, TO_TABLE, 0), &[(FRA_FWMARK, &mark), (FRA_FWMASK, &some_bits)]).special);
    assert!(read(&body(0, TO_TABLE, 0), &[(FRA_IIFNAME, b"lan0\0")]).special);
    for narrow in [
        read(&body(0, TO_TABLE, 0), &[(FRA_OIFNAME, b"wan1\0")]),
        read(&body(24, TO_TABLE, 0), &[(FRA_DST, &[10, 0, 0, 0])]),
        read(&body(0, TO_TABLE, RULE_INVERT), &[]),
        read(&body(0, TO_TABLE, 0), &[(FRA_FWMARK, &mark), (FRA_FWMASK, &u32::MAX.to_ne_bytes())]),
        read(&body(0, TO_TABLE, 0), &[(FRA_IP_PROTO, &[6])]),
    ] {
        assert!(!narrow.special && !narrow.is_broad(), "{narrow}");
    }
    let nowhere = read(&body(0, 7, 0), &[]);
    assert!((nowhere.table, nowhere.nowhere, nowhere.is_broad()) == (0, true, true));
    assert!(read(&body(0, 2, 0), &[(FRA_GOTO, &mark)]).special);
}

#[test]
fn an_error_comes_with_its_number_and_the_kernels_words() {
    let request = written(&Change::Replace(route()));
    let error = (-101_i32).to_ne_bytes();
    let whole = [&error[..], &request].concat();
    let parts: &[(u16, &[u8])] = &[(NLMSGERR_ATTR_MSG, b"Nexthop has invalid gateway\0")];
    let words = Some("Nexthop has invalid gateway".to_owned());
    assert_eq!(only(&message(ERROR, ACK_TLVS, &whole, parts)).news, News::End(101, words.clone()));
    let capped = [&error[..], &request[..HEADER]].concat();
    assert_eq!(
        only(&message(ERROR, ACK_TLVS | CAPPED, &capped, parts)).news,
        News::End(101, words)
    );
    assert_eq!(
        only(&message(ERROR, 0, &whole, parts)).news,
        News::End(101, None),
        "it says that no words follow"
    );
    assert_eq!(
        only(&message(DONE, ACK_TLVS, &whole, parts)).news,
        News::End(101, None),
        "nor do they behind a list"
    );
    assert_eq!(
        only(&message(ERROR, CAPPED, &[&[0; 4][..], &request[..HEADER]].concat(), &[])).news,
        News::End(0, None)
    );
    assert!(only(&message(DONE, DUMP_INTR, &[0; 4], &[])).interrupted);
}

#[test]
fn requests_ask_for_what_they_should() {
    let mut out = Vec::new();
    for (what, kind) in [
        (Query::Links, GETLINK),
        (Query::Link(3), GETLINK),
        (Query::Addresses, GETADDR),
        (Query::Routes, GETROUTE),
        (Query::Routes6, GETROUTE),
        (Query::Rules, GETRULE),
        (Query::Way(Ipv4Addr::new(1, 1, 1, 1)), GETROUTE),
    ] {
        query(what, 9, &mut out);
        assert_eq!((u16_at(&out, 4), u32_at(&out, 8)), (Some(kind), Some(9)), "{what:?}");
        assert_eq!(u32_at(&out, 0), u32::try_from(out.len()).ok());
        let dumps = u16_at(&out, 6).unwrap() & DUMP == DUMP;
        assert_eq!(dumps, !matches!(what, Query::Link(_) | Query::Way(_)));
    }
}

#[test]
fn random_and_mutated_bytes_end_and_never_panic() {
    let mut random = Random(171);
    let seeds = [
        written(&Change::Replace(route())),
        written(&Change::AddRule(a_rule())),
        message(NEWLINK, 0, &link_body(3, libc::IFF_UP), &[(IFLA_IFNAME, b"wan1\0")]),
        message(
            ERROR,
            ACK_TLVS,
            &[&[155; 4][..], &written(&Change::Replace(route()))].concat(),
            &[(1, b"no\0")],
        ),
    ];
    for round in 0..200_000 {
        let mut bytes = if round % 10 == 0 {
            (0..random.place(120)).map(|_| random.next() as u8).collect()
        } else {
            [seeds[random.place(4)].clone(), seeds[random.place(4)].clone()].concat()
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
        // Each takes at least a header's length of the bytes.
        assert!(messages(&bytes).count() <= bytes.len() / HEADER, "{bytes:?}");
    }
}
