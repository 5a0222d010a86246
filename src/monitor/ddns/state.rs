//! What outlives a restart: the address, and who has been told of it. One small file, written only
//! when something in it changes, because it lies on flash.

use std::net::IpAddr;

use serde_json::value::RawValue;

use crate::addr::family::Family;
use crate::base::json::fields::{Fields, JsonWriter};
use crate::base::time::Wall;
use crate::monitor::ddns::answer::Nat;

/// The format of the file.
const SCHEMA: i64 = 1;
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
        const DAMAGED: &str = "it is damaged";
        let fields = Fields::read(text).ok_or(DAMAGED)?;
        if fields.number("schema") != Some(SCHEMA) {
            return Err("it is of another version");
        }
        let written = fields.number("written").ok_or(DAMAGED)?;
        let tracks = fields.list("tracks").filter(|tracks| tracks.len() <= MOST).ok_or(DAMAGED)?;
        let tracks = tracks.into_iter().map(track).collect::<Option<_>>().ok_or(DAMAGED)?;
        Ok(Self { written, tracks })
    }

    /// Writes it, with a final newline.
    #[must_use]
    pub fn text(&self) -> String {
        let sink = |s: &SavedSink| {
            let mut w = JsonWriter::new();
            w.text("name", Some(&s.name))
                .plain("print", s.print)
                .text("published", shown(s.published).as_deref());
            w.plain("at", s.at)
                .plain("tries", s.tries)
                .plain("next", s.next)
                .text("stopped", s.stopped.as_deref());
            w.end()
        };
        let track = |t: &SavedTrack| {
            let mut w = JsonWriter::new();
            w.text("family", Some(t.family.digit())).text("wan", Some(&t.wan));
            w.text("address", shown(t.address).as_deref())
                .plain("since", t.since)
                .text("nat", t.nat.map(Nat::word));
            w.list("sinks", t.sinks.iter().map(sink)).end()
        };
        let mut w = JsonWriter::new();
        w.plain("schema", SCHEMA)
            .plain("written", self.written)
            .list("tracks", self.tracks.iter().map(track));
        format!("{}\n", w.end())
    }

    /// Whether the file comes from the future, so that either it or the clock is wrong. A clock
    /// that is before `released`, the day this program was made, says nothing: small systems start
    /// in 1970, and must not forget each time. A day is granted to those that start with the time
    /// of their last shutdown.
    #[must_use]
    pub fn is_of_the_future(&self, wall: Wall, released: i64) -> bool {
        wall.secs >= released && self.written > wall.secs.saturating_add(86_400)
    }
}

fn shown(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

fn track(raw: &RawValue) -> Option<SavedTrack> {
    let fields = Fields::of(raw)?;
    let family = Family::parse(&fields.text("family")?)?;
    let sinks = fields.list("sinks").filter(|sinks| sinks.len() <= MOST)?;
    Some(SavedTrack {
        family,
        wan: fields.text("wan")?,
        address: address(&fields, "address")?.filter(|a| family.has(*a)),
        since: fields.number("since")?,
        nat: fields.text("nat").and_then(|word| Nat::parse(&word)),
        sinks: sinks.into_iter().map(sink).collect::<Option<_>>()?,
    })
}

fn sink(raw: &RawValue) -> Option<SavedSink> {
    let fields = Fields::of(raw)?;
    Some(SavedSink {
        name: fields.text("name")?,
        print: u32::try_from(fields.number("print")?).ok()?,
        published: address(&fields, "published")?,
        at: fields.number("at")?,
        tries: u32::try_from(fields.number("tries")?).ok()?,
        next: fields.number("next")?,
        stopped: fields.text("stopped"),
    })
}

/// The outer `None` is a field that has no address.
fn address(fields: &Fields<'_>, name: &str) -> Option<Option<IpAddr>> {
    if fields.is_null(name) { Some(None) } else { fields.text(name)?.parse().ok().map(Some) }
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
        let mut random = crate::base::random::Random(3);
        for _ in 0..20_000 {
            let mut bytes = text.clone().into_bytes();
            let at = random.place(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            let _ = Saved::read(&bytes);
        }
        assert!(Saved::read(text.replace("\"schema\":1", "\"schema\":2").as_bytes()).is_err());
        assert!(
            Saved::read(b"{}").is_err() && Saved::read(b"[]").is_err() && Saved::read(b"").is_err()
        );
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
        assert!(
            !saved().is_of_the_future(wall(at - 3600), at - 7200),
            "an hour is a clock without a battery"
        );
        assert!(saved().is_of_the_future(wall(at - 90_000), at - 100_000));
        assert!(!saved().is_of_the_future(wall(0), at - 100_000), "1970");
    }
}
