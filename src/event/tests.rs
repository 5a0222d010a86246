use super::Severity::{Error, Info, Notice, Warning};
use super::*;
use crate::wire::icmp::IcmpError;

fn wan(role: Role, name: &str, device: &str) -> WanRef {
    WanRef {
        role,
        name: name.into(),
        device: device.into(),
        address: Some(Ipv4Addr::new(192, 168, 42, 2)),
    }
}

fn primary() -> WanRef {
    wan(Role::Primary, "net42", "wan1")
}

fn standby() -> WanRef {
    wan(Role::Standby, "", "wan2")
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// From 100 s on, for an hour, a minute and 2.5 s.
fn outage() -> Outage {
    Outage { began: at(100), lasted: Duration::from_millis(3_662_500) }
}

fn stats() -> Stats {
    Stats { alive: true, min: 0.142, avg: 0.255, max: 0.368, loss: 1.0 / 3.0, jitter: 0.226 }
}

fn event(what: What) -> Event {
    Event { monitor: Monitor::Failover, owner: 0, what }
}

fn lines(what: What, has_action: bool) -> Vec<(Severity, String)> {
    let mut lines = Vec::new();
    event(what).log(has_action, &mut |severity, line| lines.push((severity, line.to_string())));
    lines
}

fn said(what: What) -> Vec<(Severity, String)> {
    lines(what, false)
}

fn is(severity: Severity, line: &str) -> (Severity, String) {
    (severity, line.to_owned())
}

fn call(what: What) -> String {
    event(what)
        .action()
        .map_or_else(String::new, |call| format!("{} {}", call.name, call.args.join(" | ")))
}

/// The event as a script reads it, an hour after the beginning of the outage.
fn json(what: What) -> serde_json::Value {
    let clock = Clock { now: at(3_700), wall: Wall { secs: 1_795_330_107, nanos: 0 } };
    let text = event(what).json("main", clock, Some(IpAddr::from([1, 1, 1, 1])));
    assert!(!text.contains('\n'), "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The fields that only some events have.
fn fields(what: What) -> serde_json::Value {
    let mut all = json(what);
    let object = all.as_object_mut().unwrap();
    for name in ["schema", "event", "monitor", "instance", "time"] {
        assert!(object.remove(name).is_some(), "{name}");
    }
    if object.get("address").is_some_and(|address| address == "1.1.1.1") {
        object.remove("address");
    }
    all
}

const SINCE: &str = "2026-11-22T05:48:27.000Z";

#[test]
fn an_outage_of_an_address_and_its_end() {
    let target: Rc<str> = "1.1.1.1".into();
    let error = IcmpError { what: "host unreachable", from: [10, 0, 0, 1].into() };
    let offline = |reason| What::Offline { target: target.clone(), began: at(100), reason };
    assert_eq!(said(offline(Reason::Silent)), [is(Warning, "Monitored IP 1.1.1.1 offline")]);
    let why = Reason::Icmp(error);
    assert_eq!(
        said(offline(why.clone())),
        [
            is(Warning, &format!("Probe of 1.1.1.1: {why}")),
            is(Warning, "Monitored IP 1.1.1.1 offline")
        ]
    );
    assert_eq!(call(offline(why)), "updown-offline 1.1.1.1");
    assert_eq!(
        fields(offline(Reason::Silent)),
        serde_json::json!({"target": "1.1.1.1", "since": SINCE, "reason": "no reply"})
    );
    let online = |outage, by_dns| What::Online { target: target.clone(), outage, by_dns };
    assert_eq!(said(online(None, false)), [is(Notice, "Monitored IP 1.1.1.1 online")]);
    assert_eq!(call(online(None, true)), "", "the first one calls no script");
    assert_eq!(
        said(online(Some(outage()), true)),
        [
            is(Notice, "Monitored IP 1.1.1.1 online"),
            is(Notice, "Outage Duration: 0 days 1 hours, 1 minutes 2 seconds")
        ]
    );
    assert_eq!(call(online(Some(outage()), false)), "updown-online 1.1.1.1 | 0:1:1:2");
    assert_eq!(
        fields(online(Some(outage()), true)),
        serde_json::json!({"target": "1.1.1.1", "since": SINCE, "outage_seconds": 3662.5, "by_dns": true})
    );
    let secondary = |online| What::Secondary { target: "8.8.8.8".into(), online };
    assert_eq!(said(secondary(true)), [is(Notice, "Secondary IP 8.8.8.8 online")]);
    assert_eq!(said(secondary(false)), [is(Notice, "Secondary IP 8.8.8.8 offline")]);
    assert_eq!(call(secondary(false)), "");
}

#[test]
fn results_of_pings_go_to_the_script_where_there_is_one_and_else_to_the_log() {
    let result = |stats| What::PingResult { target: "1.1.1.1".into(), stats, reason: None };
    let text = "Ping Result: IP:1.1.1.1 State:True minrtt:0.142 avgrtt:0.255 maxrtt:0.368 loss:0.33 jitter:0.226";
    assert_eq!(lines(result(stats()), false), [is(Info, text)]);
    assert_eq!(lines(result(stats()), true), []);
    assert_eq!(call(result(stats())), "ping-result 1.1.1.1:True:0.142:0.255:0.368:0.33:0.226");
    let none = Stats { loss: 1.0, ..Stats::default() };
    assert_eq!(call(result(none)), "ping-result 1.1.1.1:False:0.0:0.0:0.0:1.0:0.0");
    assert_eq!(
        fields(result(stats())),
        serde_json::json!({
            "target": "1.1.1.1", "alive": true, "min_ms": 0.142, "avg_ms": 0.255, "max_ms": 0.368, "loss": 0.33,
            "jitter_ms": 0.226
        })
    );
    let sending = |problem| What::Sending { target: "1.1.1.1".into(), problem };
    let unknown = Reason::Unresolved("no such name".into());
    assert_eq!(said(sending(Some(unknown))), [is(Warning, "Probe of 1.1.1.1: no such name")]);
    assert_eq!(said(sending(None)), [is(Notice, "Probes of 1.1.1.1 are sent again")]);
}

#[test]
fn a_network_is_named_by_its_place_its_name_and_its_interface() {
    assert_eq!(primary().to_string(), "Primary Network net42 (wan1)");
    assert_eq!(standby().to_string(), "Standby Network 'wan2'");
    let initial = |wan, online, reason| What::WanInitial { wan, online, reason };
    assert_eq!(
        said(initial(primary(), true, None)),
        [is(Notice, "Network Failover Initial State for Primary Network net42 (wan1): online")]
    );
    assert_eq!(
        call(initial(primary(), true, None)),
        "failover-initial net42:Primary:wan1:192.168.42.2 | online"
    );
    let nowhere = WanRef { address: None, ..standby() };
    assert_eq!(
        said(initial(nowhere.clone(), false, Some("no carrier".into()))),
        [
            is(Warning, "Standby Network 'wan2': no carrier"),
            is(Warning, "Network Failover Initial State for Standby Network 'wan2': offline")
        ]
    );
    assert_eq!(
        call(initial(nowhere.clone(), false, None)),
        "failover-initial :Standby:wan2: | offline"
    );
    assert_eq!(
        fields(initial(nowhere, false, Some("no carrier".into()))),
        serde_json::json!({
            "wan": {"role": "Standby", "name": "", "interface": "wan2", "address": null}, "online": false,
            "reason": "no carrier"
        })
    );
}

#[test]
fn an_outage_of_a_network_and_its_end() {
    let offline = |quiet| What::WanOffline {
        wan: primary(),
        began: at(100),
        reason: Some("nothing answers".into()),
        quiet,
    };
    assert_eq!(
        said(offline(false)),
        [
            is(Warning, "Primary Network net42 (wan1): nothing answers"),
            is(Warning, "Primary Network net42 (wan1) is now offline")
        ]
    );
    let info = "net42:Primary:wan1:192.168.42.2";
    let online = |quiet| What::WanOnline { wan: primary(), outage: outage(), quiet };
    assert_eq!(
        said(online(false)),
        [
            is(Notice, "Primary Network net42 (wan1) is now online"),
            is(Notice, "Primary Network Outage Duration: 0 days 1 hours, 1 minutes 2 seconds")
        ]
    );
    for quiet in [false, true] {
        assert_eq!(call(offline(quiet)), format!("failover-offline {info} | nothing answers"));
        assert_eq!(call(online(quiet)), format!("failover-online {info} | 0:1:1:2"));
    }
    assert_eq!(
        (said(offline(true)), said(online(true))),
        (Vec::new(), Vec::new()),
        "a script counts them, a log not"
    );
    let wan = serde_json::json!({
        "role": "Primary", "name": "net42", "interface": "wan1", "address": "192.168.42.2"
    });
    assert_eq!(
        fields(offline(false)),
        serde_json::json!({"wan": wan, "since": SINCE, "outage_seconds": 3600.0, "reason": "nothing answers"})
    );
    assert_eq!(
        fields(online(false)),
        serde_json::json!({"wan": wan, "since": SINCE, "outage_seconds": 3662.5, "online": true})
    );
    let reminder = What::WanReminder {
        wan: primary(),
        outage: outage(),
        count: 3,
        reason: Some("no reply".into()),
    };
    assert_eq!(
        said(reminder.clone()),
        [is(
            Warning,
            "Primary Network net42 (wan1) is still offline, for 0 days 1 hours, 1 minutes 2 seconds"
        )]
    );
    assert_eq!(call(reminder.clone()), format!("failover-remind {info} | 0:1:1:2"));
    assert_eq!(
        fields(reminder),
        serde_json::json!({
            "wan": wan, "since": SINCE, "outage_seconds": 3662.5, "online": false, "count": 3, "reason": "no reply"
        })
    );
    let degraded = |how: Option<&str>| What::WanDegraded { wan: primary(), how: how.map(Rc::from) };
    assert_eq!(
        said(degraded(Some("20 of 60 probes lost"))),
        [is(Warning, "Primary Network net42 (wan1) is degraded: 20 of 60 probes lost")]
    );
    assert_eq!(
        said(degraded(None)),
        [is(Notice, "Primary Network net42 (wan1) is no longer degraded")]
    );
    assert_eq!(call(degraded(None)), "");
}

#[test]
fn changes_that_were_not_told_one_by_one_are_told_as_a_sum() {
    let changes = |wan, times, seconds, state, reason: Option<&str>| What::Changes {
        wan,
        times,
        lasted: Duration::from_secs(seconds),
        state,
        reason: reason.map(Rc::from),
    };
    assert_eq!(
        said(changes(Some(primary()), 12, 61, "offline", Some("no carrier"))),
        [is(
            Warning,
            "Primary Network net42 (wan1) changed 12 times in the last 2 min, now offline: no carrier"
        )]
    );
    assert_eq!(
        said(changes(None, 1, 60, "online", None)),
        [is(Notice, "The internet changed 1 time in the last 1 min, now online")]
    );
    assert_eq!(call(changes(None, 2, 60, "online", None)), "");
}

#[test]
fn a_switch_has_a_script_call_of_its_own_for_each_place() {
    let switched = |wan| What::Switched { wan, cause: Cause::Failed };
    assert_eq!(
        said(switched(primary())),
        [
            is(Notice, "Network Failover to Primary Network net42 (wan1)"),
            is(Notice, "Network Failover Primary Route net42 (wan1) is active")
        ]
    );
    assert_eq!(call(switched(primary())), "failover-primary net42:Primary:wan1:192.168.42.2");
    assert_eq!(call(switched(standby())), "failover-standby :Standby:wan2:192.168.42.2");
    assert_eq!(fields(switched(primary()))["cause"], "failed");
    let refused = What::Refused { wan: standby(), why: "Network is unreachable".into() };
    let text = "The default route over Standby Network 'wan2' cannot be set, tried again: Network is unreachable";
    assert_eq!((said(refused.clone()), call(refused)), (vec![is(Error, text)], String::new()));
    let postping = |online| What::Postping { wan: standby(), target: "1.1.1.1".into(), online };
    assert_eq!(
        said(postping(true)),
        [is(Notice, "Info: Standby Network Ping Target 1.1.1.1 Online After Failover")]
    );
    assert_eq!(
        said(postping(false)),
        [is(Warning, "Warn: Standby Network Ping Target 1.1.1.1 Not Responding After Failover")]
    );
    assert_eq!(call(postping(false)), "failover-postping :Standby:wan2:192.168.42.2 | offline");
    let fields = fields(postping(false));
    assert_eq!((&fields["target"], &fields["online"]), (&"1.1.1.1".into(), &false.into()));
}

#[test]
fn an_outage_of_all_networks_and_its_end() {
    let down = |quiet| What::AllDown { wans: vec![primary(), standby()], quiet };
    assert_eq!(said(down(false)), [is(Warning, "Both Primary and Standby Networks are offline")]);
    let restored = |quiet| What::Restored { wan: standby(), outage: outage(), quiet };
    assert_eq!(
        said(restored(false)),
        [is(
            Notice,
            "No network was online for 0 days 1 hours, 1 minutes 2 seconds; traffic goes over Standby Network 'wan2' now"
        )]
    );
    for quiet in [false, true] {
        let both = "failover-bothdown net42:Primary:wan1:192.168.42.2 | :Standby:wan2:192.168.42.2";
        assert_eq!(call(down(quiet)), both);
        assert_eq!(call(restored(quiet)), "failover-restored :Standby:wan2:192.168.42.2 | 0:1:1:2");
    }
    assert_eq!((said(down(true)), said(restored(true))), (Vec::new(), Vec::new()));
    assert_eq!(fields(down(false))["wans"][1]["interface"], "wan2");
    let fields = fields(restored(false));
    assert_eq!((&fields["since"], &fields["outage_seconds"]), (&SINCE.into(), &3662.5.into()));
}

#[test]
fn the_external_address_is_told_with_its_family_and_its_network_where_there_are_several() {
    let new = IpAddr::from([203, 0, 113, 2]);
    let changed = |old, wan: Option<&str>| What::ExternalChanged {
        new,
        old,
        family: Family::V4,
        wan: wan.map(Rc::from),
    };
    assert_eq!(
        said(changed(None, None)),
        [is(Notice, "External IP Address changed from unknown to 203.0.113.2")]
    );
    let old = Some(IpAddr::from([203, 0, 113, 1]));
    assert_eq!(
        said(changed(old, Some("wan1"))),
        [is(Notice, "External IP Address changed from 203.0.113.1 to 203.0.113.2 (wan1)")]
    );
    assert_eq!(call(changed(None, None)), "ddns-ip-update 203.0.113.2 | unknown");
    assert_eq!(call(changed(old, None)), "ddns-ip-update 203.0.113.2 | 203.0.113.1");
    assert_eq!(
        fields(changed(old, Some("wan1"))),
        serde_json::json!({
            "address": "203.0.113.2", "old_address": "203.0.113.1", "family": "4", "wan_interface": "wan1"
        })
    );
    let lost = |again, family| What::ExternalLost {
        again,
        why: "no source answers".into(),
        family,
        wan: None,
    };
    assert_eq!(
        said(lost(false, Family::V4)),
        [
            is(Warning, "Lookup of the external address: no source answers"),
            is(Warning, "%% Unable to obtain External IP Address")
        ]
    );
    assert_eq!(
        said(lost(true, Family::V6)),
        [is(Warning, "%% Unable to obtain External IP Address (IPv6)")]
    );
    assert_eq!(
        (call(lost(false, Family::V4)), call(lost(true, Family::V4))),
        ("ddns-no-update ".into(), String::new())
    );
    let fields = fields(lost(false, Family::V6));
    assert_eq!(
        fields,
        serde_json::json!({"reason": "no source answers", "family": "6"}),
        "and no address"
    );
    let found = |family| What::ExternalFound {
        lasted: Duration::from_secs(61),
        family,
        wan: Some("wan1".into()),
    };
    let text = |family| {
        format!(
            "External IP Address is obtained again{family} (wan1), after 0 days 0 hours, 1 minutes 1 seconds"
        )
    };
    assert_eq!(said(found(Family::V4)), [(Notice, text(""))]);
    assert_eq!(said(found(Family::V6)), [(Notice, text(" (IPv6)"))]);
    assert_eq!(event(changed(None, Some("wan1"))).external(), Some((Family::V4, Some("wan1"))));
    assert_eq!(event(lost(true, Family::V6)).external(), Some((Family::V6, None)));
    assert_eq!(event(What::Conclusion("x".into())).external(), None);
}

#[test]
fn what_v2_99_did_not_know_calls_a_script_only_on_request() {
    let all = Event::examples(at(1_000));
    for event in &all {
        let name = event.action().unwrap().name;
        let is_new = ON_REQUEST.contains(&name);
        assert_eq!(event.call(&[]).is_some(), !is_new, "{name}");
        assert_eq!(
            event.call(&["failover-remind"]).is_some(),
            !is_new || name == "failover-remind",
            "{name}"
        );
        assert_eq!(json(event.what.clone())["event"], name);
    }
    assert!(ON_REQUEST.iter().all(|name| Event::names().contains(name)));
    let names = Event::names();
    assert_eq!(names.len(), all.len());
    assert!(
        names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)),
        "each is there once: {names:?}"
    );
}

/// What scripts are tested with looks like what they will get.
#[test]
fn examples_are_plausible() {
    let now = at(1_000);
    for event in Event::examples(now) {
        match event.what {
            What::Online { outage: Some(outage), .. }
            | What::WanOnline { outage, .. }
            | What::WanReminder { outage, .. }
            | What::Restored { outage, .. } => assert_eq!(outage.began + outage.lasted, now),
            What::Offline { began, .. } | What::WanOffline { began, .. } => assert!(began < now),
            What::PingResult { stats, .. } => {
                assert!(stats.min > 0.1 && stats.max < 0.5, "{stats:?}")
            }
            _ => {}
        }
    }
}
