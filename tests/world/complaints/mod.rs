//! What users met with V2.99 (B) and with 3.0.0 (D, V), and wrote to the author (issue): each a
//! scenario whose name begins with its number. `docs/development/simulation.md` says which have
//! none here.

mod beside;
mod daemon;
mod monitors;
mod names;
mod play;
mod routes;
mod switches;

use libtest_mimic::Trial;

/// A list of scenarios; one that is left out is dead code.
macro_rules! scenarios {
    ($($name:ident,)*) => {
        vec![$(super::scenario(stringify!($name), $name)),*]
    };
}
use scenarios;

fn scenario(name: &str, scenario: fn()) -> Trial {
    Trial::test(format!("complaints::{name}"), move || {
        scenario();
        Ok(())
    })
}

pub fn tests() -> Vec<Trial> {
    [
        switches::tests(),
        routes::tests(),
        daemon::tests(),
        beside::tests(),
        monitors::tests(),
        names::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
