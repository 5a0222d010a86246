//! Files: bounded reading, atomic writing, locks, and who may write to them.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::cerr;
use crate::engine::world::FileStamp;

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// As for [`read_start`]; `InvalidData` when it is too long.
pub fn read(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    within(read_start(path, limit + 1)?, limit)
}

fn within(bytes: Vec<u8>, limit: u64) -> io::Result<Vec<u8>> {
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Reads the first `most` bytes of a regular file. Never blocks on a FIFO, never reads a device.
///
/// # Errors
/// As open(2) and read(2); `InvalidData` when it is no regular file.
pub fn read_start(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file"));
    }
    start_of(&file, most)
}

fn start_of(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces a file in one step: a reader sees the old content or the new, whole. `durable`:
/// readable for us alone, and after a power failure the old content or the new is there, whole;
/// else for everybody.
///
/// What an earlier process has left half written is removed first, so it cannot take this one's
/// place later: a rename of what is gone fails. One that has not even begun by then finds itself
/// `outdated`, which is asked between the two. Nothing that lies there is followed or written to.
///
/// # Errors
/// As open(2), write(2), fsync(2), rename(2); `ESTALE` when it is outdated. A temporary file is not
/// left behind.
pub(super) fn put(
    path: &Path,
    content: &[u8],
    durable: bool,
    outdated: &dyn Fn() -> bool,
) -> io::Result<()> {
    let (Some(directory), Some(name)) =
        (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    make_directory(directory)?;
    let prefix = format!(".{name}.");
    for other in names(&directory.to_string_lossy()) {
        let number = other.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".new"));
        if number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit())) {
            // A directory stays, and keeps nobody from writing: the next process has another
            // number.
            remove(&directory.join(other));
        }
    }
    let temporary = directory.join(format!("{prefix}{}.new", std::process::id()));
    let write = || {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(if durable { 0o600 } else { 0o644 })
            .custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&temporary)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        if outdated() {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        fs::rename(&temporary, path)?;
        // The name is on the disk, too.
        if durable { File::open(directory)?.sync_all() } else { Ok(()) }
    };
    write().inspect_err(|_| remove(&temporary))
}

/// Finds out whether files can be made in a directory, which is made if it is not there.
pub(super) fn probe(directory: &Path) -> io::Result<()> {
    make_directory(directory)?;
    let path = directory.join(format!(".probe.{}.new", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)?;
    unlink(&path)
}

/// Opens a file that only imon makes, where others may have laid something in its place: a link is
/// not followed, a pipe not waited for, and what has another name besides, or belongs to somebody
/// who could not have put it there, is not taken.
///
/// # Errors
/// As open(2); `InvalidData` when something else lies there.
fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    let directory = path.parent().and_then(|directory| fs::metadata(directory).ok());
    // SAFETY: takes nothing, cannot fail.
    let owners = [Some(0), Some(unsafe { libc::geteuid() }), directory.map(|it| it.uid())];
    if meta.is_file() && meta.nlink() == 1 && owners.contains(&Some(meta.uid())) {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a file of imon's own"))
}

/// Reads a file of at most `limit` bytes that only imon makes, see [`open_own`].
///
/// # Errors
/// As open(2), read(2); `InvalidData` when it is too long, or not a file of ours.
pub(super) fn read_own(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_own(OpenOptions::new().read(true), path)?;
    within(start_of(&file, limit + 1)?, limit)
}

/// Removes a file, if it is there; of a directory in its place what is said is that it is one.
pub(super) fn unlink(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
        .or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

/// Opens and locks the record of something to be done, and reads what an earlier try has left. One
/// that was cut short says nothing and is emptied. Its name is on the disk by then, or what is
/// noted there would go with it when the power fails.
///
/// # Errors
/// `WouldBlock`: its process is still at it. Else as for [`open_own`].
pub(super) fn open_record(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut options = OpenOptions::new();
    let mut file = open_own(options.read(true).write(true).create(true), path)?;
    lock_file(&file)?;
    let mut said = Vec::new();
    (&mut file).take(4096).read_to_end(&mut said)?;
    if said.last() != Some(&b'\n') {
        said.clear();
        file.set_len(0)?;
        io::Seek::rewind(&mut file)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
    }
    Ok((file, said))
}

/// Replaces a file, readable for us alone, so that after a power failure the old content or the new
/// is there, whole.
///
/// # Errors
/// As open(2), write(2), fsync(2), rename(2). A temporary file is not left behind.
pub fn save(path: &Path, temporary: &Path, content: &[u8]) -> io::Result<()> {
    let write = || {
        // One that was left is removed, whatever it is, and not written to.
        unlink(temporary)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(temporary, path)?;
        // The name is on the disk, too.
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().inspect_err(|_| remove(temporary))
}

/// Where a path leads, if it is a symbolic link: one to a file that is still to be made as well.
#[must_use]
pub fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as the kernel follows (path_resolution(7)).
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        // A relative name starts where the link is.
        path = path.parent().map_or_else(|| target.clone(), |directory| directory.join(&target));
    }
    path
}

/// Whether files can be made in a directory, or the directory itself in the nearest one that is
/// there.
///
/// # Errors
/// Why not.
pub fn can_write_in(directory: &Path) -> io::Result<()> {
    let there = directory.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
    let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = CString::new(there.as_os_str().as_bytes())?;
    // SAFETY: the name ends with a NUL and lives through the call.
    cerr(unsafe { libc::faccessat(libc::AT_FDCWD, name.as_ptr(), libc::W_OK, libc::AT_EACCESS) })
        .map(|_| ())
}

/// Whether there is such a file or directory.
#[must_use]
pub fn exists(path: &str) -> bool {
    fs::metadata(path).is_ok()
}

/// The names in a directory, in no order. None if there is no such directory.
#[must_use]
pub fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Makes a directory that everybody may read and only we may write to, whatever the umask, with its
/// parents.
///
/// # Errors
/// As mkdir(2), but for one that exists.
pub fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// A lock on a file, held until it is dropped or the process ends, however that happens.
pub struct Lock(File);

impl Lock {
    /// Notes something behind the number of the process: for people who look, and for other imons.
    /// The lock itself is what counts, also when there is no room to write.
    pub fn note(&mut self, note: &dyn std::fmt::Display) {
        let Self(file) = self;
        let _ = file.set_len(0).and_then(|()| io::Seek::rewind(file));
        let _ = writeln!(file, "{} {note}", std::process::id());
    }
}

/// Locks a file, creating it if need be. Nobody else may read it: who can open a file can also lock
/// it, and keep us out.
///
/// # Errors
/// `WouldBlock` when another process holds it; else as open(2).
pub fn lock(path: &Path) -> io::Result<Lock> {
    lock_and_note(path, &"")
}

/// The same with something noted.
fn lock_and_note(path: &Path, note: &dyn std::fmt::Display) -> io::Result<Lock> {
    let file = open_own(OpenOptions::new().write(true).create(true), path)?;
    lock_file(&file)?;
    let mut lock = Lock(file);
    lock.note(note);
    Ok(lock)
}

/// Whether a lock was taken by another process after the one of this number had it.
pub(super) fn has_another_holder(path: &Path, pid: u32) -> bool {
    let text = open_own(OpenOptions::new().read(true), path).and_then(|file| start_of(&file, 16));
    let holder = text.ok().and_then(|text| {
        String::from_utf8(text).ok()?.split_ascii_whitespace().next()?.parse().ok()
    });
    holder.is_some_and(|holder: u32| holder != pid)
}

/// Locks an open file until it is closed by everybody who has it from us.
fn lock_file(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    super::cerr(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }).map(|_| ())
}

/// When a file was last changed, and which one it is: tells whether it must be read again.
#[must_use]
pub fn stamp(path: &str) -> FileStamp {
    let m = fs::metadata(path).ok()?;
    Some((m.ino(), m.mtime(), m.mtime_nsec(), m.size()))
}

/// What keeps a script from being run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScriptFault {
    /// No such file.
    Missing,
    /// A directory or a device.
    NoFile,
    /// A file that nobody may execute.
    NotExecutable,
}

/// Checks that a script is there and executable.
///
/// # Errors
/// What is wrong with it.
pub fn check_script(path: &str) -> Result<(), ScriptFault> {
    let meta = fs::metadata(path).map_err(|_| ScriptFault::Missing)?;
    match (meta.is_file(), meta.permissions().mode() & 0o111 != 0) {
        (true, true) => Ok(()),
        (true, false) => Err(ScriptFault::NotExecutable),
        (false, _) => Err(ScriptFault::NoFile),
    }
}

/// Who else may change a file that imon, mostly root, believes: `None` if nobody but its owner, who
/// must be root or the user imon runs as.
#[must_use]
pub fn writable_by_others(path: &str) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    // SAFETY: takes nothing, cannot fail.
    let me = unsafe { libc::geteuid() };
    let mode = meta.mode();
    if mode & 0o002 != 0 {
        Some(format!(
            "everybody may write to it (mode {:04o}); use 'chmod o-w {path}'",
            mode & 0o7777
        ))
    } else if mode & 0o020 != 0 && meta.gid() != 0 {
        Some(format!(
            "group {} may write to it (mode {:04o}); use 'chmod g-w {path}'",
            meta.gid(),
            mode & 0o7777
        ))
    } else if meta.uid() != 0 && meta.uid() != me {
        Some(format!(
            "it belongs to user {}, who may write to it; use 'chown root {path}'",
            meta.uid()
        ))
    } else {
        None
    }
}

/// Who else may read a file with a secret in it: `None` if nobody but its owner and the group root.
#[must_use]
pub fn readable_by_others(path: &str) -> Option<&'static str> {
    let meta = fs::metadata(path).ok()?;
    match meta.mode() {
        mode if mode & 0o004 != 0 => Some("everybody"),
        mode if mode & 0o040 != 0 && meta.gid() != 0 => Some("its group"),
        _ => None,
    }
}

/// Keeps descriptors that were inherited from the caller to ourselves: a script gets 0 to 2 and no
/// others.
pub fn close_inherited_on_exec() {
    let fds: Vec<i32> = match fs::read_dir("/proc/self/fd") {
        Ok(dir) => dir.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect(),
        Err(_) => (3..256).collect(),
    };
    for fd in fds.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: sets a flag; on a descriptor that is not open it fails and nothing happens.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// How often a lock that is held is tried again, and after how long.
const PATIENCE: usize = 3;
const MOMENT: std::time::Duration = std::time::Duration::from_millis(2);

/// The lock and status files of an instance.
pub struct Runtime {
    directory: PathBuf,
    /// The lock of the instance, while it is held.
    pub lock: Option<Lock>,
    status: PathBuf,
}

/// Why an instance cannot have its runtime files.
pub enum RuntimeError {
    /// Another process runs this instance.
    Running(PathBuf),
    /// The directory or a file in it cannot be made.
    Unusable(PathBuf, io::Error),
}

impl Runtime {
    /// Takes the lock of an instance in `$RUNTIME_DIRECTORY`, else `/run/imon`.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub fn open(instance: &str) -> Result<Self, RuntimeError> {
        let directory = directory("RUNTIME_DIRECTORY", "/run/imon");
        let lock_file = directory.join(format!("{instance}.lock"));
        let unusable = |e| RuntimeError::Unusable(directory.clone(), e);
        make_directory(&directory).map_err(unusable)?;
        let lock = match lock(&lock_file) {
            Ok(lock) => lock,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(RuntimeError::Running(lock_file));
            }
            // Something lies in its place: the directory itself is of use.
            Err(e) if fs::symlink_metadata(&lock_file).is_ok() => {
                return Err(RuntimeError::Unusable(lock_file, e));
            }
            Err(e) => return Err(unusable(e)),
        };
        Ok(Self { lock: Some(lock), status: directory.join(format!("{instance}.json")), directory })
    }

    /// Takes the lock of an interface, so that no two instances switch the routes over it. The
    /// first of the instance's routing tables is noted there.
    ///
    /// # Errors
    /// `WouldBlock`: another instance has it. Else as open(2).
    pub fn lock_device(&self, device: &str, table: u32) -> io::Result<Lock> {
        let devices = self.directory.join("devices");
        make_directory(&devices)?;
        let path = devices.join(device);
        // Somebody who only looks whether there is anybody has it for a moment.
        for _ in 0..PATIENCE {
            match lock_and_note(&path, &table) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => super::clock::pause(MOMENT),
                other => return other,
            }
        }
        lock_and_note(&path, &table)
    }

    /// The interfaces but `ours` whose locks others hold, each with the table noted there, and the
    /// locks of those that nobody holds.
    #[must_use]
    pub fn other_devices(&self, ours: &[String]) -> (Vec<(String, Option<u32>)>, Vec<Lock>) {
        let devices = self.directory.join("devices");
        let (mut taken, mut free) = (Vec::new(), Vec::new());
        for device in
            names(&devices.to_string_lossy()).into_iter().filter(|device| !ours.contains(device))
        {
            let path = devices.join(&device);
            let Ok(file) = open_own(OpenOptions::new().read(true), &path) else { continue };
            if lock_file(&file).is_ok() {
                free.push(Lock(file));
                continue;
            }
            let text = start_of(&file, 64).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            taken.push((
                device,
                text.split_ascii_whitespace().nth(1).and_then(|table| table.parse().ok()),
            ));
        }
        (taken, free)
    }

    /// The lock's file.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.status.with_extension("lock")
    }

    /// The status file.
    #[must_use]
    pub fn status(&self) -> &Path {
        &self.status
    }

    /// Gives the lock back. Its file stays: an unlink would race with the next imon.
    pub fn close(&mut self) {
        self.lock = None;
    }
}

/// Where what outlives a reboot is kept: `$STATE_DIRECTORY` or `/var/lib/imon`.
#[must_use]
pub fn state_directory() -> PathBuf {
    directory("STATE_DIRECTORY", "/var/lib/imon")
}

/// A directory that systemd names in the environment (the first, when it names several), or the
/// usual one.
fn directory(variable: &str, otherwise: &str) -> PathBuf {
    let named = super::env(variable).and_then(|all| all.split(':').next().map(str::to_owned));
    named.filter(|d| d.starts_with('/')).unwrap_or_else(|| otherwise.to_owned()).into()
}
