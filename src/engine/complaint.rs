//! Something that may be wrong, and is said only if it lasts: in the moment in which a network
//! manager takes an address away and puts another in its place, many things are.

use std::time::Duration;

use crate::base::time::Instant;

/// What is over sooner is not said.
const SETTLE: Duration = Duration::from_millis(300);

/// One kind of complaint.
#[derive(Default)]
pub(super) struct Complaint {
    /// What is so now, since when.
    now: Option<(String, Instant)>,
    said: Option<String>,
}

/// What there is to say.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Word<'a> {
    /// It has lasted.
    Is(&'a str),
    /// What was said is so no more.
    Over,
}

impl Complaint {
    /// Takes note of what is so now; `None`: all is well.
    pub(super) fn note(&mut self, now: Instant, what: Option<String>) {
        match (&mut self.now, what) {
            (Some((text, _)), Some(what)) if *text == what => {}
            (place, what) => *place = what.map(|what| (what, now)),
        }
    }

    /// What is to be said now, once.
    pub(super) fn word(&mut self, now: Instant) -> Option<Word<'_>> {
        match &self.now {
            None => self.said.take().map(|_| Word::Over),
            Some((text, since)) if self.said.as_ref() != Some(text) && *since + SETTLE <= now => {
                Some(Word::Is(self.said.insert(text.clone())))
            }
            Some(_) => None,
        }
    }

    /// When to ask again.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        let (text, since) = self.now.as_ref()?;
        (self.said.as_ref() != Some(text)).then_some(*since + SETTLE)
    }

    /// What was said and is so still.
    pub(super) fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v12_what_is_over_within_the_time_is_never_said_and_what_lasts_is_said_once() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut complaint = Complaint::default();
        let wrong = || Some("wrong".to_owned());
        complaint.note(at(0), wrong());
        assert_eq!(complaint.word(at(299)), None);
        assert_eq!(complaint.poll_at(), Some(at(300)));
        complaint.note(at(299), None);
        assert_eq!(complaint.word(at(300)), None);
        assert_eq!(complaint.poll_at(), None);
        complaint.note(at(400), wrong());
        complaint.note(at(600), wrong());
        assert_eq!(complaint.word(at(700)), Some(Word::Is("wrong")));
        assert_eq!(complaint.word(at(800)), None);
        assert_eq!((complaint.said(), complaint.poll_at()), (Some("wrong"), None));
        complaint.note(at(900), None);
        assert_eq!(complaint.word(at(900)), Some(Word::Over));
        assert_eq!(complaint.word(at(901)), None);
    }
}
