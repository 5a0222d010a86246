//! The disk as a power failure finds it: what was written and not synced is as it was, or as it is,
//! or torn. What lies in memory (/run) is gone, and so is every process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use imon::base::time::Instant;
use imon::engine::world::Arrived;
use imon::engine::world::{FileJob, World};

use super::SimWorld;

/// Nobody looks back further: a disk that was not synced by then has done so by itself.
const BY_ITSELF: Duration = Duration::from_secs(30);

/// What is in a file, if there is one.
type Content = Option<Vec<u8>>;

/// A change that may not be on the disk yet.
pub(super) struct Unsynced {
    /// When it was begun,
    begins: Instant,
    /// and from when on it is done, as far as anybody sees.
    at: Instant,
    path: PathBuf,
    before: Content,
}

impl SimWorld {
    /// Writes to an open file, and syncs it: its content, not its name.
    pub(super) fn write(&mut self, path: PathBuf, content: Vec<u8>) {
        self.files.insert(path, content);
    }

    /// Takes note of a job that is begun and done at these moments. To be called before the file is
    /// changed.
    pub(super) fn note_unsynced(&mut self, (begins, at): (Instant, Instant), job: &FileJob) {
        let now = self.now;
        self.unsynced.retain(|change| change.at + BY_ITSELF > now);
        let paths: &[&PathBuf] = match job {
            FileJob::Probe(_) => &[],
            // One that is there has a name.
            FileJob::Record(path) if self.files.contains_key(path) => &[],
            FileJob::Replace(path, _)
            | FileJob::Save(path, _)
            | FileJob::Remove(path)
            | FileJob::Record(path) => &[path],
            FileJob::Move(from, to) => &[from, to],
        };
        for path in paths {
            let before = self.files.get(*path).cloned();
            self.unsynced.push(Unsynced { begins, at, path: (*path).clone(), before });
        }
        let synced = match job {
            FileJob::Save(path, _) | FileJob::Record(path) => path.parent(),
            _ => None,
        };
        // With a directory all names in it are on the disk, from that moment on.
        if let Some(directory) = synced {
            self.syncs.push((at, directory.to_owned()));
        }
        self.syncs.retain(|(at, _)| *at + BY_ITSELF > now);
    }

    /// The power fails, and comes back: the machine is as after its start, with what was on the
    /// disk.
    pub fn power_failure(&mut self) {
        let now = self.now;
        let durable = |change: &Unsynced| {
            let synced = |(at, directory): &(Instant, PathBuf)| {
                *at >= change.at && *at <= now && change.path.parent() == Some(directory)
            };
            self.syncs.iter().any(synced)
        };
        // What each file may be: as before any change that is not durable, or as after the last
        // that was begun.
        let mut may_be: BTreeMap<PathBuf, (Vec<Content>, bool)> = BTreeMap::new();
        for change in self.unsynced.iter().filter(|change| !durable(change)) {
            let (contents, over) = may_be.entry(change.path.clone()).or_default();
            if !*over {
                contents.push(change.before.clone());
                *over = change.begins > now;
            }
        }
        for (path, (mut contents, over)) in may_be {
            if !over {
                contents.push(self.files.get(&path).cloned());
            }
            let chosen = contents.swap_remove(self.random() as usize % contents.len());
            match chosen {
                Some(content) => self.files.insert(path, content),
                None => self.files.remove(&path),
            };
        }
        // A line that was just being written.
        let torn: Vec<PathBuf> = self.records.values().map(|(path, _)| path.clone()).collect();
        for path in torn {
            if let Some(content) = self.files.get_mut(&path).filter(|content| content.is_empty()) {
                content.extend(b"{\"outcome\":\"do");
            }
        }
        self.files.retain(|path, _| !path.starts_with(Path::new("/run")));
        (self.unsynced, self.syncs) = (Vec::new(), Vec::new());
        self.signals = Arrived::default();
        self.records.clear();
        self.workers.clear();
        self.sockets.clear();
        self.printers.clear();
        self.scripts.clear();
        self.first_process = self.numbers + 1;
        self.killed = true;
    }
}
