//! Starting this same program again for one web request: what blocks, and what parses the web, has
//! no place in the daemon. The request goes in by standard input, where `ps` does not see it, and
//! one line comes out.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The argument that makes this program a worker. Not for people.
pub const ARGUMENT: &str = "web-worker";
/// Longest line that is taken, in bytes.
const LONGEST: usize = 4096;
/// The descriptor of the record, see [`Worker::start`].
pub const RECORD: RawFd = 3;

/// A worker that runs. Dropping it kills it.
pub struct Worker {
    child: Child,
    output: PipeReader,
    line: Vec<u8>,
}

impl Worker {
    /// Starts one. It writes its line to `record` as well, where it outlives the daemon.
    ///
    /// # Errors
    /// As fork(2), execve(2), pipe(2).
    pub fn start(request: &[u8], record: Option<&File>) -> io::Result<Self> {
        let (output, write) = super::output_pipe()?;
        let mut command = Command::new(program());
        command.arg(ARGUMENT).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(write).stderr(Stdio::null()).process_group(0);
        if let Some(record) = record {
            command.arg("record");
            let fd = record.as_raw_fd();
            // SAFETY: between fork and exec only async-signal-safe calls are made; the descriptor
            // is open in the parent for as long as `record` is borrowed.
            unsafe { command.pre_exec(move || hand_over(fd)) };
        }
        let mut child = command.spawn()?;
        let mut worker_input = child.stdin.take();
        let mut worker = Self { child, output, line: Vec::new() };
        // It fits into the pipe.
        let sent = worker_input.as_mut().map_or(Ok(()), |input| input.write_all(request));
        if let Err(e) = sent {
            worker.end();
            return Err(e);
        }
        Ok(worker)
    }

    /// The descriptor to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.output.as_raw_fd()
    }

    /// Reads what is there: its line once that is complete, which is empty if it ended without one.
    /// `None`: not yet.
    pub fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 512];
        loop {
            match self.output.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    self.line.extend_from_slice(buffer.get(..n).unwrap_or_default());
                    if self.line.last() == Some(&b'\n') || self.line.len() > LONGEST {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.end();
        Some(std::mem::take(&mut self.line))
    }

    /// Ends it. It has nothing to put in order.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Makes the descriptor number [`RECORD`] of a new process.
pub(super) fn hand_over(fd: RawFd) -> io::Result<()> {
    if fd == RECORD {
        // SAFETY: sets a flag of an open descriptor.
        return super::cerr(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map(|_| ());
    }
    // SAFETY: both are numbers; what had the number before is closed in this process only.
    super::cerr(unsafe { libc::dup2(fd, RECORD) }).map(|_| ())
}

/// This program, also after it was replaced by another version.
pub(super) fn program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        _ => "/proc/self/exe".into(),
    }
}

/// The worker's side: its request.
///
/// # Errors
/// As read(2); one that is too long.
pub fn request() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(64 * 1024).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The worker's side: writes its line to the record, if there is one, and to standard output.
pub fn answer(line: &str, record: bool) {
    if record {
        let bytes = line.as_bytes();
        // SAFETY: the bytes live through the calls; the descriptor was handed over by whoever
        // started this process.
        unsafe {
            libc::write(RECORD, bytes.as_ptr().cast(), bytes.len());
            libc::fsync(RECORD);
        }
    }
    let _ = io::stdout().write_all(line.as_bytes());
}
