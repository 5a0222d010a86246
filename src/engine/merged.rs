//! Signals of a kind are obeyed once a second.

use std::time::Duration;

use crate::base::time::Instant;

/// Signals of a kind are obeyed at most this often.
const MERGED: Duration = Duration::from_secs(1);

/// What a signal asks for.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) done: Option<Instant>,
    pub(super) due: Option<Instant>,
}

impl Merged {
    /// Somebody asks: now, or a second after the last time.
    pub(super) fn want(&mut self, now: Instant) {
        self.due = Some(self.done.map_or(now, |done| now.max(done + MERGED)));
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        let due = self.due.take_if(|due| *due <= now).is_some();
        if due {
            self.done = Some(now);
        }
        due
    }
}
