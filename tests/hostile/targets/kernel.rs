//! Messages of the kernel: routes and connections.

use std::net::Ipv4Addr;

use super::Input;
use imon::kernel::news::{Message, News};
use imon::kernel::{Change, Picture, Route};
use imon::routing::{GatewaySource, Policy, RoutingView, Uplink};
use imon::wire::conntrack::{self, Item};
use imon::wire::rtnetlink::{self, Query};

const HEADER: usize = 16;

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Attributes with lengths that are right: of each its type (the uppermost bit: it consists of
/// such), length and value.
fn attributes(input: &mut Input<'_>, deep: usize, out: &mut Vec<u8>) {
    while !input.0.is_empty() {
        let (kind, length) = (input.byte(), input.byte());
        let value = input.take(usize::from(length));
        let mut inside = Vec::new();
        let nested = kind & 0x80 != 0 && deep < 4;
        let value = if nested {
            attributes(&mut Input(value), deep + 1, &mut inside);
            &inside
        } else {
            value
        };
        out.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        out.extend((u16::from(kind & 0x7f) | if nested { 0x8000 } else { 0 }).to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
}

/// Datagrams of a few messages: either as they are, or built, so that each length is right.
fn datagram(data: &[u8], kinds: &[(u16, usize)]) -> Vec<u8> {
    let mut input = Input(data);
    if input.byte() & 1 == 0 {
        return input.0.to_vec();
    }
    let mut out = Vec::new();
    while !input.0.is_empty() {
        let (kind, head) = kinds[usize::from(input.byte()) % kinds.len()];
        let (flags, length) = (input.byte(), input.byte());
        let mut body = input.take(head).to_vec();
        body.resize(head, 0);
        attributes(&mut Input(input.take(usize::from(length))), 0, &mut body);
        // Replaces, interrupted, cut short, with words; the first two bits each have a place of
        // their own.
        let flags = u16::from(flags & 3) << 8 | u16::from(flags & 0xfc);
        out.extend(message(kind, flags, 0, &body));
    }
    out
}

/// News of routes: each message is noted and written down, the picture stays as small as what was
/// told, and what is to be changed on its account can be said.
pub(super) fn rtnetlink(data: &[u8]) {
    const KINDS: [(u16, usize); 14] = [
        (16, 16),
        (17, 16),
        (20, 8),
        (21, 8),
        (24, 12),
        (25, 12),
        (28, 12),
        (32, 12),
        (33, 12),
        (104, 8),
        (105, 8),
        (2, 20),
        (3, 4),
        (24, 12),
    ];
    let bytes = datagram(data, &KINDS);
    let messages: Vec<Message> = rtnetlink::messages(&bytes).collect();
    assert!(messages.len() <= bytes.len() / HEADER);
    let mut picture = Picture::default();
    let wan = |device: &str, gateway| Uplink {
        device: device.into(),
        gateway,
        targets: Vec::new(),
        remembered: None,
    };
    let mut policy = Policy::new(
        "x",
        vec![
            wan("wan1", GatewaySource::Fixed(Ipv4Addr::new(192, 168, 42, 1))),
            wan("wan2", GatewaySource::Auto),
        ],
        201,
    );
    for message in &messages {
        match &message.news {
            News::Route(route) => {
                assert!(route.prefix <= 32);
                assert_stable(&Change::Replace(route.clone()));
                policy.remember(route, &picture.links);
            }
            News::NoRoute(route) => assert_stable(&Change::RemoveRoute(route.clone())),
            News::Rule(rule) | News::NoRule(rule) => {
                assert!(rule.source_length <= 32 && rule.destination_length <= 32);
                assert!(rule.to_string().len() < 400 + 3 * bytes.len());
                for change in [
                    Change::AddRule(rule.clone()),
                    Change::AppendRule(rule.clone()),
                    Change::RemoveRule(rule.clone()),
                ] {
                    assert_stable(&change);
                }
            }
            News::Address(address) => {
                assert!(
                    address.prefix <= 32
                        && address.reaches(address.peer.unwrap_or(address.address))
                )
            }
            News::End(errno, words) => {
                assert!(
                    *errno != i32::MIN
                        && words.as_ref().is_none_or(|words| words.len() <= 3 * bytes.len())
                );
            }
            _ => {}
        }
        picture.note(message.clone());
    }
    for list in [
        picture.links.len(),
        picture.addresses.len(),
        picture.routes.len(),
        picture.rules.len(),
        picture.nexthops.len(),
        picture.defaults6.len(),
    ] {
        assert!(list <= messages.len());
    }
    for route in picture.routes.clone() {
        let mut resolved = route.clone();
        picture.resolve(&mut resolved);
        assert!(!picture.in_words(&resolved).is_empty() && route.matters_here());
    }
    for chosen in [None, Some(0), Some(1), Some(2)] {
        let view = RoutingView::from(&picture);
        let changes = policy.changes(chosen, &view);
        assert!(changes.len() <= picture.routes.len() + picture.rules.len() + 100, "{changes:?}");
        let _ = (
            policy.beside(&view),
            policy.rival(&view),
            policy.yielded_default(&view),
            policy.adopted(&view),
        );
        let _ = (
            policy.state(0, &view),
            policy.state(1, &view),
            policy.free_metric(&view),
            policy.lacks_metric(1, &view),
        );
        for change in &changes {
            let _ = policy.part(change);
            assert_stable(change);
        }
    }
    let mut gone = picture.clone();
    for change in policy.farewell(true, &RoutingView::from(&picture)) {
        gone.made(&change);
    }
    assert!(gone.routes.len() <= picture.routes.len() && gone.rules.len() <= picture.rules.len());
    let mut out = Vec::new();
    for query in [
        Query::Links,
        Query::Link(7),
        Query::Addresses,
        Query::RoutesOver(7),
        Query::Rules,
        Query::Way(Ipv4Addr::LOCALHOST),
    ] {
        rtnetlink::query(query, 1, &mut out);
        assert_framed(&out);
    }
}

trait Matters {
    fn matters_here(&self) -> bool;
}

impl Matters for Route {
    fn matters_here(&self) -> bool {
        self.prefix <= imon::kernel::BROAD || self.is_ours()
    }
}

/// A change is one message, and what is read of it is written as the same one.
fn assert_stable(change: &Change) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    rtnetlink::change(change, 9, &mut first);
    assert_framed(&first);
    assert!(!change.to_string().is_empty());
    let read: Vec<Message> = rtnetlink::messages(&first).collect();
    let [Message { sequence: 9, news, .. }] = read.as_slice() else {
        panic!("{change} is read as {read:?}")
    };
    let again = match (change, news) {
        (Change::Replace(_), News::Route(route)) => Change::Replace(route.clone()),
        (Change::RemoveRoute(_), News::NoRoute(route)) => Change::RemoveRoute(route.clone()),
        (Change::AddRule(_), News::Rule(rule)) => Change::AddRule(rule.clone()),
        (Change::AppendRule(_), News::Rule(rule)) => Change::AppendRule(rule.clone()),
        (Change::RemoveRule(_), News::NoRule(rule)) => Change::RemoveRule(rule.clone()),
        _ => panic!("{change} is read as {news:?}"),
    };
    rtnetlink::change(&again, 9, &mut second);
    assert_eq!(first, second, "{change} is read as {again}");
}

fn assert_framed(bytes: &[u8]) {
    let length = u32::from_ne_bytes(bytes[..4].try_into().unwrap());
    assert!(usize::try_from(length) == Ok(bytes.len()) && bytes.len().is_multiple_of(4));
}

/// The list of connections: each entry can be deleted, by a request that is not longer than what
/// was told of it.
pub(super) fn conntrack(data: &[u8]) {
    const KINDS: [(u16, usize); 4] = [(0x100, 4), (0x100, 4), (2, 4), (3, 4)];
    let bytes = datagram(data, &KINDS);
    let mut count = 0;
    let mut out = Vec::new();
    for item in conntrack::items(&bytes) {
        count += 1;
        match item {
            Item::Entry(entry) => {
                conntrack::delete(&entry, 1, &mut out);
                assert_framed(&out);
                assert!(out.len() <= bytes.len() + 32, "{} of {}", out.len(), bytes.len());
                assert_eq!(conntrack::items(&out).count(), 0);
            }
            Item::End(errno) => assert_ne!(errno, i32::MIN),
        }
    }
    assert!(count <= bytes.len() / HEADER);
    conntrack::list(7, &mut out);
    assert_framed(&out);
}
