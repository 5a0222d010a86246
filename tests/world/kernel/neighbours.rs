//! Who is on a link, as far as the kernel knows. Nobody asks or answers here: what is learnt is set
//! by the world around.

use std::net::{IpAddr, Ipv4Addr};

use super::{Errno, Kernel};
use imon::kernel::news;

/// States of a neighbour (`NUD_REACHABLE` and so on).
pub mod state {
    pub const INCOMPLETE: u16 = 0x01;
    pub const REACHABLE: u16 = 0x02;
    pub const STALE: u16 = 0x04;
    pub const PROBE: u16 = 0x10;
    pub const FAILED: u16 = 0x20;
    pub const PERMANENT: u16 = 0x80;
}

/// Somebody on a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Neighbour {
    pub index: u32,
    pub address: IpAddr,
    pub state: u16,
}

impl Kernel {
    /// Learns of a neighbour, or something else about it.
    pub fn set_neighbour(&mut self, new: Neighbour) -> Result<(), Errno> {
        self.link(new.index).ok_or(libc::ENODEV)?;
        self.neighbours.retain(|n| (n.index, n.address) != (new.index, new.address));
        self.neighbours.push(new);
        self.neighbours.sort_unstable();
        Ok(())
    }

    /// Forgets one; that nobody was known is `ENOENT`.
    pub fn forget(&mut self, index: u32, address: IpAddr) -> Result<(), Errno> {
        self.link(index).ok_or(libc::ENODEV)?;
        let known = |n: &Neighbour| (n.index, n.address) == (index, address);
        let at = self.neighbours.iter().position(known).ok_or(libc::ENOENT)?;
        self.neighbours.remove(at);
        Ok(())
    }

    /// Asks a known one whether it still answers, as imon does. What comes of it, the world sets.
    pub fn verify(&mut self, index: u32, address: Ipv4Addr) -> Result<(), Errno> {
        self.link(index).ok_or(libc::ENODEV)?;
        let known = |n: &&mut Neighbour| (n.index, n.address) == (index, IpAddr::V4(address));
        let neighbour = self.neighbours.iter_mut().find(known).ok_or(libc::ENOENT)?;
        if [state::INCOMPLETE, state::FAILED].contains(&neighbour.state) {
            return Err(libc::EINVAL);
        }
        neighbour.state = state::PROBE;
        Ok(())
    }

    pub fn neighbours(&self) -> &[Neighbour] {
        &self.neighbours
    }

    /// Forgets those on a link, of all families or of IPv4; the `permanent` as well.
    pub(super) fn forget_all(&mut self, index: u32, v6: bool, permanent: bool) {
        let goes = |n: &Neighbour| {
            n.index == index
                && n.address.is_ipv6() == v6
                && (permanent || n.state != state::PERMANENT)
        };
        self.neighbours.retain(|n| !goes(n));
    }
}

impl Neighbour {
    /// As imon reads it.
    pub(super) fn said(&self) -> news::Neighbour {
        news::Neighbour {
            index: self.index,
            address: self.address,
            answers: [state::REACHABLE, state::PERMANENT].contains(&self.state),
            silent: [state::INCOMPLETE, state::PROBE, state::FAILED].contains(&self.state),
        }
    }
}
