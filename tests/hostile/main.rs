//! Hostile input, ten seconds of it for each target on stable Rust: `cargo test --test hostile`. A
//! failure prints its input and how to run it again. See docs/development/testing.md.
//!
//! `HOSTILE_SECONDS`: how long each target is tried, in place of 10 s. `HOSTILE_SEED`: another seed
//! than 1. `HOSTILE_INPUT=TARGET:HEX`: this input alone, and `HOSTILE_FILE=TARGET:PATH` that of a
//! file, as cargo-fuzz leaves them. `HOSTILE_TRACE=DIR`: each input is written into a file there
//! before it is tried, for what ends the process at once.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unsafe_code,
    reason = "test code, not imon's core"
)]

mod targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use targets::{PER_BYTE, TARGETS, Target, mutate, target};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most processor time that an input may take.
const SLOW: Duration = Duration::from_secs(2);

fn main() {
    let arguments = Arguments::from_args();
    let trials = TARGETS.iter().map(|target| Trial::test(target.name, move || attack(target)));
    let trials =
        trials.chain([Trial::test("every_target_has_seeds_and_a_program", complete)]).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// Tries a target for some time.
fn attack(target: &Target) -> Result<(), Failed> {
    if let Some(given) = given(target.name) {
        return given.map_or(Ok(()), |input| attempt(target, &input, "given"));
    }
    let seconds = number("HOSTILE_SECONDS").unwrap_or(10);
    let seed = number("HOSTILE_SEED").unwrap_or(1);
    let seeds = seeds(target);
    let trace = std::env::var_os("HOSTILE_TRACE").map(|dir| PathBuf::from(dir).join(target.name));
    for input in &seeds {
        attempt(target, input, "a seed")?;
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut n = 0;
    while Instant::now() < until {
        // The clock is asked now and then only.
        for _ in 0..16 {
            let input = mutate::input(target, &seeds, seed, n);
            if let Some(file) = &trace {
                std::fs::write(file, &input).unwrap();
            }
            attempt(target, &input, &format!("seed {seed}, number {n}"))?;
            n += 1;
        }
    }
    println!("{}: {n} inputs in {seconds} s", target.name);
    Ok(())
}

fn attempt(target: &Target, input: &[u8], which: &str) -> Result<(), Failed> {
    let began = processor_time();
    Counting::begin();
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let (most, took) = (Counting::most(), processor_time() - began);
    let limit = target.memory + PER_BYTE * input.len();
    let why = match result {
        // Its words are on standard error by now.
        Err(_) => "it panics".to_owned(),
        Ok(()) if most > limit => format!("it takes {most} bytes of memory; {limit} are allowed"),
        Ok(()) if took > SLOW => format!("it takes {took:?}"),
        Ok(()) => return Ok(()),
    };
    let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = target.name;
    Err(format!(
        "{name}, {which}: {why}\ninput: {:?}\nagain: HOSTILE_INPUT={name}:{hex} cargo test --test hostile -- --exact {name}",
        String::from_utf8_lossy(input)
    )
    .into())
}

/// The one input that is to be tried. The inner `None`: it is for another target.
fn given(name: &str) -> Option<Option<Vec<u8>>> {
    let of = |variable: &str| {
        let text = std::env::var(variable).ok()?;
        let (target, input) = text.split_once(':').expect("TARGET:INPUT");
        Some((targets::target(target).name == name).then(|| input.to_owned()))
    };
    if let Some(file) = of("HOSTILE_FILE") {
        return Some(file.map(|file| std::fs::read(file).unwrap()));
    }
    let input = of("HOSTILE_INPUT")?;
    Some(input.map(|hex| {
        let digits: Vec<u8> = hex
            .bytes()
            .map(|b| char::from(b).to_digit(16).expect("hexadecimal digits") as u8)
            .collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let dir = format!("{}/fuzz/seeds/{}", env!("CARGO_MANIFEST_DIR"), target.name);
    let files = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{dir}: {e}"));
    // In the same order everywhere, or a seed's numbers would not be the same inputs.
    let files: BTreeSet<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{dir} is empty");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn complete() -> Result<(), Failed> {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let list = |dir: &str| -> BTreeSet<String> {
        let dir = format!("{}/fuzz/{dir}", env!("CARGO_MANIFEST_DIR"));
        let names = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| name.trim_end_matches(".rs").to_owned()).collect()
    };
    assert_eq!(list("seeds"), names);
    assert_eq!(list("fuzz_targets"), names);
    let manifest =
        std::fs::read_to_string(format!("{}/fuzz/Cargo.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let missing = names.iter().find(|name| !manifest.contains(&format!("\nname = \"{name}\"\n")));
    assert_eq!(missing, None, "fuzz/Cargo.toml lacks a program");
    assert_eq!(target("icmp").name, "icmp");
    Ok(())
}

/// Of this thread.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call, which fills it.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Counts the memory that each thread has, and the most that it had since it was last asked.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

impl Counting {
    fn begin() {
        NOW.set(0);
        MOST.set(0);
    }

    fn most() -> usize {
        usize::try_from(MOST.get()).unwrap_or(0)
    }

    fn add(bytes: isize) {
        let now = NOW.get().wrapping_add(bytes);
        NOW.set(now);
        MOST.set(MOST.get().max(now));
    }
}

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        Self::add(-layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::add(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }
}
