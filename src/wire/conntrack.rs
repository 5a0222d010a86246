//! The kernel's table of connections (`linux/netfilter/nfnetlink_conntrack.h`): listing it, and
//! deleting entries.
//!
//! A connection whose addresses are translated keeps the address of the WAN it began on. After a
//! switch its packets would leave by the new WAN with the old one's address, for as long as the
//! entry lives, which its own packets see to.

use std::net::Ipv4Addr;

use super::netlink::{
    DONE, DUMP, ERROR, HEADER, REQUEST, aligned, attribute, attributes, begin, finish, ip, u16_at,
    u32_at,
};

/// `NFNL_SUBSYS_CTNETLINK << 8`, and the messages of it.
const SUBSYSTEM: u16 = 1 << 8;
const NEW: u16 = SUBSYSTEM;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
/// `struct nfgenmsg`: family, version, resource.
const FAMILY: [u8; 4] = [libc::AF_INET as u8, 0, 0, 0];

const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const IP_V4_DST: u16 = 2;
const NESTED: u16 = 0x8000;

/// What a message of the list says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// A connection.
    Entry(Connection<'a>),
    /// The end of the list, or why there is none: `errno`, 0 at the end.
    End(i32),
}

/// A connection, as far as it takes to find and delete it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection<'a> {
    /// Where its answers go: behind address translation the address of the WAN.
    pub answers_to: Ipv4Addr,
    /// Its two ends as the kernel wrote them.
    original: &'a [u8],
    /// Its number and zone, where it has them.
    id: Option<&'a [u8]>,
    zone: Option<&'a [u8]>,
}

/// Writes the request for a list of all IPv4 connections.
pub fn list(sequence: u32, out: &mut Vec<u8>) {
    begin(out, GET, REQUEST | DUMP, sequence);
    out.extend(FAMILY);
    finish(out);
}

/// Writes the request to delete this very connection, and not another one that may have taken its
/// place. It is not acknowledged: one that has just ended by itself is no matter.
pub fn delete(entry: &Connection<'_>, sequence: u32, out: &mut Vec<u8>) {
    begin(out, DELETE, REQUEST, sequence);
    out.extend(FAMILY);
    attribute(out, TUPLE_ORIG | NESTED, entry.original);
    for (kind, value) in [(ID, entry.id), (ZONE, entry.zone)] {
        if let Some(value) = value {
            attribute(out, kind, value);
        }
    }
    finish(out);
}

/// The connections in a datagram. Ends at the first message that is cut short.
pub fn items(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        loop {
            let length = usize::try_from(u32_at(rest, 0)?).ok().filter(|n| *n >= HEADER)?;
            let message = rest.get(..length)?;
            rest = rest.get(aligned(length)..).unwrap_or_default();
            let body = message.get(HEADER..)?;
            match u16_at(message, 4)? {
                ERROR => {
                    return Some(Item::End(
                        u32_at(body, 0)?.cast_signed().checked_neg().unwrap_or(libc::EIO),
                    ));
                }
                // A list may end with the error that cut it short.
                DONE => {
                    let errno = u32_at(body, 0)
                        .map_or(0, |e| e.cast_signed().checked_neg().unwrap_or(libc::EIO));
                    return Some(Item::End(errno));
                }
                NEW => {
                    if let Some(entry) = body.get(FAMILY.len()..).and_then(entry) {
                        return Some(Item::Entry(entry));
                    }
                }
                _ => {}
            }
        }
    })
}

fn entry(bytes: &[u8]) -> Option<Connection<'_>> {
    let find = |wanted| attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let addresses = attributes(find(TUPLE_REPLY)?).find(|(kind, _)| *kind == TUPLE_IP)?.1;
    let answers_to = ip(attributes(addresses).find(|(kind, _)| *kind == IP_V4_DST)?.1)?;
    Some(Connection { answers_to, original: find(TUPLE_ORIG)?, id: find(ID), zone: find(ZONE) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    /// A tuple of these addresses, with a protocol part that nobody reads.
    fn tuple(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
        let (mut addresses, mut tuple) = (Vec::new(), Vec::new());
        attribute(&mut addresses, 1, &from);
        attribute(&mut addresses, IP_V4_DST, &to);
        attribute(&mut tuple, TUPLE_IP | NESTED, &addresses);
        attribute(&mut tuple, 2 | NESTED, &[5, 0, 1, 0, 6, 0, 0, 0]);
        tuple
    }

    /// As the kernel lists a connection from the LAN that goes out translated to `wan`.
    fn listed(wan: [u8; 4]) -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out, NEW, 2, 7);
        out.extend(FAMILY);
        attribute(&mut out, TUPLE_ORIG | NESTED, &tuple([192, 168, 92, 10], [1, 1, 1, 1]));
        attribute(&mut out, TUPLE_REPLY | NESTED, &tuple([1, 1, 1, 1], wan));
        attribute(&mut out, 3, &[0, 0, 1, 0x8e]);
        attribute(&mut out, ID, &[1, 2, 3, 4]);
        finish(&mut out);
        out
    }

    #[test]
    fn a_connection_is_known_by_where_its_answers_go_and_deleted_by_its_own_number() {
        let mut bytes = listed([192, 168, 42, 2]);
        bytes.extend(listed([192, 168, 62, 2]));
        let mut done = Vec::new();
        begin(&mut done, DONE, 2, 7);
        done.extend([0; 4]);
        finish(&mut done);
        bytes.extend(done);
        let items: Vec<_> = items(&bytes).collect();
        let [Item::Entry(first), Item::Entry(second), Item::End(0)] = items[..] else {
            panic!("{items:?}")
        };
        assert_eq!(first.answers_to, Ipv4Addr::new(192, 168, 42, 2));
        assert_eq!(second.answers_to, Ipv4Addr::new(192, 168, 62, 2));
        let mut request = Vec::new();
        delete(&first, 9, &mut request);
        let body = &request[HEADER + 4..];
        let found: Vec<_> = attributes(body).collect();
        let original = tuple([192, 168, 92, 10], [1, 1, 1, 1]);
        assert_eq!(found, [(TUPLE_ORIG, &original[..]), (ID, &[1, 2, 3, 4][..])]);
        assert_eq!(u16_at(&request, 4), Some(DELETE));
    }

    #[test]
    fn a_kernel_without_it_says_so() {
        let mut bytes = Vec::new();
        begin(&mut bytes, ERROR, 0, 7);
        bytes.extend((-libc::EINVAL).to_ne_bytes());
        finish(&mut bytes);
        assert_eq!(items(&bytes).collect::<Vec<_>>(), [Item::End(libc::EINVAL)]);
    }

    #[test]
    fn no_bytes_make_it_panic_or_run_for_ever() {
        let mut random = Random(42);
        for _ in 0..20_000 {
            let mut bytes = listed([192, 168, 42, 2]);
            for _ in 0..1 + random.below(4) {
                let at = random.place(bytes.len());
                bytes[at] = random.next() as u8;
            }
            bytes.truncate(random.place(bytes.len() + 1));
            assert!(items(&bytes).count() <= bytes.len());
        }
    }
}
