//! Where the acts are played: the lab, its internet, and the imon in it, whose lines are shown as
//! they come.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use imon_lab::roles::{Dns, Responder};
use imon_lab::{Lab, Proc};

use crate::AS_IMON;
use crate::screen::Screen;

/// The demo ends within a minute whatever happens: nothing is waited for after this.
const CURTAIN: Duration = Duration::from_secs(55);
/// imon's configuration, where it looks for it.
const CONFIG: &str = "/etc/default/imon-demo";

/// Everything that acts need.
pub(crate) struct Stage<'a> {
    screen: &'a Screen,
    /// Dropped from the top: imon before the network it runs in.
    pub(crate) imon: Proc,
    pub(crate) internet: Responder,
    pub(crate) dns: Dns,
    pub(crate) lab: Lab,
    /// How many of imon's lines were shown.
    shown: usize,
    /// When the last deed was done.
    since: Instant,
    end: Instant,
    in_echo: bool,
    /// What imon has said since the last deed.
    said: Vec<String>,
}

impl<'a> Stage<'a> {
    /// Opens the internet and starts imon.
    pub(crate) fn new(screen: &'a Screen, lab: Lab, began: Instant) -> Self {
        let (internet, dns) = (lab.responder("inet"), lab.dns());
        lab.script("/run/lab/action", include_str!("action.sh"));
        lab.write(CONFIG, include_str!("imon-demo.json"));
        let since = Instant::now();
        let imon = Self::start(&lab);
        Self {
            screen,
            imon,
            internet,
            dns,
            lab,
            shown: 0,
            since,
            end: began + CURTAIN,
            in_echo: false,
            said: Vec::new(),
        }
    }

    fn start(lab: &Lab) -> Proc {
        let this = std::env::current_exe().unwrap_or_default();
        // For the looks: imon logs its command line.
        let name = "/run/lab/imon";
        let program = if std::os::unix::fs::symlink(&this, lab.path(name)).is_ok() {
            name.into()
        } else {
            this
        };
        let mut command = lab.command("router", program, ["--instance", "demo", "--nosyslog"]);
        command.env(AS_IMON, "1");
        lab.start("imon", &mut command)
    }

    /// Does something and says so. Times are counted from here.
    pub(crate) fn deed(&mut self, what: &str, doing: impl FnOnce(&Self)) {
        self.screen.deed(what);
        self.said.clear();
        doing(self);
        self.since = Instant::now();
    }

    /// Waits for a line of imon's that ends like this, shows all until then, and returns how long
    /// it took.
    pub(crate) fn hear(&mut self, end: &str) -> Result<Duration, String> {
        self.hear_such(&format!("'{end}'"), |line| line.ends_with(end))
    }

    /// The same for a line that contains this.
    pub(crate) fn hear_of(&mut self, part: &str) -> Result<Duration, String> {
        self.hear_such(&format!("'… {part} …'"), |line| line.contains(part))
    }

    /// Waits until the action script has been called so since the last deed. It runs beside imon,
    /// so what it prints can come before or after what imon says next.
    pub(crate) fn called(&mut self, part: &str) -> Result<(), String> {
        if self.said.iter().any(|line| line.contains(part)) {
            Ok(())
        } else {
            self.hear_of(part).map(drop)
        }
    }

    fn hear_such(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<Duration, String> {
        let limit = self.limit();
        loop {
            let Some((text, after)) = self.next_line(limit) else {
                return Err(format!("imon did not say {what}{}", self.why()));
            };
            if wanted(&text) {
                return Ok(after);
            }
        }
    }

    /// Waits until something is so, showing imon's lines meanwhile, and returns how long it took.
    /// It is a failure when imon says something that contains `unwanted`.
    pub(crate) fn until(
        &mut self,
        what: &str,
        unwanted: Option<&str>,
        mut so: impl FnMut(&Self) -> bool,
    ) -> Result<Duration, String> {
        let limit = self.limit();
        loop {
            // First whether more can come, then what is so, then what was said before it was.
            let ended = !self.imon.alive();
            let is_so = so(self);
            while let Some((text, _)) = self.next_line(Instant::now()) {
                if unwanted.is_some_and(|u| text.contains(u)) {
                    return Err(format!("imon said '{text}'"));
                }
            }
            if is_so {
                return Ok(self.since.elapsed());
            }
            if ended || Instant::now() >= limit {
                return Err(format!("it did not come to this: {what}{}", self.why()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Shows imon's next line and returns it, without the time that imon wrote before it, and when
    /// it came.
    fn next_line(&mut self, limit: Instant) -> Option<(String, Duration)> {
        let left = limit.saturating_duration_since(Instant::now());
        let (at, line) = self.imon.find_line(self.shown, |_| true, left).ok()?;
        self.shown = at + 1;
        let after = line.at.saturating_duration_since(self.since);
        self.show(after, &line.text);
        self.said.push(line.text.clone());
        Some((line.text, after))
    }

    /// Shows a line, but not what imon repeats of its configuration.
    fn show(&mut self, after: Duration, text: &str) {
        let (_, message) = text.split_once("] ").unwrap_or(("", text));
        let echo = message.starts_with("** [") || message.starts_with("    ");
        if !echo {
            self.screen.imon(after, text);
        } else if !self.in_echo {
            self.screen.imon(after, "(its configuration, see examples/lab/imon-demo.json)");
        }
        self.in_echo = echo;
    }

    /// Waits until imon has checked 1.1.1.1 so many times more, and has not said anything that
    /// contains `unwanted`.
    pub(crate) fn checks(&mut self, more: usize, unwanted: &str) -> Result<(), String> {
        self.internet.forget();
        // A check has two probes.
        let enough = |s: &Self| s.internet.requests_to("1.1.1.1").len() >= more * 2;
        self.until(&format!("{more} more checks"), Some(unwanted), enough).map(drop)
    }

    /// Gives imon another configuration: its own, with one text replaced by another.
    pub(crate) fn reconfigure(&self, from: &str, to: &str) {
        self.lab.write(CONFIG, &include_str!("imon-demo.json").replace(from, to));
    }

    /// Gives imon this configuration.
    pub(crate) fn configure(&self, text: &str) {
        self.lab.write(CONFIG, text);
    }

    /// Starts imon again, after it has ended.
    pub(crate) fn restart(&mut self) {
        self.screen.deed("imon is started again");
        self.since = Instant::now();
        self.imon = Self::start(&self.lab);
        self.shown = 0;
    }

    /// It is a failure when packets to the internet would not leave by this interface.
    pub(crate) fn leaves_by(&self, device: &str) -> Result<(), String> {
        let way = self.lab.sh("router", "ip route get 9.9.9.9");
        if way.contains(&format!("dev {device} ")) {
            Ok(())
        } else {
            Err(format!("packets leave otherwise: {way}"))
        }
    }

    /// Whether a process with these words in its command line runs in the lab.
    pub(crate) fn runs(&self, words: &[&str]) -> bool {
        let wanted = words.join("\0");
        let processes = fs::read_dir(self.lab.path("/proc")).into_iter().flatten().flatten();
        processes
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .any(|line| String::from_utf8_lossy(&line).starts_with(&wanted))
    }

    /// Takes all of it away, and looks whether it is gone.
    pub(crate) fn clear(self) -> bool {
        let keeper = format!("/proc/{}", self.lab.keeper_pid());
        drop(self);
        !Path::new(&keeper).exists()
    }

    /// When to give up waiting: generous, because a machine may be busy.
    fn limit(&self) -> Instant {
        self.end.min(Instant::now() + Duration::from_secs(15))
    }

    fn why(&self) -> String {
        match self.imon.status() {
            Some(status) => format!(", it has ended ({status})"),
            None if Instant::now() >= self.end => ", and the demo's time is up".to_owned(),
            None => " in time".to_owned(),
        }
    }
}
