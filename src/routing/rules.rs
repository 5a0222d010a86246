//! Where our rules stand beside those of others: what is yielded to, what is overtaken, and what
//! has to change for that. docs/beside.md says why.

use std::net::Ipv4Addr;

use super::{LinkState, Policy, RoutingView, TABLES, TABLES_EACH};
use crate::kernel::{BROAD, Change, MAIN, PROTOCOL, Route, Rule, TCP, UDP};

/// Rules of probes stand here, or before the first rule of others if that is earlier,
const PROBES: u32 = 22_011;
/// but not before this: what others add without a preference gets the one before the first, and
/// wg-quick adds two.
const FIRST: u32 = 4;
/// The rule that leads to the table main (`ip rule` of an untouched system), before which our
/// choice stands.
const STANDARD: u32 = 32_766;
const DNS: u16 = 53;

/// Where a table, or a rule that looks into it, leads packets for the internet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lead {
    /// Nowhere in particular: it has no default route.
    None,
    /// Over this network of ours.
    Wan(usize),
    /// In main, by a device that is neither a network of ours nor a tunnel: a DHCP server in the
    /// LAN has set it.
    Stray,
    /// Out by another device, by a tunnel, or into a black hole.
    Elsewhere,
}

/// Somebody else's rule or route, and what it means for our choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beside {
    /// What it means.
    pub kind: BesideKind,
    /// The rule or route as `ip` shows it.
    pub what: String,
    /// The network of ours that it leads over, if any.
    pub wan: Option<usize>,
    /// It is a rule that leads to the table main, so the metrics there decide.
    pub via_main: bool,
}

/// What somebody else's rule or route means for our choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BesideKind {
    /// It leads all traffic elsewhere, and goes first.
    Yielded,
    /// It would lead all traffic over a network of ours, and our choice goes first.
    Overtaken,
    /// It would lead all traffic over a network of ours, and our choice cannot stand before it.
    First,
    /// It leads a part of the traffic over a network of ours, whatever is chosen.
    Narrow,
}

impl BesideKind {
    /// In a word, for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Yielded => "yielded",
            Self::Overtaken => "overtaken",
            Self::First => "first",
            Self::Narrow => "narrow",
        }
    }
}

/// Where the rule of our choice, and those that belong to it, stand.
struct RulePlace<'a> {
    /// The preference.
    at: u32,
    /// Others' rules of that preference that have to stand before ours.
    before: Vec<&'a Rule>,
    /// Our choice may be made there: it overtakes what follows.
    leads: bool,
}

impl Policy {
    /// Where a table leads packets for the internet. Of the table main only what others put there
    /// counts, if there is any.
    #[must_use]
    pub fn lead(&self, table: u32, view: &RoutingView<'_>) -> Lead {
        let leads = |route: &Route| self.leads(route, view);
        let pieces = || pieces(table, view);
        if pieces().any(|r| leads(r) == Lead::Elsewhere) {
            return Lead::Elsewhere;
        }
        match self.best_default(table, view).or_else(|| pieces().next()) {
            None if table == MAIN => {
                view.routes.iter().find(|r| self.is_our_default(r, view)).map_or(Lead::None, leads)
            }
            None => Lead::None,
            Some(route) => match leads(route) {
                Lead::Elsewhere if table == MAIN && !self.is_elsewhere(route, view) => Lead::Stray,
                lead => lead,
            },
        }
    }

    /// The defaults of others in this table that the kernel takes. A black hole of the highest
    /// metric is what is left when there is no other default, and not one to go before ours, which
    /// could not stand behind it.
    fn defaults<'a>(&self, table: u32, view: &RoutingView<'a>) -> impl Iterator<Item = &'a Route> {
        // Another imon's choice is compared by its rules.
        let theirs =
            move |r: &&Route| r.table == table && r.is_default() && r.tos == 0 && !r.is_ours();
        let alive = |r: &&Route| match r.hops.as_slice() {
            [] => r.metric < u32::MAX,
            hops => !hops.iter().all(|h| h.dead),
        };
        view.routes
            .iter()
            .filter(theirs)
            .filter(alive)
            .filter(move |r| !self.is_our_default(r, view))
    }

    fn best_default<'a>(&self, table: u32, view: &RoutingView<'a>) -> Option<&'a Route> {
        self.defaults(table, view).min_by_key(|r| r.metric)
    }

    /// The default of others in main that all traffic is left to: by a tunnel, or into a black
    /// hole. To lead traffic around it would be a leak.
    #[must_use]
    pub fn yielded_default<'a>(&self, view: &RoutingView<'a>) -> Option<&'a Route> {
        self.best_default(MAIN, view).filter(|r| self.is_elsewhere(r, view))
    }

    /// The first metric behind it, and behind what takes its place when it is gone, up to a default
    /// that leads over a network; 0: nothing is yielded to.
    pub(super) fn behind_yielded(&self, view: &RoutingView<'_>) -> u32 {
        let (mut networks, mut behind) = (u32::MAX, 0);
        for pass in [false, true] {
            for route in self.defaults(MAIN, view).filter(|r| self.is_elsewhere(r, view) == pass) {
                match pass {
                    false => networks = networks.min(route.metric),
                    true if route.metric < networks => {
                        behind = behind.max(route.metric.saturating_add(1))
                    }
                    true => {}
                }
            }
        }
        behind
    }

    /// Whether a route of main is a tunnel's, or ends.
    fn is_elsewhere(&self, route: &Route, view: &RoutingView<'_>) -> bool {
        let tunnel = |index: u32| view.links.iter().any(|l| l.index == index && l.tunnel);
        route.hops.is_empty()
            || route.hops.iter().any(|h| self.wan_of(h, view).is_none() && tunnel(h.index))
    }

    fn leads(&self, route: &Route, view: &RoutingView<'_>) -> Lead {
        match route
            .hops
            .iter()
            .map(|hop| self.wan_of(hop, view))
            .collect::<Option<Vec<_>>>()
            .as_deref()
        {
            Some([first, ..]) => Lead::Wan(*first),
            Some([]) | None => Lead::Elsewhere,
        }
    }

    fn rule_leads(&self, rule: &Rule, view: &RoutingView<'_>) -> Lead {
        match rule.suppress {
            _ if rule.nowhere => Lead::Elsewhere,
            None => self.lead(rule.table, view),
            Some(_) => Lead::None,
        }
    }

    /// The longest prefix that is not taken from a table when our own networks are looked up:
    /// halves of a default over networks of ours are as good as a default there.
    fn suppressed(&self, table: u32, view: &RoutingView<'_>) -> u32 {
        let pieces = || pieces(table, view);
        if pieces().all(|r| matches!(self.leads(r, view), Lead::Wan(_))) {
            pieces().map(|r| u32::from(r.prefix)).max().unwrap_or(0)
        } else {
            0
        }
    }

    /// Whether a rule belongs to an imon, this or another.
    fn is_imons(rule: &Rule) -> bool {
        rule.protocol == PROTOCOL
    }

    fn place<'a>(&self, view: &RoutingView<'a>) -> RulePlace<'a> {
        let others: Vec<&Rule> = view.rules.iter().filter(|rule| !self.is_our_rule(rule)).collect();
        let overtaken = |rule: &Rule| {
            let broad = rule.is_broad() && !Self::is_imons(rule) && rule.table != 0;
            broad
                && (matches!(self.rule_leads(rule, view), Lead::Wan(_))
                    || (rule.table == MAIN && rule.suppress.is_none()))
        };
        // Of another imon's rules only the choice is in our way: the others are for its own
        // addresses.
        let aside = |rule: &Rule| Self::is_imons(rule) && !self.goes_first(rule, view);
        let mut before: Vec<&Rule> = Vec::new();
        for rule in others {
            if aside(rule) {
                continue;
            }
            let last = before.last().map_or(0, |rule| rule.priority);
            let at = rule.priority.saturating_sub(1).max(last);
            // The rules of probes stand before ours, and not below 2.
            if overtaken(rule) && at < rule.priority && at > 2 {
                let leads = rule.table != MAIN || self.yielded_default(view).is_none();
                let before = before.into_iter().filter(|rule| rule.priority == at).collect();
                return RulePlace { at, before, leads };
            }
            before.push(rule);
        }
        // Nobody looks into main any more.
        let at = before.last().map_or(0, |rule| rule.priority).max(STANDARD - 1);
        let before = before.into_iter().filter(|rule| rule.priority == at).collect();
        RulePlace { at, before, leads: true }
    }

    /// Whether a rule of another imon is its choice, and goes before ours: the lower metric wins,
    /// as among routes. While its metric is not known it does not, so that not both wait for each
    /// other.
    fn goes_first(&self, rule: &Rule, view: &RoutingView<'_>) -> bool {
        let default = |table| {
            view.routes.iter().filter(move |r| r.table == table && r.is_ours() && r.is_default())
        };
        let way = |r: &Route| r.hop().map(|hop| hop.index);
        let is_choice = rule.table.checked_sub(TABLES).is_some_and(|n| n % TABLES_EACH == 0);
        let chosen = default(rule.table).find_map(way);
        is_choice
            && chosen.is_some()
            && default(MAIN).any(|r| way(r) == chosen && r.metric <= self.metric)
    }

    /// Where the rules of probes stand: before everything of others, since nothing is narrower, and
    /// before our choice.
    fn probes_at(&self, place: &RulePlace<'_>, view: &RoutingView<'_>) -> u32 {
        let first = view
            .rules
            .iter()
            .find(|rule| rule.priority > 0 && !Self::is_imons(rule))
            .map_or(PROBES, |r| r.priority);
        let room = if first > FIRST { PROBES.min(first - 1) } else { PROBES };
        room.min(place.at.saturating_sub(1))
    }

    /// Our address on a network: while its link is not ready the one that its rules have, as long
    /// as that is there.
    fn source(&self, wan: usize, view: &RoutingView<'_>) -> Option<Ipv4Addr> {
        if let Some(LinkState::Ready(road)) = self.state(wan, view) {
            return Some(road.address);
        }
        let table = self.table_of(wan);
        let mut had = view
            .rules
            .iter()
            .filter(|r| Self::is_imons(r) && r.table == table)
            .filter_map(|r| r.source);
        had.find(|source| view.addresses.iter().any(|a| a.address == *source))
    }

    /// The rules that there should be: those of probes, in no order, and those that stand together
    /// with our choice, in this order.
    fn wanted(
        &self,
        chosen: bool,
        place: &RulePlace<'_>,
        view: &RoutingView<'_>,
    ) -> (Vec<Rule>, Vec<Rule>) {
        let sources: Vec<Option<Ipv4Addr>> =
            (0..self.wans.len()).map(|wan| self.source(wan, view)).collect();
        let ours =
            |priority, table| Rule { priority, table, protocol: PROTOCOL, ..Rule::default() };
        let from = |priority, wan: usize, source| Rule {
            source: Some(source),
            source_length: 32,
            ..ours(priority, self.table_of(wan))
        };
        let shared = |source| sources.iter().filter(|s| **s == Some(source)).count() > 1;
        let (mut probes, mut block) = (Vec::new(), Vec::new());
        let at = self.probes_at(place, view);
        block.push(Rule {
            inverted: true,
            source: Some(self.nobody()),
            source_length: 32,
            suppress: Some(self.suppressed(MAIN, view)),
            ..ours(place.at, MAIN)
        });
        for (wan, configured) in self.wans.iter().enumerate() {
            let Some(source) = sources.get(wan).copied().flatten() else { continue };
            // A neighbour is found without.
            let near = |to| view.addresses.iter().any(|a| a.address == source && a.reaches(to));
            for probed in configured.targets.iter().filter(|probed| !near(probed.address)) {
                let twice = shared(source)
                    && self.wans.iter().filter(|w| w.targets.contains(probed)).count() > 1;
                probes.push(Rule {
                    destination: Some(probed.address),
                    destination_length: 32,
                    ip_protocol: probed.protocol,
                    port: probed.port,
                    device: twice.then(|| configured.device.clone()),
                    ..from(at, wan, source)
                });
            }
            // Connections from and to the address of a network are that network's. Two networks
            // that gave us the same address cannot be told apart by it.
            if !shared(source) {
                block.push(Rule { ip_protocol: TCP, ..from(place.at, wan, source) });
                block.push(Rule { ip_protocol: UDP, port: DNS, ..from(place.at, wan, source) });
            }
            block.push(Rule {
                device: Some(configured.device.clone()),
                ..from(place.at, wan, source)
            });
        }
        if chosen && place.leads {
            block.push(ours(place.at, self.base));
        }
        (probes, block)
    }

    /// A source that no packet has, another one for each instance: the rule `not from` it is for
    /// everything, and is not what `wg-quick down` looks for when it takes its own away.
    fn nobody(&self) -> Ipv4Addr {
        let [.., high, low] = self.base.to_be_bytes();
        Ipv4Addr::new(255, 255, high, low)
    }

    pub(super) fn is_our_rule(&self, rule: &Rule) -> bool {
        let look = rule.inverted && rule.source == Some(self.nobody());
        Self::is_imons(rule) && (self.is_our_table(rule.table) || look)
    }

    /// What has to change among the rules, in this order. New ones come before old ones go. Rules
    /// of the same preference are tried in the order in which they were added: from the first that
    /// is out of order on, all are added once more, behind all others, and then their first copies
    /// go.
    pub(super) fn rule_changes(&self, chosen: bool, view: &RoutingView<'_>) -> Vec<Change> {
        let place = self.place(view);
        let (probes, block) = self.wanted(chosen, &place, view);
        let mut out: Vec<Change> = Vec::new();
        out.extend(
            probes.iter().filter(|rule| !view.rules.contains(rule)).cloned().map(Change::AddRule),
        );
        let there: Vec<&Rule> =
            view.rules.iter().filter(|rule| rule.priority == place.at).collect();
        let late = there.iter().rposition(|rule| place.before.contains(rule)).unwrap_or(0);
        let ours = |rules: &[&Rule]| {
            rules
                .iter()
                .filter(|rule| self.is_our_rule(rule))
                .map(|r| (*r).clone())
                .collect::<Vec<_>>()
        };
        let early = ours(there.get(..late).unwrap_or_default());
        let rest = ours(there.get(late..).unwrap_or_default());
        let good = if early.is_empty() {
            rest.iter().zip(&block).take_while(|(have, want)| have == want).count()
        } else {
            0
        };
        out.extend(block.iter().skip(good).cloned().map(Change::AppendRule));
        let stale = view.rules.iter().rev().filter(|rule| {
            self.is_our_rule(rule) && rule.priority != place.at && !probes.contains(rule)
        });
        // The last one first: what leads everything goes before what makes exceptions from it.
        let again = early.iter().chain(rest.iter().skip(good)).rev();
        out.extend(again.chain(stale).cloned().map(Change::RemoveRule));
        out
    }

    /// The rules and routes of others that lead packets for the internet, and what they mean for
    /// our choice.
    #[must_use]
    pub fn beside(&self, view: &RoutingView<'_>) -> Vec<Beside> {
        let place = self.place(view);
        let mut all = Vec::new();
        for rule in view.rules.iter().filter(|rule| !Self::is_imons(rule)) {
            let standard = rule.priority >= STANDARD;
            let lead = self.rule_leads(rule, view);
            let wan = if let Lead::Wan(wan) = lead { Some(wan) } else { None };
            let before = rule.priority <= place.at;
            let kind = match (lead, rule.is_broad()) {
                (Lead::None | Lead::Stray, _) => continue,
                _ if standard => continue,
                (Lead::Wan(_), false) => BesideKind::Narrow,
                (Lead::Wan(_), true) if before => BesideKind::First,
                (Lead::Wan(_), true) => BesideKind::Overtaken,
                // Of what is narrower nobody wants to hear.
                (Lead::Elsewhere, broad) if before && (broad || rule.is_for_unmarked()) => {
                    BesideKind::Yielded
                }
                (Lead::Elsewhere, _) => continue,
            };
            all.push(Beside {
                kind,
                what: format!("ip rule {rule}"),
                wan,
                via_main: rule.table == MAIN,
            });
        }
        let (yielded, suppressed) = (self.yielded_default(view), self.suppressed(MAIN, view));
        for route in view
            .routes
            .iter()
            .filter(|r| r.table == MAIN && !r.is_ours() && !r.destination.is_multicast())
        {
            let tunnel = self.is_elsewhere(route, view);
            let kind = match route.prefix {
                0 if yielded == Some(route) => BesideKind::Yielded,
                0 if !tunnel
                    && self.leads(route, view) == Lead::Elsewhere
                    && route.metric <= self.metric =>
                {
                    BesideKind::Overtaken
                }
                1..=BROAD if tunnel => BesideKind::Yielded,
                1..=BROAD if suppressed > 0 => BesideKind::Overtaken,
                _ => continue,
            };
            all.push(Beside { kind, what: format!("ip route {route}"), wan: None, via_main: true });
        }
        // Of these there may be many.
        all.sort_by_key(|other| other.kind == BesideKind::Narrow);
        all
    }
}

/// The pieces of a default that others have put into a table. The last eighth has no hosts, and is
/// often led nowhere.
fn pieces<'a>(table: u32, view: &RoutingView<'a>) -> impl Iterator<Item = &'a Route> {
    let is_piece = |r: &&Route| {
        (1..=BROAD).contains(&r.prefix) && !r.is_ours() && !r.destination.is_multicast()
    };
    view.routes.iter().filter(move |r| r.table == table && is_piece(r))
}

impl Rule {
    /// Whether it is for everything that bears no mark, as the rule of wg-quick(8) is.
    fn is_for_unmarked(&self) -> bool {
        self.inverted
            && (self.special || self.mark != 0)
            && self.source.is_none()
            && self.destination.is_none()
    }
}

/// What probes of a network are sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probed {
    /// The target.
    pub address: Ipv4Addr,
    /// The IP number of the protocol: ICMP, TCP or UDP.
    pub protocol: u8,
    /// The port; 0 for ICMP.
    pub port: u16,
}
