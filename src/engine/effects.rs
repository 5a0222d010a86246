//! What the monitors want done: probes, questions, routes, publications, words.

use super::Daemon;
use super::host_table::ProbePath;
use super::network::Network;
use super::world::World;
use crate::addr::scope;
use crate::base::time::{Instant, Wall};
use crate::engine::scripts::{CallTicket, ScriptCall};
use crate::event::{Event, Monitor, Severity, What};
use crate::monitor::failover;
use crate::monitor::{Effect, Observation};
use crate::probe::{Owner, ProbeId, Reason};
use crate::wire::icmp::Token;

/// What a script finds in its environment, beside what imon itself was started with.
#[must_use]
pub fn environment(
    name: &str,
    instance: &str,
    event: &Event,
    time: &Wall,
    json: String,
) -> Vec<(&'static str, String)> {
    let mut env = vec![
        ("IMON_EVENT", name.to_owned()),
        ("IMON_INSTANCE", instance.to_owned()),
        ("IMON_MONITOR", event.monitor.name().to_owned()),
        ("IMON_TIME", time.to_string()),
        ("IMON_JSON", json),
    ];
    if let Some((family, wan)) = event.external() {
        env.push(("IMON_FAMILY", family.digit().to_owned()));
        env.extend(wan.map(|wan| ("IMON_WAN", wan.to_owned())));
    }
    env
}

impl<W: World> Daemon<W> {
    /// Gives an observation to the monitor of this host, or to all.
    pub(super) fn tell(&mut self, now: Instant, seen: &Observation<'_>, only: Option<Monitor>) {
        self.status.stale |= !matches!(seen, Observation::Tick);
        self.monitors.on(now, seen, only, &mut self.effects);
    }

    /// Carries out what the monitors want. That may make them want more: a probe that cannot be
    /// sent is lost at once.
    pub(super) fn perform(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(effect) = self.effects.get_mut(at) {
            // Taken out: a copy of an event is a dozen texts. What is left in its place is not
            // looked at.
            let effect = std::mem::replace(effect, Effect::Save);
            at += 1;
            if !matches!(effect, Effect::Probe(_)) {
                self.quiet = None;
            }
            match effect {
                Effect::Probe(id) => self.probe(id),
                Effect::Ask(id, name) => {
                    self.warn_of_private_server(id.server);
                    self.questions.opinion(now, id, &name, &self.hosts, &mut self.world);
                }
                Effect::Refresh(owner) => self.hosts.refresh(owner, now),
                Effect::Route(wan) => {
                    let lead = |network: &mut Network<W>| network.lead(wan, &mut self.world);
                    let result = self
                        .network
                        .as_mut()
                        .map_or_else(|| Err("there is no network".into()), lead);
                    let seen = Observation::Routed { wan, result };
                    self.monitors.on(now, &seen, Some(Monitor::Failover), &mut self.effects);
                    self.tell_ways(now);
                }
                Effect::Detour(wan) => {
                    if let Some(network) = &mut self.network {
                        network.detour(wan, &mut self.world);
                    }
                }
                Effect::Resolve(wan) => {
                    if let Some(network) = &mut self.network {
                        network.forget_gateway(wan, &mut self.world);
                    }
                }
                Effect::Emit(event) => {
                    self.emit(&event);
                    if event.monitor == Monitor::Failover {
                        self.tell_ways(now);
                    }
                }
                Effect::Lookup(id) => self.look_up(id),
                Effect::Publish(publication) => {
                    let bound = self.bound(&publication.wan, publication.address.is_ipv4());
                    if let Some(web) = &mut self.web {
                        web.publish(now, *publication, bound);
                    }
                }
                Effect::Save => self.save(),
            }
            while let Some((id, answer)) = self.questions.failed() {
                let seen = Observation::Answer { id, answer: &answer, own: &[] };
                self.monitors.on(now, &seen, Some(Monitor::Updown), &mut self.effects);
            }
        }
        self.effects.clear();
    }

    /// A private address of the name server is warned about when the configuration is read; behind
    /// a name it shows only now.
    fn warn_of_private_server(&mut self, server: Owner) {
        let Some(name) = self.hosts.name(server).filter(|_| !self.warned_of_server) else { return };
        let Some(address) = self.hosts.address(server).ok().filter(|a| scope::is_private(*a))
        else {
            return;
        };
        self.warned_of_server = true;
        let text = format_args!(
            "Warning: dnsserver {name} is {address}, in your own network: it answers from its cache and cannot tell \
             whether the internet works"
        );
        self.world.log(Severity::Warning, Some(Monitor::Updown), text);
    }

    pub(super) fn probe(&mut self, id: ProbeId) {
        let sent = self.world.now();
        let token = Token { owner: id.owner, check: id.check, index: id.index, sent };
        let way = self.hosts.way(id.owner);
        let mut to = self.hosts.address(id.owner);
        let mut probe = way.map_or(failover::ProbeKind::Echo, |way| way.probe);
        if let Some(ProbePath { wan, judges: true, .. }) = way {
            // A name that has no IPv4 address, or none yet.
            let stand_in =
                self.hosts.gateway(wan).filter(|_| !to.as_ref().is_ok_and(|to| to.is_ipv4()));
            if let Some(gateway) = stand_in {
                (to, probe) = (Ok(gateway.into()), failover::ProbeKind::Echo);
            }
        }
        let reason = match to {
            Ok(to) => {
                let wan = way.map(|way| way.wan);
                let result = match (probe, wan) {
                    (failover::ProbeKind::Echo, Some(wan)) => self.ping_by(wan, to, &token),
                    (_, None) => self.world.ping(&mut self.pinger, None, to, &token),
                    (probe, Some(wan)) => {
                        match self.network.as_ref().and_then(|network| network.via(wan)) {
                            Some(via) => {
                                // There is one more descriptor to wait for.
                                self.quiet = None;
                                self.contacts.send(id, probe, &via, to, sent, &mut self.world)
                            }
                            None => Err(std::io::ErrorKind::NetworkDown.into()),
                        }
                    }
                };
                match result.map_err(|e| (e.raw_os_error(), e)) {
                    Ok(()) => return,
                    Err((Some(errno), _)) => Reason::Send(errno),
                    Err((None, e)) => Reason::Unresolved(e.to_string().into()),
                }
            }
            Err(why) => Reason::Unresolved(why),
        };
        let monitor = self.hosts.monitor(id.owner);
        self.tell(sent, &Observation::Lost(id, reason), monitor);
    }

    /// Pings by the way of a WAN, whose socket may not have been to be had the last time.
    fn ping_by(&mut self, wan: usize, to: std::net::IpAddr, token: &Token) -> std::io::Result<()> {
        let result = self.world.ping(&mut self.pinger, Some(wan), to, token);
        let via =
            self.network.as_ref().filter(|_| result.is_err()).and_then(|network| network.via(wan));
        match via {
            Some(via) if self.world.set_lane(&mut self.pinger, wan, Some(&via))? => {
                self.quiet = None;
                self.world.ping(&mut self.pinger, Some(wan), to, token)
            }
            _ => result,
        }
    }

    fn emit(&mut self, event: &Event) {
        let world = &mut self.world;
        event.log(self.actions.has_script(), &mut |severity, line| {
            world.log(severity, Some(event.monitor), line)
        });
        self.status.changed |= match event.what {
            What::PingResult { .. } => {
                self.monitors.ping.as_mut().is_some_and(|p| p.take_changed(event.owner))
            }
            _ => true,
        };
        if !self.actions.has_script() {
            return;
        }
        // That one is called until it has succeeded, see `Effect::Publish`.
        if !matches!(event.what, What::ExternalChanged { .. }) {
            self.call(event, None);
        }
    }

    /// Calls the action script, if the event has a call.
    pub(super) fn call(&mut self, event: &Event, ticket: Option<CallTicket<W::File>>) {
        let Some(action) = event.call(&self.requested) else { return };
        let clock = self.world.clock();
        let json = event.json(&self.instance, clock, self.hosts.address(event.owner).ok());
        let env = environment(action.name, &self.instance, event, &clock.wall, json);
        self.actions.push(event.monitor, ScriptCall { action, env, ticket }, &mut self.world);
    }
}
