//! What all netlink messages have in common (netlink(7)): a header, and attributes with a length
//! and a type each. Everything is in the byte order of the machine, and every piece begins at a
//! multiple of four bytes.

use std::net::Ipv4Addr;

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
pub(super) const HEADER: usize = 16;
pub(super) const ERROR: u16 = 2;
pub(super) const DONE: u16 = 3;
pub(super) const REQUEST: u16 = 0x1;
pub(super) const DUMP: u16 = 0x300;

pub(super) fn begin(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32) {
    out.clear();
    out.extend([0; 4]);
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
}

pub(super) fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(aligned(out.len()), 0);
}

/// Fills in the length.
pub(super) fn finish(out: &mut [u8]) {
    let length = u32::try_from(out.len()).unwrap_or(0);
    if let Some(place) = out.first_chunk_mut::<4>() {
        *place = length.to_ne_bytes();
    }
}

/// The attributes (`struct rtattr`: length, type, value) of a message. Ends at the first that is
/// cut short.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Flags in the type: nested, in network byte order.
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & KIND;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(super) const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(super) fn ip(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}
