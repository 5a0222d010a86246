//! What outlives a restart: the address, and who has been told of it. One small file, written only when something in it
//! changes, because it lies on flash.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::external::{Family, Nat};
use crate::time::Wall;

/// The format of the file.
const SCHEMA: u64 = 1;
/// More than this was not written by us.
const MOST: usize = 64;

/// The content of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Saved {
    /// When it was written, in seconds since 1970.
    pub written: i64,
    /// What is known of each family and WAN.
    pub tracks: Vec<SavedTrack>,
}

/// What is known of a family and WAN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SavedTrack {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The WAN's interface; empty: whichever is in use.
    pub wan: String,
    /// The address, since when, and the one before.
    pub address: Option<IpAddr>,
    /// In seconds since 1970.
    pub since: i64,
    /// The verdict on NAT that was told last.
    pub nat: Option<Nat>,
    /// Who is to be told.
    pub sinks: Vec<SavedSink>,
}

/// Who is to be told of an address: the action script, or a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SavedSink {
    /// Which one.
    pub name: String,
    /// Of its configuration: a stop counts only for the same.
    pub print: u32,
    /// The address it has.
    pub published: Option<IpAddr>,
    /// Since when, in seconds since 1970.
    pub at: i64,
    /// How often it was tried to tell it the present one.
    pub tries: u32,
    /// When it is to be tried again, in seconds since 1970; 0: at once.
    pub next: i64,
    /// Why it is not to be tried again.
    pub stopped: Option<String>,
}

impl Saved {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &[u8]) -> Result<Self, &'static str> {
        let value: Value = serde_json::from_slice(text).map_err(|_| "it is damaged")?;
        if value.get("schema").and_then(Value::as_u64) != Some(SCHEMA) {
            return Err("it is of another version");
        }
        let written = value.get("written").and_then(Value::as_i64).ok_or("it is damaged")?;
        let tracks =
            value.get("tracks").and_then(Value::as_array).filter(|t| t.len() <= MOST).ok_or("it is damaged")?;
        let tracks = tracks.iter().map(track).collect::<Option<_>>().ok_or("it is damaged")?;
        Ok(Self { written, tracks })
    }

    /// Writes it, with a final newline.
    #[must_use]
    pub fn text(&self) -> String {
        let address = |a: Option<IpAddr>| a.map_or(Value::Null, |a| Value::String(a.to_string()));
        let sink = |s: &SavedSink| {
            json!({
                "name": s.name, "print": s.print, "published": address(s.published), "at": s.at, "tries": s.tries,
                "next": s.next, "stopped": s.stopped,
            })
        };
        let track = |t: &SavedTrack| {
            json!({
                "family": t.family.digit(), "wan": t.wan, "address": address(t.address), "since": t.since,
                "nat": t.nat.map(Nat::word), "sinks": t.sinks.iter().map(sink).collect::<Vec<_>>(),
            })
        };
        let mut root = Map::new();
        root.insert("schema".to_owned(), SCHEMA.into());
        root.insert("written".to_owned(), self.written.into());
        root.insert("tracks".to_owned(), self.tracks.iter().map(track).collect());
        format!("{}\n", Value::Object(root))
    }

    /// Whether the file comes from the future, so that either it or the clock is wrong. A clock that is before `released`,
    /// the day this program was made, says nothing: small systems start in 1970, and must not forget each time. A day is
    /// granted to those that start with the time of their last shutdown.
    #[must_use]
    pub fn is_of_the_future(&self, wall: Wall, released: i64) -> bool {
        wall.secs >= released && self.written > wall.secs.saturating_add(86_400)
    }
}

fn track(value: &Value) -> Option<SavedTrack> {
    let family = Family::parse(value.get("family")?.as_str()?)?;
    let address = address(value.get("address")?)?.filter(|a| family.has(*a));
    let sinks = value.get("sinks")?.as_array().filter(|s| s.len() <= MOST)?;
    Some(SavedTrack {
        family,
        wan: value.get("wan")?.as_str()?.to_owned(),
        address,
        since: value.get("since")?.as_i64()?,
        nat: value.get("nat").and_then(Value::as_str).and_then(Nat::parse),
        sinks: sinks.iter().map(sink).collect::<Option<_>>()?,
    })
}

fn sink(value: &Value) -> Option<SavedSink> {
    Some(SavedSink {
        name: value.get("name")?.as_str()?.to_owned(),
        print: u32::try_from(value.get("print")?.as_u64()?).ok()?,
        published: address(value.get("published")?)?,
        at: value.get("at")?.as_i64()?,
        tries: u32::try_from(value.get("tries")?.as_u64()?).ok()?,
        next: value.get("next")?.as_i64()?,
        stopped: value.get("stopped").and_then(Value::as_str).map(str::to_owned),
    })
}

/// The outer `None` is a value that is no address.
fn address(value: &Value) -> Option<Option<IpAddr>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => text.parse().ok().map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let sink = SavedSink {
            name: "action /x".to_owned(),
            print: u32::MAX,
            published: Some([203, 0, 113, 1].into()),
            at: 1_795_330_107,
            tries: 2,
            next: 1_795_330_200,
            stopped: Some("badauth: \"x\"".to_owned()),
        };
        let track = SavedTrack {
            family: Family::V4,
            wan: "wan1".to_owned(),
            address: Some([203, 0, 113, 1].into()),
            since: 1,
            nat: Some(Nat::Double),
            sinks: vec![sink],
        };
        let other = SavedTrack {
            family: Family::V6,
            wan: String::new(),
            address: None,
            nat: None,
            sinks: vec![],
            ..track.clone()
        };
        Saved { written: 1_795_330_107, tracks: vec![track, other] }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Saved::read(saved().text().as_bytes()), Ok(saved()));
        assert_eq!(Saved::read(Saved::default().text().as_bytes()), Ok(Saved::default()));
    }

    /// Flash loses bits, and files are cut short by a power failure.
    #[test]
    fn a_damaged_file_is_told_and_never_a_panic() {
        let text = saved().text();
        for cut in 0..text.len() - 2 {
            assert!(Saved::read(&text.as_bytes()[..cut]).is_err(), "{cut}");
        }
        let mut random = crate::random::Random(3);
        for _ in 0..20_000 {
            let mut bytes = text.clone().into_bytes();
            let at = random.place(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            let _ = Saved::read(&bytes);
        }
        assert!(Saved::read(text.replace("\"schema\":1", "\"schema\":2").as_bytes()).is_err());
        assert!(Saved::read(b"{}").is_err() && Saved::read(b"[]").is_err() && Saved::read(b"").is_err());
    }

    #[test]
    fn an_address_of_the_other_family_is_forgotten() {
        let text = saved().text().replacen("\"4\"", "\"6\"", 1);
        assert_eq!(Saved::read(text.as_bytes()).unwrap().tracks[0].address, None);
    }

    #[test]
    fn only_a_clock_that_may_be_right_tells_the_future() {
        let wall = |secs| Wall { secs, nanos: 0 };
        let at = saved().written;
        assert!(!saved().is_of_the_future(wall(at), at - 10));
        assert!(!saved().is_of_the_future(wall(at - 3600), at - 7200), "an hour is a clock without a battery");
        assert!(saved().is_of_the_future(wall(at - 90_000), at - 100_000));
        assert!(!saved().is_of_the_future(wall(0), at - 100_000), "1970");
    }
}
