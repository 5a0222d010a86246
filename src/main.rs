//! The `imon` program: arguments in, exit status out.

use std::process::ExitCode;

imon::block_signals_before_main!();

#[global_allocator]
static ALLOCATOR: imon::sys::memory::Allocator = imon::sys::memory::Allocator;

fn main() -> ExitCode {
    imon::cli::main()
}
