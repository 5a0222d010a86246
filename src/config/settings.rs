//! Between the file and the settings: each section with its defaults filled in, and the list of
//! what is wrong.

use std::rc::Rc;
use std::time::Duration;

use super::schema::{Key, schema};
use super::value::{self, Setting};
use super::{ConfigProblem, SettingPlace, TargetSettings, Timing};
use crate::addr::family::Family;
use crate::addr::host::Host;
use crate::base::json::{Fault, JsonEntry};
use crate::base::text::nearest;
use crate::monitor::ddns::source::Source;
use crate::monitor::ddns::update::Update;
use crate::routing::GatewaySource;

/// The settings of one section: what the file says, else the defaults.
pub(super) struct Settings {
    pub(super) section: &'static str,
    /// The line of the section's name, or 1.
    line: usize,
    values: Vec<Stated>,
}

/// One setting; `None` when its value is wrong, which has been reported.
struct Stated {
    key: &'static Key,
    setting: Option<Setting>,
    /// Where the file says so; `None` for a default.
    line: Option<usize>,
}

impl Settings {
    pub(super) fn read(
        section: &'static str,
        line: usize,
        entries: &[JsonEntry<'_>],
        report: &mut Complaints,
    ) -> Self {
        let mut settings = Self { section, line, values: Vec::new() };
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for key in schema().iter().filter(|key| key.section == section) {
            let entry = entries.iter().find(|entry| entry.key == key.name);
            let reading = match entry {
                Some(entry) => value::read(key, entry.value),
                // A test reads every default, so this cannot fail.
                None => serde_json::from_str(key.default)
                    .map(|raw| value::read(key, raw))
                    .unwrap_or_default(),
            };
            errors.extend(reading.errors.into_iter().map(|message| (key.name, message)));
            warnings.extend(reading.warnings.into_iter().map(|message| (key.name, message)));
            settings.values.push(Stated {
                key,
                setting: reading.setting,
                line: entry.map(|entry| entry.line),
            });
        }
        for (name, message) in warnings {
            settings.warn(report, name, message);
        }
        // In a monitor that does not run, nothing but whether it runs can be an error.
        let idle = settings.flag("enable") == Some(false);
        for (name, message) in errors {
            if idle {
                settings.warn(report, name, message)
            } else {
                settings.error(report, name, message)
            }
        }
        settings.report_missing(report);
        let known = || schema().iter().filter(|key| key.section == section).map(|key| key.name);
        for entry in entries.iter().filter(|entry| !known().any(|name| name == entry.key)) {
            report.unknown("key", entry, section, nearest(&entry.key, known()));
        }
        settings
    }

    /// The words of these messages are V2.99's, the two blanks included.
    fn report_missing(&self, report: &mut Complaints) {
        let unset = |setting: &Setting| match setting {
            Setting::Text(text) => text.is_empty(),
            Setting::Hosts(hosts) => hosts.is_empty(),
            Setting::Gateway(gateway) => gateway.is_none(),
            _ => false,
        };
        let missing =
            self.values.iter().filter(|v| v.key.required && v.setting.as_ref().is_some_and(unset));
        let missing: Vec<&str> = missing.map(|v| v.key.name).collect();
        if missing.is_empty() || !self.enabled() {
            return;
        }
        if let ["monitorip"] = missing.as_slice() {
            let message = format!("{} monitor requires an IP Address to monitor", self.section);
            self.error(report, "monitorip", message);
        } else {
            let hint = missing
                .iter()
                .find(|name| name.ends_with("-gw"))
                .map_or_else(String::new, |name| {
                    format!("; write \"{name}\": \"auto\" where DHCP or PPP tells the gateway")
                });
            let message = format!(
                "Missing settings for {} monitor:  {}{hint}",
                self.section,
                missing.join(" ")
            );
            report.error(self.line, self.section, message);
        }
    }

    pub(super) fn enabled(&self) -> bool {
        self.flag("enable") == Some(true)
    }

    fn get(&self, name: &str) -> Option<&Setting> {
        self.values.iter().find(|v| v.key.name == name)?.setting.as_ref()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        if let Setting::Flag(flag) = self.get(name)? { Some(*flag) } else { None }
    }

    pub(super) fn seconds(&self, name: &str) -> Option<Duration> {
        if let Setting::Seconds(seconds) = self.get(name)? { Some(*seconds) } else { None }
    }

    pub(super) fn count(&self, name: &str) -> Option<u32> {
        if let Setting::Count(count) = self.get(name)? { Some(*count) } else { None }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        if let Setting::Text(text) = self.get(name)? { Some(text) } else { None }
    }

    pub(super) fn hosts(&self, name: &str) -> Option<&[Host]> {
        if let Setting::Hosts(hosts) = self.get(name)? { Some(hosts) } else { None }
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        if let Setting::Number(number) = self.get(name)? { Some(*number) } else { None }
    }

    pub(super) fn gateway(&self, name: &str) -> Option<GatewaySource> {
        if let Setting::Gateway(gateway) = self.get(name)? { *gateway } else { None }
    }

    pub(super) fn targets(&self, name: &str) -> Option<&[TargetSettings]> {
        if let Setting::Targets(targets) = self.get(name)? { Some(targets) } else { None }
    }

    pub(super) fn sources(&self, name: &str) -> Option<&[Source]> {
        if let Setting::Sources(sources) = self.get(name)? { Some(sources) } else { None }
    }

    pub(super) fn families(&self, name: &str) -> Option<&[Family]> {
        if let Setting::Families(families) = self.get(name)? { Some(families) } else { None }
    }

    pub(super) fn events(&self, name: &str) -> Option<&[&'static str]> {
        if let Setting::Events(events) = self.get(name)? { Some(events) } else { None }
    }

    pub(super) fn updates(&self, name: &str) -> Option<&[Update]> {
        if let Setting::Updates(updates) = self.get(name)? { Some(updates) } else { None }
    }

    pub(super) fn timing(&self) -> Option<Timing> {
        Some(Timing {
            interval: self.seconds("interval")?,
            pingcount: u16::try_from(self.count("pingcount")?).ok()?,
            pingwait: self.seconds("pingwait")?,
        })
    }

    /// The line on which the file gives a value for the key.
    pub(super) fn line_of(&self, name: &str) -> Option<usize> {
        self.values.iter().find(|v| v.key.name == name)?.line
    }

    pub(super) fn place(&self, report: &Complaints, name: &str) -> SettingPlace {
        report.place(self.line_of(name).unwrap_or(self.line), format!("{}.{name}", self.section))
    }

    pub(super) fn error(&self, report: &mut Complaints, name: &str, message: String) {
        let place = self.place(report, name);
        report.errors.push(ConfigProblem { message, place });
    }

    pub(super) fn warn(&self, report: &mut Complaints, name: &str, message: String) {
        let place = self.place(report, name);
        report.warnings.push(ConfigProblem { message, place });
    }
}

/// What is wrong so far.
pub(super) struct Complaints {
    pub(super) file: Rc<str>,
    pub(super) errors: Vec<ConfigProblem>,
    pub(super) warnings: Vec<ConfigProblem>,
}

impl Complaints {
    pub(super) fn place(&self, line: usize, key: String) -> SettingPlace {
        SettingPlace { file: Rc::clone(&self.file), line: Some(line), key }
    }

    pub(super) fn error(&mut self, line: usize, key: &str, message: String) {
        let place = self.place(line, value::cut(key));
        self.errors.push(ConfigProblem { message, place });
    }

    pub(super) fn warn(&mut self, line: usize, key: &str, message: String) {
        let place = self.place(line, value::cut(key));
        self.warnings.push(ConfigProblem { message, place });
    }

    pub(super) fn fault(&mut self, section: &str, fault: Fault) {
        self.error(
            fault.line,
            if fault.key.is_empty() { section } else { &fault.key },
            fault.message,
        );
    }

    pub(super) fn unknown(
        &mut self,
        what: &str,
        entry: &JsonEntry<'_>,
        section: &str,
        near: Option<&str>,
    ) {
        let name = value::cut(&entry.key);
        let homes = schema().iter().filter(|key| key.name == entry.key).map(|key| key.section);
        let homes = homes.collect::<Vec<_>>().join(" or ");
        let hint = match near {
            Some(near) => format!("; did you mean {near}?"),
            None if !homes.is_empty() => format!("; it belongs in section {homes}"),
            None => String::new(),
        };
        let key = if section.is_empty() { entry.key.clone() } else { format!("{section}.{name}") };
        self.warn(entry.line, &key, format!("Unknown {what} {name} is ignored{hint}"));
    }

    /// Of keys given twice the last counts, in the place of the first, as Python reads JSON.
    pub(super) fn last_of_each<'a>(
        &mut self,
        section: &str,
        entries: Vec<JsonEntry<'a>>,
    ) -> Vec<JsonEntry<'a>> {
        let mut kept: Vec<JsonEntry<'a>> = Vec::with_capacity(entries.len());
        for entry in entries {
            match kept.iter_mut().find(|other| other.key == entry.key) {
                Some(other) => {
                    let message = format!(
                        "{} is already on line {}; this one counts",
                        value::cut(&entry.key),
                        other.line
                    );
                    let key = if section.is_empty() {
                        entry.key.clone()
                    } else {
                        format!("{section}.{}", entry.key)
                    };
                    self.warn(entry.line, &key, message);
                    *other = entry;
                }
                None => kept.push(entry),
            }
        }
        kept
    }
}
