//! Deleting the kernel's entries of connections that went by an address that is left.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};

use socket2::Socket;

use super::{files, netlink};
use crate::wire::conntrack::{self, Item};

/// The kernel writes the list in pieces of at most this.
const PIECE: usize = 32 * 1024;
/// Pieces taken in one turn of the loop: a router may have a hundred thousand connections.
const PIECES: usize = 4;
/// How many connections there are; missing where the kernel does not follow any.
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// The list of connections as it is read, and those to this address deleted.
pub struct Flush {
    list: Socket,
    requests: Socket,
    address: Ipv4Addr,
    /// How many were deleted.
    pub deleted: usize,
    sequence: u32,
    request: Vec<u8>,
    piece: Vec<u8>,
}

impl Flush {
    /// Begins; `None` where no connections are followed.
    ///
    /// # Errors
    /// As socket(2): the kernel has no netlink for this, or no permission.
    pub fn begin(address: Ipv4Addr) -> io::Result<Option<Self>> {
        let count = files::read(COUNT, 32).unwrap_or_default();
        if count.is_empty() || count.trim_ascii() == b"0" {
            return Ok(None);
        }
        let (list, requests) = (
            netlink::open(libc::NETLINK_NETFILTER, 0)?,
            netlink::open(libc::NETLINK_NETFILTER, 0)?,
        );
        let mut request = Vec::new();
        conntrack::list(1, &mut request);
        list.send(&request)?;
        list.set_nonblocking(true)?;
        requests.set_nonblocking(true)?;
        Ok(Some(Self {
            list,
            requests,
            address,
            deleted: 0,
            sequence: 1,
            request,
            piece: vec![0; PIECE],
        }))
    }

    /// The descriptor to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.list.as_raw_fd()
    }

    /// Goes on with what has arrived. `Some`: it is over, well or with the kernel's error.
    pub fn proceed(&mut self) -> Option<io::Result<()>> {
        for _ in 0..PIECES {
            let n = match io::Read::read(&mut self.list, &mut self.piece) {
                Ok(n) => n,
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    return None;
                }
                Err(e) => return Some(Err(e)),
            };
            for item in conntrack::items(self.piece.get(..n).unwrap_or_default()) {
                match item {
                    Item::Entry(entry) if entry.answers_to == self.address => {
                        self.sequence = self.sequence.wrapping_add(1);
                        conntrack::delete(&entry, self.sequence, &mut self.request);
                        self.deleted += usize::from(self.requests.send(&self.request).is_ok());
                    }
                    Item::Entry(_) => {}
                    Item::End(0) => return Some(Ok(())),
                    Item::End(errno) => return Some(Err(io::Error::from_raw_os_error(errno))),
                }
            }
        }
        None
    }
}
