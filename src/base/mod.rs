//! What everything is made of: text, numbers, time, JSON. Nothing here knows imon.

pub mod error;
pub mod json;
pub mod number;
pub mod text;
pub mod time;

#[cfg(test)]
pub mod random;
