//! What is to be written, in order, merged, and tried again until it is: the loop never waits for a
//! disk. The writing itself is done by a child, see `sys::writer`.

use std::path::PathBuf;
use std::time::Duration;

use super::world::{Done, FileJob, WaitSource, Waited, World};
use crate::base::time::Instant;

/// What could not be written is tried again after this, and then after twice as long each time,
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whoever wants to know what came of a job, by a number of its own.
pub(super) type WriteTicket = u32;

struct PendingWrite {
    job: FileJob,
    ticket: WriteTicket,
}

/// Everything that waits or is being written.
pub(super) struct Writing<W: World> {
    waiting: Vec<PendingWrite>,
    /// Those of the child that runs, in its order; done ones are empty.
    given: Vec<Option<PendingWrite>>,
    child: Option<W::Writer>,
    pause: Duration,
    again: Option<Instant>,
    tickets: WriteTicket,
    done: Vec<(WriteTicket, Done<W::File>)>,
    /// Files that could not be written, and that this was said.
    broken: Vec<PathBuf>,
    remarks: Vec<String>,
}

impl<W: World> Writing<W> {
    /// Nothing, yet.
    pub(super) fn new() -> Self {
        Self {
            waiting: Vec::new(),
            given: Vec::new(),
            child: None,
            pause: Duration::ZERO,
            again: None,
            tickets: 0,
            done: Vec::new(),
            broken: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Puts a job behind all others. A content that waits for the same file gives it its place.
    pub(super) fn push(&mut self, job: FileJob) -> WriteTicket {
        self.tickets = self.tickets.wrapping_add(1);
        let new = PendingWrite { job, ticket: self.tickets };
        // It takes the other's place in the order: what follows that may rely on it.
        match self.waiting.iter_mut().find(|old| is_overtaken(&old.job, std::slice::from_ref(&new)))
        {
            Some(old) => *old = new,
            None => self.waiting.push(new),
        }
        // What is new is not kept waiting by what failed.
        self.again = None;
        self.tickets
    }

    /// Starts a child if there is something to do.
    pub(super) fn tick(&mut self, now: Instant, world: &mut W) {
        if self.child.is_some() || self.waiting.is_empty() || self.again.is_some_and(|at| at > now)
        {
            return;
        }
        let jobs: Vec<&FileJob> = self.waiting.iter().map(|waiting| &waiting.job).collect();
        match world.start_writer(&jobs) {
            Ok(child) => {
                self.child = Some(child);
                self.given = std::mem::take(&mut self.waiting).into_iter().map(Some).collect();
                self.again = None;
            }
            Err(e) => {
                if self.pause.is_zero() {
                    self.remarks
                        .push(format!("Nothing can be written, tried again: {}", W::in_words(&e)));
                }
                self.put_off(now);
            }
        }
    }

    /// Takes what the child reports.
    pub(super) fn after(&mut self, now: Instant, world: &mut W) {
        while let Some(child) = &mut self.child {
            match world.report(child) {
                Ok(None) => return,
                Ok(Some(done)) => self.conclude(done),
                Err(_) => {
                    self.child = None;
                    // What it has not reported it has not done.
                    let left = std::mem::take(&mut self.given).into_iter().flatten();
                    let newer = std::mem::take(&mut self.waiting);
                    self.waiting = left.filter(|old| !is_overtaken(&old.job, &newer)).collect();
                    let failed = !self.waiting.is_empty();
                    self.waiting.extend(newer);
                    if failed {
                        self.put_off(now);
                    } else {
                        self.pause = Duration::ZERO;
                    }
                }
            }
        }
    }

    fn conclude(&mut self, done: Done<W::File>) {
        let Some(place) = self.given.get_mut(done.place) else { return };
        let Some(PendingWrite { job, ticket }) = place.take() else { return };
        match (&job, &done.result) {
            (FileJob::Replace(path, _) | FileJob::Save(path, _), Ok(())) => {
                if let Some(at) = self.broken.iter().position(|broken| broken == path) {
                    self.broken.remove(at);
                    self.remarks.push(format!("{} is written again", path.display()));
                }
            }
            (FileJob::Replace(path, _) | FileJob::Save(path, _), Err(e)) => {
                if !self.broken.contains(path) {
                    self.broken.push(path.clone());
                    let why = W::in_words(e);
                    self.remarks
                        .push(format!("{} cannot be written, tried again: {why}", path.display()));
                }
                // It waits at its place for the child's end.
                *place = Some(PendingWrite { job, ticket });
                return;
            }
            // By this the child says that it is not to be removed yet.
            (FileJob::Remove(_), Err(e)) if e.kind() == std::io::ErrorKind::WouldBlock => {
                *place = Some(PendingWrite { job, ticket });
                return;
            }
            (FileJob::Remove(path) | FileJob::Move(path, _), Err(e)) => {
                let what = if matches!(job, FileJob::Remove(_)) { "removed" } else { "moved" };
                self.remarks.push(format!(
                    "{} cannot be {what}: {}",
                    path.display(),
                    W::in_words(e)
                ));
            }
            _ => {}
        }
        self.done.push((ticket, done));
    }

    fn put_off(&mut self, now: Instant) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.again = Some(now + self.pause);
    }

    /// Something that has come to its end.
    pub(super) fn done(&mut self) -> Option<(WriteTicket, Done<W::File>)> {
        if self.done.is_empty() { None } else { Some(self.done.remove(0)) }
    }

    pub(super) fn remark(&mut self) -> Option<String> {
        if self.remarks.is_empty() { None } else { Some(self.remarks.remove(0)) }
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        let waits = self.child.is_none() && !self.waiting.is_empty();
        waits.then(|| self.again.unwrap_or(Instant::ZERO))
    }

    pub(super) fn add_to(&self, world: &mut W) {
        if let Some(child) = &self.child {
            world.watch(Waited::Writer, WaitSource::Writer(child));
        }
    }

    /// Whether all is written, reported and said.
    pub(super) fn is_at_rest(&self) -> bool {
        self.child.is_none()
            && self.waiting.is_empty()
            && self.done.is_empty()
            && self.remarks.is_empty()
    }

    /// What waited for a pause is tried once more, now.
    pub(super) fn hurry(&mut self) {
        self.again = None;
    }

    /// Files with a content that is not on the disk, by name.
    pub(super) fn unwritten(&self) -> Vec<String> {
        let all = self.given.iter().flatten().chain(&self.waiting);
        let path = |waiting: &PendingWrite| match &waiting.job {
            FileJob::Save(path, _) => Some(path.display().to_string()),
            _ => None,
        };
        let mut names: Vec<String> = all.filter_map(path).collect();
        names.dedup();
        names
    }
}

/// Whether something newer makes a job needless.
fn is_overtaken(job: &FileJob, newer: &[PendingWrite]) -> bool {
    newer.iter().any(|newer| match (job, &newer.job) {
        (FileJob::Replace(a, _), FileJob::Replace(b, _) | FileJob::Remove(b))
        | (FileJob::Save(a, _), FileJob::Save(b, _)) => a == b,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::real::Real;

    fn save(path: &str, content: &str) -> FileJob {
        FileJob::Save(path.into(), content.into())
    }

    fn done(place: usize, errno: i32) -> Done<<Real as super::super::world::Store>::File> {
        let result =
            if errno == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(errno)) };
        Done { place, result, record: None }
    }

    fn waiting(writing: &Writing<Real>) -> Vec<&FileJob> {
        writing.waiting.iter().map(|waiting| &waiting.job).collect()
    }

    #[test]
    fn d3_a_later_content_takes_the_place_of_one_that_waits_and_order_is_kept() {
        let mut writing = Writing::<Real>::new();
        writing.push(save("/state", "1"));
        writing.push(FileJob::Record("/try".into()));
        writing.push(save("/state", "2"));
        writing.push(FileJob::Replace("/status".into(), vec![1]));
        writing.push(FileJob::Remove("/status".into()));
        let last = save("/state", "2");
        assert_eq!(
            waiting(&writing),
            [&last, &FileJob::Record("/try".into()), &FileJob::Remove("/status".into())]
        );
        assert_eq!(writing.unwritten(), ["/state"]);
    }

    #[test]
    fn d4_what_fails_is_said_once_kept_and_said_once_when_it_works() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut writing = Writing::<Real>::new();
        for round in 0..3 {
            writing.given = vec![Some(PendingWrite { job: save("/state", "1"), ticket: 7 })];
            writing.conclude(done(0, 28));
            assert!(writing.done().is_none(), "it is not over");
            assert_eq!(writing.remark().is_some(), round == 0, "round {round}");
            assert_eq!(writing.unwritten(), ["/state"]);
        }
        writing.put_off(at(0));
        assert_eq!(writing.again, Some(at(500)));
        writing.put_off(at(500));
        assert_eq!(writing.again, Some(at(1500)));
        writing.conclude(done(0, 0));
        assert_eq!(writing.remark().as_deref(), Some("/state is written again"));
        assert!(writing.done().is_some_and(|(ticket, done)| ticket == 7 && done.result.is_ok()));
    }

    #[test]
    fn a_newer_content_makes_one_that_failed_needless() {
        let newer = [PendingWrite { job: save("/state", "2"), ticket: 2 }];
        assert!(is_overtaken(&save("/state", "1"), &newer));
        assert!(
            !is_overtaken(&save("/other", "1"), &newer)
                && !is_overtaken(&FileJob::Remove("/state".into()), &newer)
        );
    }
}
