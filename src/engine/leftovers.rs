//! What a killed imon has left in the kernel, of whatever instance, metric or version: rules and
//! routes that bear imon's mark, and that no imon that runs looks after. They would lead traffic as
//! they did, for ever.

use super::world::Living;
use crate::kernel::{Change, MAIN, PROTOCOL, Picture, Rule};
use crate::routing::{TABLES, TABLES_EACH};

/// What has to go, in this order. `base`: the first of our own tables.
pub(super) fn changes(picture: &Picture, base: u32, living: &[Living]) -> Vec<Change> {
    // Whose tables are not known may have any.
    if living.iter().any(|(_, base)| base.is_none()) {
        return Vec::new();
    }
    let lives =
        |theirs: u32| theirs == base || living.iter().any(|(_, base)| *base == Some(theirs));
    let low = |table: u32| table & 0xffff;
    let abandoned = |rule: &&Rule| {
        rule.protocol == PROTOCOL
            && match (rule.table, rule.source) {
                // The look into main or a table of others names its instance in a source that
                // nobody has. 3.0.0's named none.
                (_, Some(source)) if rule.inverted => {
                    let named = low(u32::from(source));
                    low(base) != named
                        && !living
                            .iter()
                            .any(|(_, base)| base.is_some_and(|base| low(base) == named))
                }
                (MAIN, None) => rule.suppress.is_some(),
                (table, _) => first_of(table).is_some_and(|first| !lives(first)),
            }
    };
    let rules = picture.rules.iter().rev().filter(abandoned).cloned().map(Change::RemoveRule);
    let routes = picture
        .routes
        .iter()
        .filter(|r| r.is_ours() && first_of(r.table).is_some_and(|first| !lives(first)));
    rules.chain(routes.cloned().map(Change::RemoveRoute)).collect()
}

/// The first table of the instance that a table belongs to; `None`: it is none of an imon's.
fn first_of(table: u32) -> Option<u32> {
    Some(table - table.checked_sub(TABLES)? % TABLES_EACH)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::kernel::Route;
    use crate::routing::{GatewaySource, Policy, RoutingView, Uplink};

    /// Two instances' rules and routes in one picture, and the first table of each.
    fn left() -> (Picture, u32, u32) {
        let mut picture = Picture::default();
        let wan = |device: &str, last| Uplink {
            device: device.into(),
            gateway: GatewaySource::Fixed(Ipv4Addr::new(192, 168, last, 1)),
            targets: Vec::new(),
            remembered: None,
        };
        for (index, device, net) in [(3, "wan1", 42), (4, "wan2", 62)] {
            let (up, carrier) = (true, true);
            picture.links.push(crate::kernel::Link {
                index,
                name: device.into(),
                up,
                carrier,
                ..Default::default()
            });
            let address = Ipv4Addr::new(192, 168, net, 2);
            let (peer, prefix, local, secondary) = (None, 24, false, false);
            picture.addresses.push(crate::kernel::Address {
                index,
                address,
                peer,
                prefix,
                local,
                secondary,
            });
        }
        let policies = [
            Policy::new("a", vec![wan("wan1", 42)], 201),
            Policy::new("b", vec![wan("wan2", 62)], 202),
        ];
        for policy in &policies {
            for change in policy.changes(Some(0), &RoutingView::from(&picture)) {
                picture.made(&change);
            }
        }
        (picture, policies[0].table(), policies[1].table())
    }

    fn cleared(mut picture: Picture, base: u32, living: &[Living]) -> Picture {
        for change in changes(&picture, base, living) {
            picture.made(&change);
        }
        picture
    }

    #[test]
    fn v6_what_a_killed_instance_left_goes_and_what_a_living_one_has_stays() {
        let (picture, a, b) = left();
        let mine = |p: &Picture, first: u32| {
            let routes = p.routes.iter().filter(|r| first_of(r.table) == Some(first)).count();
            routes + p.rules.iter().filter(|r| first_of(r.table) == Some(first)).count()
        };
        assert!(
            mine(&picture, a) == 6 && mine(&picture, b) == 6,
            "{} {}",
            mine(&picture, a),
            mine(&picture, b)
        );
        let alone = cleared(picture.clone(), b, &[]);
        assert_eq!((mine(&alone, a), mine(&alone, b)), (0, 6));
        assert_eq!(
            alone.rules.iter().filter(|r| r.table == MAIN).count(),
            1,
            "of the two looks into main one"
        );
        let both = cleared(picture.clone(), b, &[("wan1".into(), Some(a))]);
        assert_eq!(both, picture);
        let unknown = cleared(picture.clone(), b, &[("wan9".into(), None)]);
        assert_eq!(unknown, picture, "an older version runs, whose tables nobody knows");
        assert!(
            alone.routes.iter().filter(|r| r.table == MAIN).all(Route::is_ours),
            "defaults in main are kept"
        );
    }

    #[test]
    fn v6_rules_of_3_0_0_go_as_well() {
        let (mut picture, _, b) = left();
        let rule = |priority, table, suppress| Rule {
            priority,
            table,
            protocol: PROTOCOL,
            suppress,
            ..Rule::default()
        };
        let old = [rule(22_010, MAIN, Some(0)), rule(22_019, TABLES + 4_710, None)];
        picture.rules.extend(old.clone());
        let foreign = Rule { protocol: 3, ..rule(100, TABLES + 4_710, None) };
        picture.rules.push(foreign.clone());
        let after = cleared(picture, b, &[]);
        assert!(!after.rules.iter().any(|r| old.contains(r)) && after.rules.contains(&foreign));
    }
}
