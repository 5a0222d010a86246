//! Writing files where nobody waits for a disk: a child of this same program, there only while
//! there is something to write. What it is to do comes in a file in memory as its standard input,
//! so that any length fits at once; what came of each job goes back as a message of its own, and
//! with it the open file of a record. It outlives the daemon: what was begun is finished.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use socket2::{Domain, Socket, Type};

use super::{cerr, files, worker};
use crate::engine::world::{Done, FileJob};

/// The argument that makes this program a writer. Not for people.
pub const ARGUMENT: &str = "file-writer";
/// What a record of an earlier try may say, in bytes.
const RECORD: usize = 4096;
/// Room for one descriptor beside a message (cmsg(3)).
const CONTROL: usize = 64;

/// In the environment of a writer: the lock of who has started it, and its number.
const LOCK: &str = "LOCK";
const PID: &str = "PID";

/// A writer that runs. It is not killed when this is dropped.
pub struct Writer {
    child: Child,
    reports: Socket,
}

impl Writer {
    /// Starts one. Once somebody else has noted himself in `lock`, what it has not written by then
    /// is outdated.
    ///
    /// # Errors
    /// As fork(2), execve(2), socketpair(2), memfd_create(2), write(2).
    pub fn start(jobs: &[&FileJob], lock: Option<&Path>) -> io::Result<Self> {
        // SAFETY: the name ends with a NUL.
        let fd = cerr(unsafe { libc::memfd_create(c"imon".as_ptr(), libc::MFD_CLOEXEC) })?;
        // SAFETY: a new descriptor that nobody else has.
        let mut input = unsafe { File::from_raw_fd(fd) };
        let mut bytes = Vec::new();
        jobs.iter().for_each(|job| put(job, &mut bytes));
        input.write_all(&bytes)?;
        io::Seek::rewind(&mut input)?;
        let (reports, theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        reports.set_nonblocking(true)?;
        let mut command = Command::new(worker::program());
        command.arg(ARGUMENT).env_clear().current_dir("/").process_group(0);
        command.env(PID, std::process::id().to_string()).envs(lock.map(|lock| (LOCK, lock)));
        command.stdin(input).stdout(OwnedFd::from(theirs)).stderr(Stdio::null());
        Ok(Self { child: command.spawn()?, reports })
    }

    /// The descriptor to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.reports.as_raw_fd()
    }

    /// Takes the next report. `Ok(None)`: none now; an error: it has ended, and there are no more.
    ///
    /// # Errors
    /// `UnexpectedEof` when it has ended.
    pub fn report(&mut self) -> io::Result<Option<Done<File>>> {
        let mut buffer = [0; 8 + RECORD];
        let (n, file) = match receive(&self.reports, &mut buffer) {
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                return Ok(None);
            }
            other => other?,
        };
        let word = |at: usize| Some(u32::from_ne_bytes(*buffer.get(at..n)?.first_chunk()?));
        let (Some(place), Some(errno)) = (word(0), word(4)) else {
            // It gives no life sign, only its end: everything has been reported by then, or never
            // will be.
            let _ = self.child.wait();
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        Ok(Some(Done {
            place: usize::try_from(place).unwrap_or(usize::MAX),
            result: if errno == 0 {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(errno.cast_signed()))
            },
            record: file.map(|file| (file, buffer.get(8..n).unwrap_or_default().to_vec())),
        }))
    }
}

/// The child's side: does the jobs in order. A file is removed only if what was to be saved before
/// it is on the disk.
pub fn main() {
    let mut bytes = Vec::new();
    if io::stdin().lock().read_to_end(&mut bytes).is_err() {
        return;
    }
    let lock = std::env::var_os(LOCK).zip(super::env(PID).and_then(|pid| pid.parse().ok()));
    let outdated =
        || lock.as_ref().is_some_and(|(lock, pid)| files::has_another_holder(lock.as_ref(), *pid));
    let mut rest = bytes.as_slice();
    let mut unsaved = false;
    let mut place = 0_u32;
    while let Some(job) = take(&mut rest).filter(|_| !outdated()) {
        let mut record = None;
        let result = match &job {
            FileJob::Probe(directory) => files::probe(directory),
            FileJob::Replace(path, content) => files::put(path, content, false, &outdated),
            FileJob::Save(path, content) => {
                let result = files::put(path, content, true, &outdated);
                unsaved |= result.is_err();
                result
            }
            FileJob::Move(from, to) => std::fs::rename(from, to),
            FileJob::Remove(_) if unsaved => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
            FileJob::Remove(path) => files::unlink(path),
            FileJob::Record(path) => files::open_record(path).map(|opened| record = Some(opened)),
        };
        let errno = result.err().map_or(0, |e| e.raw_os_error().unwrap_or(libc::EIO));
        let (file, said) = record.map_or((None, Vec::new()), |(file, said)| (Some(file), said));
        send(&[&place.to_ne_bytes()[..], &errno.to_ne_bytes(), &said].concat(), file.as_ref());
        place += 1;
    }
}

fn put(job: &FileJob, out: &mut Vec<u8>) {
    let (kind, path, more): (u8, &Path, &[u8]) = match job {
        FileJob::Probe(path) => (0, path, &[]),
        FileJob::Replace(path, content) => (1, path, content),
        FileJob::Save(path, content) => (2, path, content),
        FileJob::Move(from, to) => (3, from, to.as_os_str().as_encoded_bytes()),
        FileJob::Remove(path) => (4, path, &[]),
        FileJob::Record(path) => (5, path, &[]),
    };
    out.push(kind);
    for part in [path.as_os_str().as_encoded_bytes(), more] {
        out.extend(u32::try_from(part.len()).unwrap_or(0).to_ne_bytes());
        out.extend(part);
    }
}

fn take(rest: &mut &[u8]) -> Option<FileJob> {
    let (kind, mut left) = rest.split_first()?;
    let mut part = || {
        let (length, more) = left.split_first_chunk::<4>()?;
        let (part, more) =
            more.split_at_checked(usize::try_from(u32::from_ne_bytes(*length)).ok()?)?;
        left = more;
        Some(part)
    };
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let (first, second) = (path(part()?), part()?);
    *rest = left;
    Some(match kind {
        0 => FileJob::Probe(first),
        1 => FileJob::Replace(first, second.to_vec()),
        2 => FileJob::Save(first, second.to_vec()),
        3 => FileJob::Move(first, path(second)),
        4 => FileJob::Remove(first),
        5 => FileJob::Record(first),
        _ => return None,
    })
}

/// Sends a message by standard output, with a descriptor beside it.
fn send(bytes: &[u8], file: Option<&File>) {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; CONTROL]);
    // SAFETY: integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(file) = file {
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the control buffer is aligned and large enough for one descriptor; `message` says
        // where it is.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
            let head = libc::CMSG_FIRSTHDR(&raw const message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(head).cast::<RawFd>().write_unaligned(file.as_raw_fd());
        }
    }
    // SAFETY: all that `message` points to lives through the call. Whoever started this may be gone
    // by now.
    unsafe { libc::sendmsg(1, &raw const message, libc::MSG_NOSIGNAL) };
}

/// Takes a message, with the file that may be beside it.
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Option<File>)> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; CONTROL]);
    // SAFETY: integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    // SAFETY: all that `message` points to lives through the call and is as long as it says.
    let n = cerr(unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC)
    })?;
    // SAFETY: the kernel has filled in what it says of the control buffer; a descriptor that came
    // is ours alone.
    let file = unsafe {
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        let is_file = !head.is_null()
            && (*head).cmsg_level == libc::SOL_SOCKET
            && (*head).cmsg_type == libc::SCM_RIGHTS
            && (*head).cmsg_len as usize >= libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
        is_file.then(|| File::from_raw_fd(libc::CMSG_DATA(head).cast::<RawFd>().read_unaligned()))
    };
    Ok((usize::try_from(n).unwrap_or(0), file))
}

/// As `struct cmsghdr` wants it.
#[repr(align(8))]
struct Control([u8; CONTROL]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_arrive_as_they_were() {
        let path = |text: &str| PathBuf::from(text);
        let jobs = [
            FileJob::Probe(path("/a")),
            FileJob::Replace(path("/b"), vec![0; 300_000]),
            FileJob::Save(path("/c d"), b"text\n".to_vec()),
            FileJob::Move(path("/e"), path("/f")),
            FileJob::Remove(path("/g")),
            FileJob::Record(path("/h")),
        ];
        let mut bytes = Vec::new();
        jobs.iter().for_each(|job| put(job, &mut bytes));
        let mut rest = bytes.as_slice();
        assert_eq!(std::iter::from_fn(|| take(&mut rest)).collect::<Vec<_>>(), jobs);
        for cut in (0..bytes.len()).rev().take(300) {
            let mut rest = &bytes[..cut];
            while take(&mut rest).is_some() {}
        }
    }
}
