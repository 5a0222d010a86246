//! The `imon` program: arguments in, exit status out.

use std::process::ExitCode;

imon::block_signals_before_main!();

fn main() -> ExitCode {
    imon::cli::main()
}
