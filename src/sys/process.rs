//! Running an action script: never through a shell, in its own process group, with its output in a
//! pipe.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::engine::world::{Ending, Record};

/// A script that runs.
pub struct RunningProcess {
    child: Child,
    group: i32,
}

/// What a script prints. It may outlive the script, when that leaves something running in the
/// background.
pub struct Output(PipeReader);

/// Starts `path` with these arguments and additions to the environment. Standard input is empty,
/// standard output and error are one pipe, all other descriptors are closed (they are
/// close-on-exec).
///
/// With a `record` a process of ours stands between, which notes the script's success there even if
/// imon is gone by then.
///
/// # Errors
/// As execve(2): missing, not executable, no interpreter, no memory.
pub fn start(
    path: &str,
    args: &[String],
    env: &[(&str, String)],
    record: Option<&Record<File>>,
) -> io::Result<(RunningProcess, Output)> {
    let (read, write) = super::output_pipe()?;
    let spawn = |program: &OsStr, first: Option<&str>| {
        let mut command = Command::new(program);
        command.args(first).args(args).envs(env.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write.try_clone()?);
        command.process_group(0);
        if let Some(record) = record {
            let (fd, success) = (record.file.as_raw_fd(), Arc::clone(&record.success));
            // SAFETY: between fork and exec, in a process with one thread; see there.
            unsafe { command.pre_exec(move || stand_between(fd, &success)) };
        }
        command.spawn()
    };
    let child = match spawn(path.as_ref(), None) {
        // No `#!`: V2.99's shell would have run it.
        Err(e) if e.raw_os_error() == Some(libc::ENOEXEC) => spawn("/bin/sh".as_ref(), Some(path)),
        other => other,
    }?;
    let group = i32::try_from(child.id()).unwrap_or(0);
    Ok((RunningProcess { child, group }, Output(read)))
}

/// Forks once more. The child goes on to become the script; this process waits for it, writes
/// `success` to the descriptor if it ends well, and ends as the script did. It makes
/// async-signal-safe calls only.
fn stand_between(record: RawFd, success: &[u8]) -> io::Result<()> {
    // SAFETY: nothing here allocates or takes a lock; descriptors and pointers are our own.
    unsafe {
        let child = super::cerr(libc::fork())?;
        if child == 0 {
            return Ok(());
        }
        // Whoever ends the script's group does not mean this one: it ends with the script.
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
            libc::signal(signal, libc::SIG_IGN);
        }
        // The script's output would not end, and whoever started it waits for the exec in another
        // pipe.
        for fd in (0..1024).filter(|fd| *fd != record) {
            libc::close(fd);
        }
        let mut status = 0;
        while libc::waitpid(child, &raw mut status, 0) == -1 {
            if *libc::__errno_location() != libc::EINTR {
                libc::_exit(127);
            }
        }
        if libc::WIFEXITED(status) {
            if libc::WEXITSTATUS(status) == 0 {
                libc::write(record, success.as_ptr().cast(), success.len());
                libc::fsync(record);
            }
            libc::_exit(libc::WEXITSTATUS(status));
        }
        let signal = libc::WTERMSIG(status);
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
        libc::_exit(128 + signal);
    }
}

impl RunningProcess {
    /// Asks the script and all it started to end.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends the script and all it started.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Whether the script itself has ended. It is not reaped yet, so that its group's number is not
    /// used again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        // SAFETY: integers and a union of them, for which zero is valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` is valid to write to; the child is ours and not reaped.
        let r = unsafe { libc::waitid(libc::P_PID, self.child.id(), &raw mut info, flags) };
        // SAFETY: si_pid is valid after waitid, zero when nothing has ended.
        r != 0 || unsafe { info.si_pid() } != 0
    }

    /// How it ended. To be called once it has.
    pub fn reap(&mut self) -> Ending {
        let Ok(Some(status)) = self.child.try_wait() else { return Ending::Unknown };
        let signal = || status.signal().map_or(Ending::Unknown, Ending::Signal);
        status.code().map_or_else(signal, Ending::Status)
    }

    fn signal(&self, signal: i32) {
        if self.group > 1 {
            // SAFETY: sends a signal to the group of a child that is not reaped yet, so the number
            // is still its.
            unsafe { libc::kill(-self.group, signal) };
        }
    }
}

impl Output {
    /// The descriptor to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Reads what is there: `Some(0)` at its end, `None` when there is nothing now.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match self.0.read(buffer) {
            Ok(n) => Some(n),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                None
            }
            Err(_) => Some(0),
        }
    }
}
