//! Why traffic moves to another network.

/// Why another WAN is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The first choice.
    Start,
    /// The one in use has failed.
    Failed,
    /// The one in use is degraded, this one is not.
    Degraded,
    /// A preferred one has worked without a lost probe for its hold-down.
    Preferred,
}

impl Cause {
    /// In a word, for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Failed => "failed",
            Self::Degraded => "degraded",
            Self::Preferred => "preferred",
        }
    }
}
