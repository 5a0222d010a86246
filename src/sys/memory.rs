//! Giving memory back, and what becomes of the program when there is none.

use std::alloc::{GlobalAlloc, Layout, System};

use super::{crash, files};

/// The C library's memory. That there is no more of it is told as what it is, and not as a fault of
/// the program: it then ends with the exit status of what may work the next time. For a program's
/// main file.
pub struct Allocator;

// SAFETY: all is passed on to the system's allocator as it came, and null is never returned.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        had(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        had(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        had(unsafe { System.realloc(memory, layout, size) }, size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn had(memory: *mut u8, size: usize) -> *mut u8 {
    if memory.is_null() { crash::out_of_memory(size) } else { memory }
}

/// Code and constants are mapped in pieces of this many bytes.
const PIECE: usize = 16 * 1024;

/// Tells the kernel that the program's own code and constants need not stay mapped. What goes on
/// running is mapped again from the page cache within microseconds; what only the start needed
/// (reading the configuration), and what the daemon never runs (TLS, which is half of the file), is
/// not, and a router that is short of memory can use it for something else.
///
/// With each page that is used Linux maps the 64 KiB around it, as far as they belong to the same
/// mapping ("fault around"). For code of which a little is used everywhere that is nearly all of
/// it, so the mapping is cut into smaller ones, by a flag that means nothing to a program that
/// writes no core file.
pub fn release_code() {
    let Ok(maps) = files::read("/proc/self/maps", 64 * 1024) else { return };
    for line in String::from_utf8_lossy(&maps).lines() {
        // "00401000-00512000 r-xp 00001000 fe:00 1234   /usr/local/bin/imon"
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(mode), Some(offset)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let address = |hex| usize::from_str_radix(hex, 16).ok();
        let Some((Some(from), Some(to))) =
            range.split_once('-').map(|(from, to)| (address(from), address(to)))
        else {
            continue;
        };
        // A file's beginning and its code have never been written to. What else is read-only now
        // may have been, by the loader, and would be lost.
        let is_pure = mode == "r-xp" || (mode == "r--p" && address(offset) == Some(0));
        if !is_pure || !fields.nth(2).is_some_and(|path| path.starts_with('/')) {
            continue;
        }
        let advise = |from: usize, to: usize, advice| {
            // SAFETY: a mapping of a file that nobody has written to: dropping its pages loses
            // nothing, they are mapped again from the file, those with this code on them too.
            unsafe { libc::madvise(std::ptr::without_provenance_mut(from), to - from, advice) };
        };
        for piece in (from..to).step_by(2 * PIECE) {
            advise(piece, to.min(piece + PIECE), libc::MADV_DONTDUMP);
        }
        advise(from, to, libc::MADV_DONTNEED);
    }
}
