//! Who else is here: the imon that runs, other people's rules and routes, and what sets the routes
//! of an interface.

use crate::diagnose::others::Detours;
use crate::diagnose::own::Own;
use crate::kernel::Picture;
use crate::routing::{Beside, Policy, RoutingView};
use crate::sys::files;
use crate::sys::netlink::Requests;

/// So many routes of others, and things beside us, are named.
const MOST: usize = 16;
const MOST_DETOURS: usize = 3;
/// Status files and the configuration of networks are shorter.
const LONGEST: u64 = 1 << 18;

/// What the imon that runs this instance says. `None`: none does.
pub(super) fn own(instance: &str) -> Option<Own> {
    let own = Own::read(&files::read_start(format!("/run/imon/{instance}.json"), LONGEST).ok()?)?;
    // One that was killed leaves its status.
    let name = files::read_start(format!("/proc/{}/comm", own.pid), 64).ok()?;
    name.starts_with(b"imon").then_some(own)
}

/// What others have set up.
pub(super) fn others(policy: &Policy, picture: &Picture) -> Vec<Beside> {
    let view: RoutingView<'_> = picture.into();
    let named = |other: Beside| Beside {
        what: picture.names_in(other.what + " ").trim_end().to_owned(),
        ..other
    };
    policy.beside(&view).into_iter().take(MOST).map(named).collect()
}

/// Routes to hosts and subnets behind the gateways of an interface.
pub(super) fn detours(requests: &mut Requests, picture: &Picture, device: &str) -> Detours {
    let Some(link) = picture.links.iter().find(|l| l.name == device) else {
        return Detours::default();
    };
    // Not to be had is the same as none: this colours a verdict.
    let (first, count) = requests.routes_over(picture, link, MOST_DETOURS).unwrap_or_default();
    Detours { first: first.iter().map(|route| picture.in_words(route)).collect(), count }
}

/// Where the metric of a network is to be written whose default route is taken away by that of
/// another one: files that set an interface's address and keep one default for all, unless a metric
/// tells them apart.
pub(super) fn metric_advice(device: &str) -> Option<String> {
    let text = |path: &str| {
        let bytes = files::read_start(path, LONGEST).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let path = "/etc/config/network";
    if let Some(line) = uci_section(&text(path), device) {
        return Some(format!(
            "write \"option metric '20'\" below line {line} of {path}, and restart the network"
        ));
    }
    let directory = "/etc/network/interfaces.d";
    let more = files::names(directory).into_iter().map(|name| format!("{directory}/{name}"));
    std::iter::once("/etc/network/interfaces".to_owned()).chain(more).find_map(|path| {
        let line =
            line_of(&text(&path), |words| matches!(words, ["iface", name, ..] if *name == device))?;
        Some(format!(
            "write 'metric 200' below line {line} of {path}, then ifdown {device} and ifup {device}"
        ))
    })
}

/// The line, from 1 on, of the section of OpenWrt's network configuration that is about a device.
fn uci_section(text: &str, device: &str) -> Option<usize> {
    let mut section = None;
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> =
            line.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
        match words.as_slice() {
            ["config", "interface", ..] => section = Some(number),
            ["config", ..] => section = None,
            ["option", "device" | "ifname", name] if *name == device && section.is_some() => {
                return section;
            }
            _ => {}
        }
    }
    None
}

fn line_of(text: &str, is_it: impl Fn(&[&str]) -> bool) -> Option<usize> {
    let mut lines = (1..).zip(text.lines());
    lines
        .find(|(_, line)| is_it(&line.split_whitespace().collect::<Vec<_>>()))
        .map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v10_the_section_of_a_device_is_found() {
        let text = "config interface 'loopback'\n\toption device 'lo'\n\nconfig device\n\toption device 'wan2'\n\n\
                    config interface 'wanb'\n\toption proto 'dhcp'\n\toption ifname \"wan2\"\n";
        assert_eq!(uci_section(text, "wan2"), Some(7));
        assert_eq!(uci_section(text, "wan3"), None);
    }
}
