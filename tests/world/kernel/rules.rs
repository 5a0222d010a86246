//! Routing policy rules, and the walk along them.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{Errno, Flow, Kernel, News, covers};

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Table(u32),
    Blackhole,
    Unreachable,
    Prohibit,
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    pub v6: bool,
    pub priority: u32,
    pub action: Action,
    pub protocol: u8,
    pub inverted: bool,
    pub source: Option<(IpAddr, u8)>,
    pub destination: Option<(IpAddr, u8)>,
    pub tos: u8,
    pub mark: u32,
    pub mask: u32,
    pub incoming: Option<String>,
    pub device: Option<String>,
    pub ip_protocol: u8,
    /// `None`: any.
    pub source_port: Option<RangeInclusive<u16>>,
    pub port: Option<RangeInclusive<u16>>,
    /// Routes of at most this prefix length are not taken.
    pub suppress: Option<u32>,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            v6: false,
            priority: 0,
            action: Action::Table(super::MAIN),
            protocol: 0,
            inverted: false,
            source: None,
            destination: None,
            tos: 0,
            mark: 0,
            mask: 0,
            incoming: None,
            device: None,
            ip_protocol: 0,
            source_port: None,
            port: None,
            suppress: None,
        }
    }
}

/// How much of a rule has to be the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    /// For `NLM_F_EXCL`: everything but whether it is inverted; a new rule for all sources is like
    /// one for a single one, and so with destinations and types of service.
    All,
    /// For a removal: what the request names.
    Named,
}

impl Kernel {
    /// Adds a rule behind all of its priority; without one (`None`) before the second rule.
    /// `exclusive`: unless there is one like it.
    pub fn add_rule(
        &mut self,
        rule: &Rule,
        priority: Option<u32>,
        exclusive: bool,
    ) -> Result<(), Errno> {
        let rules = self.rules_mut(rule.v6);
        let second = rules.get(1).map_or(0, |second| second.priority.saturating_sub(1));
        let rule = Rule { priority: priority.unwrap_or(second), ..rule.clone() };
        if exclusive && rules.iter().any(|r| r.is_like(&rule, Same::All)) {
            return Err(libc::EEXIST);
        }
        let at = rules.iter().position(|r| r.priority > rule.priority).unwrap_or(rules.len());
        rules.insert(at, rule.clone());
        if let (true, Action::Table(table)) = (rule.v6, rule.action) {
            self.tables6.insert(table);
        }
        self.tell(News::Rule(rule));
        Ok(())
    }

    /// Removes the first rule that has what is named.
    pub fn remove_rule(&mut self, rule: &Rule, priority: Option<u32>) -> Result<(), Errno> {
        let rules = self.rules_mut(rule.v6);
        let named =
            |r: &Rule| priority.is_none_or(|p| p == r.priority) && r.is_like(rule, Same::Named);
        let at = rules.iter().position(named).ok_or(libc::ENOENT)?;
        let gone = rules.remove(at);
        self.tell(News::NoRule(gone));
        Ok(())
    }

    fn rules_mut(&mut self, v6: bool) -> &mut Vec<Rule> {
        if v6 { &mut self.rules6 } else { &mut self.rules4 }
    }

    /// Tries the rules in their order. `look` gives what a table has for the packet, and the length
    /// of its prefix; `EAGAIN`: nothing.
    pub(super) fn walk<T>(
        &self,
        rules: &[Rule],
        flow: &Flow,
        mut look: impl FnMut(u32) -> Result<(T, u8), Errno>,
    ) -> Result<T, Errno> {
        for rule in rules.iter().filter(|r| self.applies(r, flow)) {
            let found = match rule.action {
                Action::Table(table) => look(table),
                Action::Blackhole => Err(libc::EINVAL),
                Action::Unreachable => Err(libc::ENETUNREACH),
                Action::Prohibit => Err(libc::EACCES),
            };
            match found {
                Err(libc::EAGAIN) => {}
                Ok((_, prefix)) if rule.suppress.is_some_and(|most| u32::from(prefix) <= most) => {}
                found => return found.map(|(route, _)| route),
            }
        }
        Err(libc::ENETUNREACH)
    }

    fn applies(&self, rule: &Rule, flow: &Flow) -> bool {
        let within = |network: Option<(IpAddr, u8)>, address: Option<IpAddr>| {
            let unspecified = if flow.to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            network.is_none_or(|(network, prefix)| {
                covers(network, prefix, address.unwrap_or(unspecified))
            })
        };
        let is = |name: &Option<String>, index: u32| {
            name.as_ref().is_none_or(|n| self.index_of(n) == Some(index))
        };
        let port = |range: &Option<RangeInclusive<u16>>, port| {
            range.as_ref().is_none_or(|r| r.contains(&port))
        };
        let matches = is(&rule.incoming, flow.incoming)
            && is(&rule.device, flow.device)
            && (rule.mark ^ flow.mark) & rule.mask == 0
            && within(rule.source, flow.from)
            && within(rule.destination, Some(flow.to))
            && [0, flow.tos].contains(&rule.tos)
            && [0, flow.protocol].contains(&rule.ip_protocol)
            && port(&rule.source_port, flow.source_port)
            && port(&rule.port, flow.port);
        matches != rule.inverted
    }
}

impl Rule {
    fn is_like(&self, wanted: &Self, same: Same) -> bool {
        let all = same == Same::All;
        fn like<T: PartialEq>(all: bool, own: &T, wanted: &T, nothing: &T) -> bool {
            own == wanted || (!all && wanted == nothing)
        }
        let table = |action| if let Action::Table(table) = action { table } else { 0 };
        let suppress = |rule: &Self| rule.suppress;
        std::mem::discriminant(&self.action) == std::mem::discriminant(&wanted.action)
            && like(all, &table(self.action), &table(wanted.action), &0)
            && (!all || self.priority == wanted.priority)
            && like(false, &self.source, &wanted.source, &None)
            && like(false, &self.destination, &wanted.destination, &None)
            && like(false, &self.tos, &wanted.tos, &0)
            && like(all, &self.mark, &wanted.mark, &0)
            && like(all, &self.mask, &wanted.mask, &0)
            && like(all, &self.incoming, &wanted.incoming, &None)
            && like(all, &self.device, &wanted.device, &None)
            && like(all, &self.ip_protocol, &wanted.ip_protocol, &0)
            && like(all, &self.source_port, &wanted.source_port, &None)
            && like(all, &self.port, &wanted.port, &None)
            && like(all, &suppress(self), &suppress(wanted), &None)
            && like(all, &self.protocol, &wanted.protocol, &0)
    }
}
