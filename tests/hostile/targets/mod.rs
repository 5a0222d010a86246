//! What hostile input must not do: a target takes bytes, hands them to what reads such bytes in
//! imon, and panics when a property does not hold. `cargo test --test hostile` runs these on stable
//! Rust, and `fuzz/` runs the same with libFuzzer: see docs/development/testing.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "test code, not imon's core"
)]

pub mod mutate;

mod files;
mod kernel;
mod settings;
mod web;
mod wire;

/// What one kind of input does.
pub struct Target {
    /// Its name: that of its seeds' folder and of its program in `fuzz/`.
    pub name: &'static str,
    /// Takes an input and panics when something is wrong.
    pub run: fn(&[u8]),
    /// Pieces of text that mean something to what is tried, for the generator.
    pub words: &'static [&'static str],
    /// Most memory that an input may take at once, in bytes, beside [`PER_BYTE`] for each of its
    /// bytes.
    pub memory: usize,
}

/// Most memory that each byte of an input may take beside [`Target::memory`].
pub const PER_BYTE: usize = 512;
/// Longest input, in bytes.
pub const LONGEST: usize = 4096;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "icmp", run: wire::icmp, words: &[], memory: 64 << 10 },
    Target { name: "frames", run: wire::frames, words: &[], memory: 64 << 10 },
    Target {
        name: "dns",
        run: wire::dns,
        words: &["\u{3}www", "\u{0}\u{1}\u{0}\u{1}"],
        memory: 128 << 10,
    },
    Target {
        name: "rtnetlink",
        run: kernel::rtnetlink,
        words: &["wan1", "ppp", "tun"],
        memory: 256 << 10,
    },
    Target { name: "conntrack", run: kernel::conntrack, words: &[], memory: 64 << 10 },
    Target {
        name: "config",
        run: settings::config,
        words: settings::CONFIG_WORDS,
        memory: 1 << 20,
    },
    Target {
        name: "arguments",
        run: settings::arguments,
        words: settings::ARGUMENT_WORDS,
        memory: 256 << 10,
    },
    Target { name: "text", run: settings::text, words: settings::TEXT_WORDS, memory: 256 << 10 },
    Target { name: "state", run: files::state, words: files::STATE_WORDS, memory: 256 << 10 },
    Target { name: "status", run: files::status, words: files::STATUS_WORDS, memory: 256 << 10 },
    Target { name: "worker", run: files::worker, words: files::WORKER_WORDS, memory: 256 << 10 },
    Target { name: "resolve", run: files::resolve, words: files::RESOLVE_WORDS, memory: 1 << 20 },
    Target { name: "pages", run: web::pages, words: web::PAGE_WORDS, memory: 1 << 20 },
    Target {
        name: "secrets",
        run: web::secrets,
        words: &["%25", "\\u00", "&#x", "&amp;", "+", "=="],
        memory: 8 << 20,
    },
    Target { name: "http", run: web::http, words: web::HTTP_WORDS, memory: 1 << 20 },
];

/// The target of this name.
///
/// # Panics
/// There is none.
#[must_use]
pub fn target(name: &str) -> &'static Target {
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("there is no target {name}"))
}

/// An input that is taken apart from its beginning on. At its end there are zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) =
            self.0.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn long(&mut self) -> u32 {
        u32::from(self.word()) << 16 | u32::from(self.word())
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Changes bytes of a packet as the rest says, and cuts it at last. Whether it is now another
    /// one.
    fn edit(&mut self, packet: &mut Vec<u8>) -> bool {
        let before = packet.clone();
        while self.0.len() >= 3 {
            let at = usize::from(self.word()) % (packet.len() + 1);
            let byte = self.byte();
            match packet.get_mut(at) {
                Some(place) => *place ^= byte,
                None => packet.truncate(usize::from(byte)),
            }
        }
        *packet != before
    }
}

/// The parts of a text between zeros, of which there are as many as are asked for.
fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// A text must not forge a line of a log or move a cursor.
fn assert_clean(text: &str) {
    let unsafe_one = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(unsafe_one), "it has control characters: {text:?}");
}
