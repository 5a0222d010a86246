//! `imon test-action EVENT`: one call of the script, as the event would make it, and what came of
//! it.

use std::time::Duration;

use super::args::Selection;
use super::{CONFIGURATION, FAILURE, OK, USAGE, complain, fail, print, source};
use crate::base::number::{Plain, Rounded};
use crate::base::text::{Clean, nearest};
use crate::base::time::Instant;
use crate::engine::environment;
use crate::engine::world::Ending;
use crate::event::Event;
use crate::sys::clock;
use crate::sys::configuration;
use crate::sys::poll::Poll;
use crate::sys::process;
use crate::sys::shortage;
use crate::sys::signal::Signals;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the command.
pub(super) fn run(selection: &Selection, event: Option<&str>, mut signals: Signals) -> u8 {
    let clock = clock::both();
    let known = Event::names();
    let Some(wanted) = event else {
        complain(&format!(
            "Which event? One of {}. See 'imon test-action --help'.",
            known.join(", ")
        ));
        return USAGE;
    };
    let found = Event::examples(clock.now)
        .into_iter()
        .find_map(|e| Some((e.action()?, e)).filter(|(a, _)| a.name == wanted));
    let Some((action, event)) = found else {
        let hint = nearest(wanted, known.iter().copied())
            .map_or_else(String::new, |n| format!(" Did you mean '{n}'?"));
        complain(&format!("Unknown event '{wanted}'.{hint} Known are {}.", known.join(", ")));
        return USAGE;
    };
    let (source, _) = match source(selection) {
        Ok(found) => found,
        Err(e) => return fail(CONFIGURATION, &[e]),
    };
    let loaded = configuration::load(&source);
    loaded.warnings.iter().for_each(|w| complain(&format!("Warning: {w}")));
    let Some(config) = loaded.config else { return fail(CONFIGURATION, &loaded.errors) };
    let Some(script) = config.global.action.as_ref().map(|a| a.value.as_str()) else {
        return fail(
            CONFIGURATION,
            &[format!("{} names no action script (global.action)", source.file)],
        );
    };
    let instance = source.name(Some(&config));
    let mut args = vec![instance.clone(), "1".to_owned(), action.name.to_owned()];
    args.extend(action.args);
    let json = event.json(&instance, clock, None);
    let env = environment(action.name, &instance, &event, &clock.wall, json);
    print(&format!(
        "Calling {} {}\n",
        Clean(script),
        args.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" ")
    ));
    for (name, value) in &env {
        print(&format!("  {name}={}\n", Clean(value)));
    }
    let limit = config.global.action_timeout;
    match process::start(script, &args, &env, None) {
        Ok((script, output)) => watch(script, output, limit, clock.now, &mut signals),
        Err(e) => fail(
            FAILURE,
            &[format!("Action script '{script}' could not be run: {}", shortage::told(&e))],
        ),
    }
}

/// Shows what the script prints until it ends, or its time does.
fn watch(
    mut script: process::RunningProcess,
    mut output: process::Output,
    limit: Duration,
    started: Instant,
    signals: &mut Signals,
) -> u8 {
    let (mut until, mut ending, mut open, mut in_line) = (started + limit, false, true, false);
    let mut buffer = [0; 4096];
    let mut poll = Poll::default();
    loop {
        let ended = script.has_ended();
        // Bounded, as its time is, also when it prints without end. That is all a pipe holds
        // (pipe(7)).
        for _ in 0..64 * 1024 / buffer.len() {
            let Some(n) = output.read(&mut buffer).filter(|_| open) else { break };
            open = n > 0;
            let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()).into_owned();
            text.split_inclusive('\n').for_each(|line| print(&shown(line)));
            in_line = text.chars().last().map_or(in_line, |last| last != '\n');
        }
        if ended {
            break;
        }
        let now = clock::monotonic();
        if now >= until {
            if ending {
                script.kill();
                until = now + GRACE;
            } else {
                complain(&format!(
                    "? It did not end within {} s: ending it",
                    Plain(limit.as_secs_f64())
                ));
                script.terminate();
                (ending, until) = (true, now + GRACE);
            }
        }
        poll.clear();
        poll.add((), signals.fd());
        if open {
            poll.add((), output.fd());
        }
        if poll.wait(clock::poll_timeout(now, Some(until))).is_err() || signals.take().stop {
            script.kill();
        }
    }
    if in_line {
        print("\n");
    }
    let took = Rounded(clock::monotonic().since(started).as_secs_f64(), 2);
    match script.reap() {
        end if end.is_success() => {
            print(&format!("The script ended well after {took} s.\n"));
            OK
        }
        Ending::Unknown => fail(FAILURE, &["The script's end was not seen".to_owned()]),
        end => fail(FAILURE, &[format!("The script failed with {end} after {took} s")]),
    }
}

fn shown(line: &str) -> String {
    let text = line.strip_suffix('\n').unwrap_or(line);
    let end = if text.len() < line.len() { "\n" } else { "" };
    format!(
        "{}{end}",
        text.split('\t').map(|part| Clean(part).to_string()).collect::<Vec<_>>().join("\t")
    )
}

/// As one would type it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
