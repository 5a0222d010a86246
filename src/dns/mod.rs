//! Names: questions, answers, and which of them to believe.

pub mod plausible;
pub mod resolver;
