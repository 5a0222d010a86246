//! `imon configure`.

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ask {
    /// `--instance`.
    pub(super) instance: Option<String>,
    /// `--set`.
    pub(super) set: Vec<String>,
    /// `--print`.
    pub(super) print: bool,
}

pub(super) fn run(_: &Ask) -> u8 {
    0
}
