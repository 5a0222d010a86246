//! `cargo run --release --example lab`: what imon does when a network fails, on one terminal, in
//! less than a minute.
//!
//! Nothing is configured and nothing installed beyond Rust, iproute2 and util-linux. The demo
//! builds a network of namespaces (`tests/lab`), runs imon in it, breaks things in a list of acts
//! ([`acts::ACTS`]), and shows what imon says and how long each took. It ends with status 0 only if
//! all of it happened as told.
//!
//! The demo is imon as well: inside the lab it runs this same program again, which then does what
//! `imon` would.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the rules that keep imon's core pure are not for its demo, which starts processes and reads clocks"
)]

mod acts;
mod screen;
mod stage;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use acts::ACTS;
use imon_lab::Lab;
use screen::Screen;
use stage::Stage;

/// In the environment of the imon that the demo runs, and of whatever that starts: this program is
/// to be imon.
const AS_IMON: &str = "IMON_DEMO_RUNS_IMON";

const INTRODUCTION: &str = "\
This is imon, an internet monitor, in a network made only for it:

    router wan1 ---- isp1 ---- internet   1.1.1.1  8.8.8.8 (DNS)  9.9.9.9
           .42.2     192.168.42.1
           wan2 ---- isp2 ---- (in the second half)
           .62.2     192.168.62.1

imon runs on the router. Its updown monitor watches 1.1.1.1 twice a second, asks
the DNS server 8.8.8.8 before it calls an outage, and looks at the provider's
192.168.42.1 to say where the fault lies. Its ping monitor measures 9.9.9.9.
A time in front of a line of imon's is counted from what was done before it.
";

fn main() -> ExitCode {
    imon_lab::roles::intercept();
    // imon starts this same program again to write its files, and leaves nothing in the
    // environment.
    let writes = std::env::args().nth(1).is_some_and(|word| word == imon::sys::writer::ARGUMENT);
    if writes || std::env::var_os(AS_IMON).is_some() {
        return imon::cli::main();
    }
    if std::env::args_os().len() > 1 {
        eprintln!(
            "The demo has no arguments. The lab it runs in is described in tests/lab/src/lib.rs."
        );
        return ExitCode::from(2);
    }
    // Where the lab itself fails it panics, and a release build would end with a core dump.
    std::panic::set_hook(Box::new(|why| {
        eprintln!("The demo cannot go on: {why}");
        std::process::exit(1);
    }));
    let screen = Screen::new();
    let began = Instant::now();
    match Lab::builder().try_up() {
        Ok(lab) => {
            screen.text(INTRODUCTION);
            let built = began.elapsed();
            play(&screen, lab, built, began)
        }
        Err(why) => {
            eprintln!("{}", refused(&why));
            ExitCode::FAILURE
        }
    }
}

/// Plays all acts and sums up.
fn play(screen: &Screen, lab: Lab, built: Duration, began: Instant) -> ExitCode {
    let mut stage = Stage::new(screen, lab, began);
    let mut results = Vec::new();
    for (number, act) in ACTS.iter().enumerate() {
        screen.heading(number + 1, act.story);
        let result = (act.play)(&mut stage);
        screen.outcome(act.outcome, &result);
        let failed = result.is_err();
        results.push(result);
        if failed {
            break;
        }
    }
    let gone = stage.clear();
    screen.table(ACTS, &results);
    let (done, all, lasted) =
        (results.iter().filter(|r| r.is_ok()).count(), ACTS.len(), began.elapsed());
    screen.text(&format!(
        "\n{done} of {all} acts went as told, in {:.0} s. The network was built in {:.2} s\n",
        lasted.as_secs_f64(),
        built.as_secs_f64()
    ));
    screen.text(if gone {
        "and is gone again; nothing is left on this system.\n"
    } else {
        "but does not end.\n"
    });
    if done == all && gone { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Why there is no demo, and the line that makes it work.
fn refused(why: &str) -> String {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if is_root || !why.starts_with(imon_lab::NEEDS_ROOT) {
        return screen::wrap(&format!("The demo cannot build its network: {why}"), 0);
    }
    format!(
        "The demo builds a network of its own, which this system does not allow you to do.\n\
         It does allow root; this line works:\n\n    sudo {}\n",
        this_program()
    )
}

/// How the shell calls this program.
fn this_program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "target/release/examples/lab".into());
    let here = std::env::current_dir().unwrap_or_default();
    let path = path.strip_prefix(&here).unwrap_or(&path).display().to_string();
    if path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}
