//! The thin layer of system calls: one file per kind of resource. Everything `unsafe` lives here,
//! and nothing here decides anything.

// The only place with clocks, sockets, files, processes and the environment (see clippy.toml), and
// with `unsafe`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, unsafe_code)]

pub mod clock;
pub mod configuration;
pub mod confine;
pub mod conntrack;
pub mod crash;
pub mod files;
pub mod http;
pub mod log;
pub mod memory;
pub mod net;
pub mod netlink;
pub mod notify;
pub mod packet;
pub mod ping;
pub mod poll;
pub mod process;
pub mod real;
mod seccomp;
pub mod secret;
pub mod shortage;
pub mod signal;
pub mod tcp;
pub mod terminal;
#[cfg(feature = "tls")]
mod tls;
pub mod udp;
pub mod web_worker;
pub mod worker;
pub mod writer;

use std::io;
use std::os::fd::AsRawFd;

/// Turns the `-1` of a C call into the error in `errno`.
fn cerr<T: PartialEq + From<i8>>(result: T) -> io::Result<T> {
    if result == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A pipe for what a child prints: reading from it never waits.
fn output_pipe() -> io::Result<(io::PipeReader, io::PipeWriter)> {
    let (read, write) = io::pipe()?;
    // SAFETY: sets a flag of a descriptor that is open.
    cerr(unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((read, write))
}

/// Switches a socket option on.
fn set_option(socket: &socket2::Socket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    set_option_to(socket, level, option, 1)
}

/// Sets a socket option that is a number.
fn set_option_to(
    socket: &socket2::Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is a c_int that lives through the call, and its length is given.
    cerr(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    })
    .map(|_| ())
}

/// The text of an environment variable, when it is set and UTF-8.
#[must_use]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// An error's text without the number that Rust adds: `Network is unreachable`. Where this process
/// is short of something, what mends that is added.
#[must_use]
pub fn error_text(e: &io::Error) -> String {
    format!("{}{}", crate::base::error::text(e), shortage::hint(e))
}
