//! What scripts print: into a pipe, which holds only so much. Who does not get rid of his words
//! waits, and so does his end.

use std::collections::VecDeque;
use std::time::Duration;

use imon::base::time::Instant;
use imon::engine::world::Ending;

use super::{Arrival, SimWorld};

/// What a pipe holds (pipe(7)).
const ROOM: usize = 64 * 1024;
/// A full one is tried again after this.
const AGAIN: Duration = Duration::from_millis(2);

/// What a script prints: each text so long after its start. What comes after its end is of
/// something that it has left in the background.
pub type Words = Vec<(Duration, Vec<u8>)>;

/// A script that runs, or its output after it has ended.
#[derive(Default)]
pub(super) struct Printer {
    pipe: VecDeque<u8>,
    /// What is still to be printed, and when it is written at the soonest.
    words: VecDeque<(Instant, Vec<u8>)>,
    /// Nothing of it runs any more.
    closed: bool,
}

impl SimWorld {
    pub(super) fn begin_printing(&mut self, script: u64, words: Words) {
        let words: VecDeque<_> =
            words.into_iter().map(|(after, text)| (self.now + after, text)).collect();
        if let Some((at, _)) = words.front() {
            self.arrive(*at, Arrival::Printed(script));
        }
        self.sent += words.iter().map(|(_, text)| 1 + text.len() as u64 / 1024).sum::<u64>();
        self.printers.insert(script, Printer { words, ..Printer::default() });
    }

    /// Writes what fits into the pipe.
    pub(super) fn print(&mut self, script: u64) {
        let now = self.now;
        let Some(printer) = self.printers.get_mut(&script) else { return };
        while let Some((at, text)) = printer.words.front_mut().filter(|(at, _)| *at <= now) {
            let most = text.len().min(ROOM - printer.pipe.len().min(ROOM));
            printer.pipe.extend(text.drain(..most));
            if !text.is_empty() {
                *at = now + AGAIN;
                break;
            }
            printer.words.pop_front();
        }
        match printer.words.front() {
            Some((at, _)) => {
                let at = *at;
                self.arrive(at, Arrival::Printed(script));
            }
            None => printer.closed |= self.scripts.get(&script).is_none_or(Option::is_some),
        }
    }

    /// When a script can end that is to end now: once it has printed what it would have by then.
    pub(super) fn delays_end(&self, script: u64) -> Option<Instant> {
        let (at, _) = self.printers.get(&script)?.words.front()?;
        // What is later is of the background.
        let stuck = self.printers.get(&script).is_some_and(|printer| printer.pipe.len() >= ROOM);
        (stuck && *at <= self.now + AGAIN).then_some(self.now + AGAIN)
    }

    /// A script has ended. One that was killed leaves nothing in the background.
    pub(super) fn end_printing(&mut self, script: u64, ending: Ending) {
        let Some(printer) = self.printers.get_mut(&script) else { return };
        if matches!(ending, Ending::Signal(_)) {
            printer.words.clear();
        }
        printer.closed = printer.words.is_empty();
    }

    /// Whether there is something to read, or the end.
    pub(super) fn has_printed(&self, script: u64) -> bool {
        self.printers.get(&script).is_none_or(|printer| printer.closed || !printer.pipe.is_empty())
    }

    pub(super) fn read_pipe(&mut self, script: u64, buffer: &mut [u8]) -> Option<usize> {
        let Some(printer) = self.printers.get_mut(&script) else { return Some(0) };
        if printer.pipe.is_empty() {
            return printer.closed.then_some(0);
        }
        let length = buffer.len().min(printer.pipe.len());
        for (place, byte) in buffer.iter_mut().zip(printer.pipe.drain(..length)) {
            *place = byte;
        }
        Some(length)
    }
}
