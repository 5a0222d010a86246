use super::*;
use crate::random::Random;

/// A kernel that does what it is told, as Linux does: REPLACE goes by table, destination, metric and type of service.
#[derive(Clone)]
struct Kernel {
    links: Vec<Link>,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    rules: Vec<Rule>,
}

const GW1: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);
const GW2: Ipv4Addr = Ipv4Addr::new(192, 168, 62, 1);

impl Kernel {
    fn new() -> Self {
        let link =
            |index, name: &str| Link { index, name: name.into(), up: true, carrier: true, point_to_point: false };
        let address = |index, c| Address {
            index,
            address: Ipv4Addr::new(192, 168, c, 2),
            peer: None,
            prefix: 24,
            local: false,
            secondary: false,
        };
        Self {
            links: vec![link(2, "lan0"), link(3, "wan1"), link(4, "wan2")],
            addresses: vec![address(2, 92), address(3, 42), address(4, 62)],
            routes: Vec::new(),
            rules: Vec::new(),
        }
    }

    fn view(&self) -> View<'_> {
        View {
            links: &self.links,
            addresses: &self.addresses,
            routes: &self.routes,
            rules: &self.rules,
            policy_routing: true,
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Replace(new) => {
                let place = |r: &Route| (r.table, r.destination, r.prefix, r.metric, r.tos);
                match self.routes.iter_mut().find(|r| place(r) == place(new)) {
                    Some(old) => *old = new.clone(),
                    None => self.routes.push(new.clone()),
                }
            }
            Change::RemoveRoute(old) => self.routes.retain(|r| r != old),
            Change::AddRule(new) => self.rules.push(new.clone()),
            Change::RemoveRule(old) => self.rules.retain(|r| r != old),
        }
    }

    /// Makes the changes and returns how many there were. At no point may the choice be without a road once it had one.
    fn follow(&mut self, policy: &Policy, chosen: Option<usize>) -> usize {
        let changes = policy.changes(chosen, &self.view());
        let mut had = [policy.table(), MAIN].map(|t| self.ours(t));
        for change in &changes {
            self.apply(change);
            let have = [policy.table(), MAIN].map(|t| self.ours(t));
            assert!(have.iter().zip(&had).all(|(now, before)| *before == 0 || *now > 0), "a gap after {change}");
            had = have;
        }
        assert_eq!(policy.changes(chosen, &self.view()), [], "nothing is left to do");
        changes.len()
    }

    fn ours(&self, table: u32) -> usize {
        self.routes.iter().filter(|r| r.is_ours() && r.table == table).count()
    }

    /// By which interface a packet leaves: rules by priority, then the route with the lowest metric.
    fn way(&self, source: Option<Ipv4Addr>) -> Option<u32> {
        let mut rules = self.rules.clone();
        let last = Rule {
            priority: 32766,
            table: MAIN,
            protocol: 2,
            source: None,
            source_length: 0,
            suppress: None,
            special: false,
        };
        rules.push(last);
        rules.sort_by_key(|r| r.priority);
        rules.iter().filter(|r| r.source.is_none() || r.source == source).find_map(|rule| {
            let routes = self.routes.iter().filter(|r| r.table == rule.table && rule.suppress.is_none());
            routes.min_by_key(|r| r.metric).and_then(|r| Some(r.hop()?.index))
        })
    }
}

fn policy() -> Policy {
    let wan = |device: &str, gateway| Wan { device: device.into(), gateway: Gateway::Fixed(gateway) };
    Policy::new("main", vec![wan("wan1", GW1), wan("wan2", GW2)], 201)
}

fn foreign(protocol: u8, metric: u32, index: u32, gateway: Ipv4Addr) -> Route {
    let hops = vec![Hop { index, gateway: Some(gateway), onlink: false, dead: false }];
    Route { table: MAIN, destination: Ipv4Addr::UNSPECIFIED, prefix: 0, metric, protocol, tos: 0, source: None, hops }
}

#[test]
fn each_wan_has_its_table_and_all_else_follows_the_choice() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(3));
    assert_eq!(kernel.way(Some(Ipv4Addr::new(192, 168, 62, 2))), Some(4), "a probe of the other WAN leaves by it");
    assert_eq!(kernel.follow(&policy, Some(1)), 2, "a switch is one message for each of the two tables");
    assert_eq!(kernel.way(None), Some(4));
    assert_eq!(kernel.ours(MAIN), 1);
}

#[test]
fn before_the_first_choice_nothing_is_led_anywhere_but_probes() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.routes.push(foreign(4, 0, 2, Ipv4Addr::new(192, 168, 92, 254)));
    kernel.follow(&policy, None);
    assert_eq!((kernel.way(None), kernel.ours(MAIN)), (Some(2), 0));
    assert_eq!(kernel.way(Some(Ipv4Addr::new(192, 168, 42, 2))), Some(3));
}

#[test]
fn b12_b13_b15_defaults_of_others_neither_win_nor_are_touched() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    let others =
        [foreign(3, 0, 2, Ipv4Addr::new(192, 168, 92, 254)), foreign(16, 100, 4, GW2), foreign(16, 50, 3, GW1)];
    kernel.routes.extend(others.clone());
    for chosen in [0, 1, 0] {
        kernel.follow(&policy, Some(chosen));
        assert_eq!(kernel.way(None), Some([3, 4][chosen]));
    }
    assert!(others.iter().all(|r| kernel.routes.contains(r)));
    let metric = |r: Option<&Route>| r.map(|r| r.metric);
    assert_eq!(metric(policy.rival(&kernel.view())), Some(0), "it would win without the rules");
}

#[test]
fn b11_what_somebody_removed_comes_back() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    let whole = kernel.clone();
    kernel.routes.retain(|r| r.table != MAIN);
    assert_eq!(kernel.follow(&policy, Some(0)), 1);
    kernel.rules.clear();
    assert_eq!(kernel.follow(&policy, Some(0)), whole.rules.len());
}

#[test]
fn b44_after_a_kill_everything_is_adopted() {
    let (mut kernel, first) = (Kernel::new(), policy());
    kernel.follow(&first, Some(1));
    let again = policy();
    assert_eq!(again.adopted(&kernel.view()), Some(1));
    assert_eq!(kernel.follow(&again, Some(1)), 0);
}

#[test]
fn a_default_of_v2_99_is_taken_over_whatever_made_it() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.routes.push(foreign(3, 201, 4, GW2));
    assert_eq!(policy.adopted(&kernel.view()), Some(1));
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.routes.iter().filter(|r| r.table == MAIN).count(), 1);
}

#[test]
fn a_foreign_default_at_our_metric_stays_and_we_use_the_next_free_one() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    let others = [foreign(4, 201, 2, Ipv4Addr::new(192, 168, 92, 254)), foreign(4, 202, 2, GW1)];
    kernel.routes.extend(others.clone());
    kernel.follow(&policy, Some(0));
    assert!(others.iter().all(|r| kernel.routes.contains(r)));
    assert!(kernel.routes.iter().any(|r| r.is_ours() && r.table == MAIN && r.metric == 203));
    kernel.routes.retain(|r| !others.contains(r));
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.ours(MAIN), 1, "back at the configured one, and the other is gone");
}

#[test]
fn b9_a_new_address_gets_its_rule_and_the_old_one_goes() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    let new = Ipv4Addr::new(192, 168, 42, 77);
    kernel.addresses[1].address = new;
    kernel.follow(&policy, Some(0));
    let from: Vec<_> = kernel.rules.iter().filter_map(|r| r.source).collect();
    assert_eq!(from.iter().filter(|a| **a == new).count(), 1);
    assert!(!from.contains(&Ipv4Addr::new(192, 168, 42, 2)));
}

#[test]
fn b17_b18_a_wan_without_interface_or_address_has_no_road_and_takes_none_away() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    assert_eq!(policy.state(7, &kernel.view()), None);
    kernel.follow(&policy, Some(0));
    kernel.links[1].carrier = false;
    assert_eq!(policy.state(0, &kernel.view()), Some(State::NoCarrier));
    assert_eq!(kernel.follow(&policy, Some(0)), 0, "the last road stays");
    assert_eq!(kernel.way(None), Some(3));
    kernel.links[1].up = false;
    assert_eq!(policy.state(0, &kernel.view()), Some(State::Down));
    kernel.links[1].up = true;
    kernel.links[1].carrier = true;
    kernel.addresses.remove(1);
    assert_eq!(policy.state(0, &kernel.view()), Some(State::NoAddress));
    kernel.links.remove(1);
    assert_eq!(policy.state(0, &kernel.view()), Some(State::Missing));
}

#[test]
fn a_link_local_address_is_none() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.addresses[1].address = Ipv4Addr::new(169, 254, 3, 4);
    assert_eq!(policy.state(0, &kernel.view()), Some(State::NoAddress));
}

#[test]
fn an_interface_that_comes_back_under_another_number_is_followed() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    kernel.links[1].index = 9;
    kernel.addresses[1].index = 9;
    kernel.routes.retain(|r| r.hop().is_none_or(|h| h.index != 3));
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(9));
}

#[test]
fn an_automatic_gateway_is_learnt_from_whoever_set_it_and_kept_meanwhile() {
    let mut kernel = Kernel::new();
    let policy = Policy::new("main", vec![Wan { device: "wan1".into(), gateway: Gateway::Auto }], 201);
    assert_eq!(policy.state(0, &kernel.view()), Some(State::NoGateway));
    let mut dhcp = foreign(16, 1002, 3, GW1);
    dhcp.table = 77;
    kernel.routes.push(dhcp);
    kernel.follow(&policy, Some(0));
    let gateway = |kernel: &Kernel| match policy.state(0, &kernel.view()) {
        Some(State::Ready(road)) => road.gateway,
        other => panic!("{other:?}"),
    };
    assert_eq!(gateway(&kernel), Some(GW1));
    kernel.routes.retain(Route::is_ours);
    assert_eq!(gateway(&kernel), Some(GW1), "the client renews");
    let changed = Ipv4Addr::new(192, 168, 42, 254);
    kernel.routes.push(foreign(16, 1002, 3, changed));
    assert_eq!(gateway(&kernel), Some(changed));
}

#[test]
fn a_point_to_point_link_needs_no_gateway() {
    let mut kernel = Kernel::new();
    kernel.links[1].point_to_point = true;
    let policy = Policy::new("main", vec![Wan { device: "wan1".into(), gateway: Gateway::Auto }], 201);
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(3));
}

#[test]
fn a_gateway_outside_the_links_network_is_declared_to_be_on_the_link() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.addresses[1].address = Ipv4Addr::new(10, 0, 0, 2);
    kernel.follow(&policy, Some(0));
    let onlink = |index| kernel.routes.iter().filter_map(Route::hop).find(|h| h.index == index).map(|h| h.onlink);
    assert_eq!((onlink(3), onlink(4)), (Some(true), Some(false)));
}

#[test]
fn a_vpn_that_wants_everything_is_not_led_around() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    let tun = Link { index: 20, name: "tun0".into(), up: true, carrier: true, point_to_point: true };
    kernel.links.push(tun);
    kernel.routes.push(foreign(3, 50, 20, Ipv4Addr::new(10, 8, 0, 1)));
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(20));
    assert_eq!(
        kernel.way(Some(Ipv4Addr::new(192, 168, 42, 2))),
        Some(3),
        "the WANs are still probed through themselves"
    );
    kernel.routes.retain(|r| r.metric != 50);
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(3));
}

#[test]
fn two_instances_do_not_touch_what_is_the_others() {
    let mut kernel = Kernel::new();
    let one = |name: &str, device: &str, gateway, metric| {
        Policy::new(name, vec![Wan { device: device.into(), gateway: Gateway::Fixed(gateway) }], metric)
    };
    let (a, b) = (one("a", "wan1", GW1, 201), one("b", "wan2", GW2, 300));
    kernel.follow(&a, Some(0));
    kernel.follow(&b, Some(0));
    assert_eq!(kernel.follow(&a, Some(0)), 0);
    assert_eq!(kernel.way(None), Some(3), "the lower metric wins, as among routes");
    for change in a.farewell(true, &kernel.view()) {
        kernel.apply(&change);
    }
    assert_eq!(kernel.follow(&b, Some(0)), 0);
    assert_eq!(kernel.way(None), Some(4));
}

#[test]
fn at_the_end_tables_and_rules_go_and_the_default_stays_or_goes() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    let other = foreign(16, 100, 4, GW2);
    kernel.routes.push(other.clone());
    kernel.follow(&policy, Some(0));
    let mut kept = kernel.clone();
    for change in policy.farewell(false, &kernel.view()) {
        kept.apply(&change);
    }
    assert_eq!((kept.rules.len(), kept.ours(MAIN), kept.ours(policy.table())), (0, 1, 0));
    for change in policy.farewell(true, &kernel.view()) {
        kernel.apply(&change);
    }
    assert_eq!(kernel.routes, [other]);
}

/// Whatever happens, and in whatever order: what is others' is as it was, there is at most one default of ours in main,
/// and it never goes.
#[test]
fn random_weather_never_costs_the_default_nor_anything_of_others() {
    let mut random = Random(7);
    for _ in 0..300 {
        let (mut kernel, policy) = (Kernel::new(), policy());
        let mut others: Vec<Route> = Vec::new();
        let mut chosen = None;
        for _ in 0..60 {
            let wan = random.below(2) as usize;
            match random.below(8) {
                0 => kernel.links[1 + wan].carrier ^= true,
                1 => kernel.links[1 + wan].up ^= true,
                2 => {
                    kernel.addresses[1 + wan].address =
                        Ipv4Addr::new(192, 168, [42, 62][wan], 2 + random.below(50) as u8)
                }
                3 => {
                    let route = foreign(
                        16,
                        199 + random.below(5) as u32,
                        2,
                        Ipv4Addr::new(192, 168, 92, 250 + random.below(4) as u8),
                    );
                    if !kernel.routes.iter().any(|r| r.table == MAIN && r.metric == route.metric) {
                        others.push(route.clone());
                        kernel.routes.push(route);
                    }
                }
                4 => kernel.routes.retain(|r| !r.is_ours() || r.table != MAIN || random.below(2) == 0),
                5 => kernel.rules.retain(|_| random.below(2) == 0),
                _ => {
                    let ready = matches!(policy.state(wan, &kernel.view()), Some(State::Ready(_)));
                    chosen = if ready { Some(wan) } else { chosen };
                }
            }
            kernel.follow(&policy, chosen);
            assert!(others.iter().all(|r| kernel.routes.contains(r)));
            assert!(kernel.ours(MAIN) <= 1);
            if chosen.is_some_and(|w| matches!(policy.state(w, &kernel.view()), Some(State::Ready(_)))) {
                assert_eq!(kernel.ours(MAIN), 1);
                assert_eq!(kernel.way(None), Some([3, 4][chosen.unwrap_or(0)]));
            }
        }
    }
}
