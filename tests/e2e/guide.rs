//! The commands of the README and the guide, run in the lab as they stand there, with the output
//! that they show.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use imon_lab::roles::{Dns, DnsMode, Http, Record};
use imon_lab::{Fault, Lab, Signal, Wan};
use libtest_mimic::Trial;

use serde_json::{Value, json};

use crate::documents::{Block, Kind, blocks, commands, file, transcript, users};
use crate::support::wait_status;
use crate::{SOON, public_lab, trials};

/// A document's blocks are run one after the other in a lab of its own.
pub(crate) fn tests() -> Vec<Trial> {
    let trial = |document: String| {
        Trial::test(format!("{}::{}", module_path!(), document.replace('/', "_")), move || {
            play(&document);
            Ok(())
        })
    };
    let is_run = |block: &Block| matches!(block.kind(), Some(Kind::Lab | Kind::Transcript));
    let documents = users().into_iter().filter(|document| blocks(document).iter().any(is_run));
    documents.map(trial).chain(trials![the_guide_names_every_field_of_the_status]).collect()
}

/// Programs that blocks for the lab may run. The lab shares its files with this machine but for a
/// few folders.
const HARMLESS: [&str; 6] = ["imon", "imon-configure", "install", "echo", "cat", "sh"];
/// Where they may write or read.
const OURS: [&str; 4] = ["/etc/default/imon-", "/etc/imon-", "/usr/local/bin/imon", "/run/imon/"];

/// What the commands find: imon on the path, this project's files, a sudo that does as it is told,
/// and /usr/local.
const ROOM: &str = "mount --bind /run/lab/local /usr/local\ncd /run/lab/room\nPATH=/run/lab/bin:/usr/local/bin:$PATH\n";

struct World {
    lab: Lab,
    dns: Dns,
    _http: Http,
}

/// Something that happens to the lab, as documents say it: in `<!-- lab: … -->` before a block, and
/// in a line of a transcript that begins with `# `. The first lasts until the block ends.
struct Deed {
    words: &'static str,
    make: fn(&World),
}

const DEEDS: &[Deed] = &[
    Deed {
        words: "the provider's router answers, but forwards nothing",
        make: |w| _ = w.lab.fault(Fault::UpstreamDead(Wan::One)),
    },
    Deed {
        words: "the second provider's router answers, but forwards nothing",
        make: |w| _ = w.lab.fault(Fault::UpstreamDead(Wan::Two)),
    },
    Deed {
        words: "the provider's router works again",
        make: |w| _ = w.lab.heal(Fault::UpstreamDead(Wan::One)),
    },
    Deed {
        words: "the name server does not answer",
        make: |w| w.dns.mode_of("8.8.8.8", &DnsMode::Timeout),
    },
    Deed {
        words: "failover is configured, and the second provider's router answers, but forwards nothing",
        make: |w| {
            w.lab.write("/etc/default/imon-main", &configuration("docs/guide/failover.md", 0));
            w.lab.add_default_route(Wan::Two, 500);
            w.lab.fault(Fault::UpstreamDead(Wan::Two));
        },
    },
    Deed {
        words: "an instance main is configured",
        make: |w| {
            w.lab.write("/etc/default/imon-main", &configuration("docs/guide/configure.md", 0))
        },
    },
    Deed {
        words: "a DHCP client has set a default route over wan2",
        make: |w| _ = w.lab.add_default_route(Wan::Two, 500),
    },
    Deed {
        words: "the cable of wan1 is pulled",
        make: |w| _ = w.lab.fault(Fault::Carrier(Wan::One)),
    },
    Deed { words: "the cable of wan1 is back", make: |w| _ = w.lab.heal(Fault::Carrier(Wan::One)) },
];

/// A configuration that a document shows, by its place among them.
fn configuration(document: &str, place: usize) -> String {
    let all =
        blocks(document).into_iter().filter(|block| block.kind() == Some(Kind::Configuration));
    all.map(|block| block.text)
        .nth(place)
        .unwrap_or_else(|| panic!("{document} has no configuration {place}"))
}

impl World {
    fn new() -> Self {
        let lab = public_lab();
        for folder in ["bin", "local/bin", "room"] {
            fs::create_dir_all(lab.path(&format!("/run/lab/{folder}"))).unwrap();
        }
        lab.script("/run/lab/bin/sudo", "#!/bin/sh\nexec \"$@\"\n");
        let link = |to: &Path, at: &str| symlink(to, lab.path(at)).unwrap();
        for at in ["bin/imon", "bin/imon-configure", "room/imon"] {
            link(&lab.imon_program(), &format!("/run/lab/{at}"));
        }
        for folder in ["docs", "examples", "systemd"] {
            link(
                &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
                &format!("/run/lab/room/{folder}"),
            );
        }
        let (dns, _http) = (lab.dns(), lab.http());
        dns.set("icanhazip.com", &[Record::Address([198, 18, 0, 80].into())]);
        Self { lab, dns, _http }
    }

    #[track_caller]
    fn make(&self, words: &str, place: &str) {
        let deed = DEEDS.iter().find(|deed| deed.words == words);
        (deed.unwrap_or_else(|| panic!("{place}: nobody knows how to make it so: {words}")).make)(
            self,
        );
    }

    /// As it was in the beginning.
    fn heal(&self) {
        for wan in Wan::BOTH {
            self.lab.heal(Fault::UpstreamDead(wan));
            self.lab.heal(Fault::Carrier(wan));
        }
        self.dns.mode(&DnsMode::Normal);
    }
}

fn play(document: &str) {
    let mut world = None;
    for block in blocks(document) {
        let world = match (block.kind(), block.lab.as_deref()) {
            (Some(Kind::Lab | Kind::Transcript), _) | (Some(Kind::Configuration), Some(_)) => {
                world.get_or_insert_with(World::new)
            }
            (_, None) => continue,
            (_, Some(_)) => panic!("{}: the lab is not for this kind of block", block.place),
        };
        world.lab.note(&block.place);
        match (block.kind(), &block.lab) {
            (Some(Kind::Configuration), Some(words)) => {
                let file = words
                    .strip_prefix("file ")
                    .filter(|file| file.starts_with("/etc/default/imon-"));
                world.lab.write(
                    file.unwrap_or_else(|| panic!("{}: no file: {words}", block.place)),
                    &block.text,
                );
            }
            (_, words) => {
                words.iter().for_each(|words| world.make(words, &block.place));
                run(world, &block);
                world.heal();
            }
        }
    }
}

fn run(world: &World, block: &Block) {
    if block.kind() == Some(Kind::Lab) {
        harmless(&block.text, &block.place);
        let done =
            world.lab.spawn("router", "sh", ["-ec", &format!("{ROOM}{}", block.text)]).finish(SOON);
        assert_eq!(done.code(), 0, "{}:\n{}\n{done:?}", block.place, block.text);
        return;
    }
    for (command, output) in transcript(block) {
        harmless(&command, &block.place);
        say(world, &command, &output, &block.place);
    }
}

#[track_caller]
fn harmless(text: &str, place: &str) {
    for command in commands(text) {
        assert!(
            HARMLESS.contains(&&*command[0]),
            "{place}: {command:?} is not known to be harmless here"
        );
    }
    for (at, _) in text.match_indices('/') {
        let before = text[..at].chars().last();
        let path = &text[at..];
        if before.is_none_or(|c| c.is_whitespace() || matches!(c, '>' | '\'' | '"' | '=')) {
            assert!(
                OURS.iter().any(|ours| path.starts_with(ours)),
                "{place}: not in the lab: {path}"
            );
        }
    }
}

/// Runs a command and compares what it prints, line by line. `…` stands for any number of lines.
fn say(world: &World, command: &str, expected: &[String], place: &str) {
    let imon = world.lab.spawn("router", "sh", ["-ec", &format!("{ROOM}exec {command}")]);
    let (mut next, mut any) = (0, false);
    for line in expected {
        if line == "…" {
            any = true;
        } else if let Some(words) = line.strip_prefix("# ") {
            world.make(words, place);
        } else {
            let found = imon.find_line(next, |said| !any || same(line, said), SOON);
            let (at, said) = found.unwrap_or_else(|why| {
                panic!("{place}: {command}\nsays no '{line}': {why}\n{}", imon.texts().join("\n"))
            });
            assert!(
                same(line, &said.text),
                "{place}: {command}\n{line}\nis now\n{}",
                imon.texts().join("\n")
            );
            (next, any) = (at + 1, false);
        }
    }
    // What runs until it is stopped.
    if command.contains("--nosyslog") {
        assert!(next > 0, "{place}: {command}\nshows nothing");
        imon.signal(Signal::SIGTERM);
        assert_eq!(imon.finish(SOON).code(), 0, "{place}: {command}");
        return;
    }
    let all = imon.finish(SOON);
    assert!(
        any || all.lines.len() == next,
        "{place}: {command}\nprints more:\n{}",
        imon.texts().join("\n")
    );
}

/// Whether two lines say the same. Times and measured numbers may differ.
fn same(shown: &str, said: &str) -> bool {
    let (shown, said): (Vec<&str>, Vec<&str>) =
        (shown.split_whitespace().collect(), said.split_whitespace().collect());
    let unit = |at: usize| {
        shown.get(at + 1).is_some_and(|unit| unit.starts_with("second") || *unit == "ms")
    };
    let is_same = |(at, (a, b)): (usize, (&&str, &&str))| {
        a == b || is_time(a, b) || is_measured(a, b, unit(at))
    };
    shown.len() == said.len() && shown.iter().zip(&said).enumerate().all(is_same)
}

/// `2026-11-24`, `17:05:13` and `2026-11-24T17:05:13.482Z`.
fn is_time(a: &str, b: &str) -> bool {
    let shape = |text: &str| {
        text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>()
    };
    let shape = (shape(a), shape(b));
    shape.0 == shape.1 && ["0000-00-00", "00:00:00"].iter().any(|time| shape.0.starts_with(time))
}

fn is_measured(a: &str, b: &str, has_unit: bool) -> bool {
    let number = |text: &str| text.trim_end_matches([',', ';']).parse::<f64>().is_ok();
    number(a) && number(b) && (has_unit || (a.contains('.') && b.contains('.')))
}

/// Every key of a status, but for the numbers of checks, which are those of events.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.insert(key.clone());
                if key != "last" {
                    keys(value, found);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

fn the_guide_names_every_field_of_the_status() {
    let world = World::new();
    let text = configuration("docs/guide/failover.md", 0);
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["updown"] = json!({ "enable": true, "interval": 1, "monitorip": "1.1.1.1", "addping": "192.168.42.1",
        "dnsserver": "8.8.8.8", "dnslookup": "microsoft.com" });
    config["ping"] = json!({ "enable": true, "interval": 1, "monitorip": "9.9.9.9" });
    config["ddns"] = json!({ "enable": true, "sources": ["http://icanhazip.com/", "dns:opendns"] });
    let imon = world.lab.imon("router").instance("all", &config.to_string()).nosyslog().spawn();
    let status = wait_status(&world.lab, &imon, "all", "all monitors have seen something", |s| {
        let monitors = &s["monitors"];
        monitors["failover"]["active"] == "wan1"
            && monitors["updown"]["state"] == "online"
            && monitors["ping"]["targets"][0]["last"].is_object()
            && monitors["ddns"]["addresses"][0]["state"] == "known"
    });
    let mut found = BTreeSet::new();
    keys(&status, &mut found);
    assert!(found.len() > 30, "{found:?}");
    // Those that a status has only at times, and this one perhaps not.
    let source = include_str!("../../src/snapshot/mod.rs");
    let rare = source
        .split("skip_serializing_if")
        .skip(1)
        .filter_map(|rest| rest.lines().nth(1)?.split(':').next());
    found.extend(rare.map(|field| field.trim().to_owned()));
    assert!(found.contains("hold_down_left_seconds"), "{found:?}");
    let guide = file("docs/guide/operate.md");
    let section =
        guide.split("\n## ").find(|section| section.starts_with("The status file\n")).unwrap();
    let named: BTreeSet<&str> =
        section.split('`').skip(1).step_by(2).flat_map(|span| span.split('.')).collect();
    let missing: Vec<&String> = found.iter().filter(|key| !named.contains(key.as_str())).collect();
    assert!(
        missing.is_empty(),
        "The status has more than docs/guide/operate.md says: {missing:?}\n{status:#}"
    );
}
