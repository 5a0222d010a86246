//! The ddns monitor: what it believes, what it publishes and how often, and what it remembers.

use std::time::Duration;

use imon_lab::roles::{Certificate, Dns, DnsMode, Http, HttpMode};
use imon_lab::{Lab, Proc, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{calls, recorder, said, status, wait_calls, wait_lines, wait_status};
use crate::{SOON, public_lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        the_first_address_and_a_change_word_for_word,
        b24_ten_restarts_call_nobody,
        announce_start_calls_at_each_start,
        b22_b23_no_misbehaviour_is_ever_published,
        b25_an_outage_is_told_once,
        b26_a_lookup_sends_no_ping,
        b28_with_failover_a_switch_is_confirmed_through_the_new_network,
        each_network_has_its_address,
        ipv6_beside_ipv4,
        hijacked_name_servers_are_left_out,
        a_provider_is_updated_without_a_script,
        each_code_of_dyndns2_is_obeyed,
        a_url_is_called_and_its_whole_answer_compared,
        no_secret_shows_anywhere,
        s1_a_provider_that_repeats_the_secret_in_any_spelling_shows_none_of_it,
        s1_a_short_secret_leaves_our_own_words_alone,
        secrets_that_others_may_read_are_refused,
        a_killed_imon_loses_and_repeats_nothing,
        a_damaged_state_is_set_aside,
        a_change_of_address_on_the_link_brings_a_lookup_at_once,
        double_nat_and_carrier_grade_nat_are_told,
        a_lookup_leaves_nothing_behind,
        a_new_configuration_keeps_what_is_known,
    ]
}

const PAGE: &str = "http://198.18.0.80/";

/// A lab with a provider of each kind; their answers are the truth unless a test says otherwise.
fn world() -> (Lab, Http, Dns) {
    let lab = public_lab();
    let (http, dns) = (lab.http(), lab.dns());
    lab.write("/run/lab/ca.pem", &http.authority());
    (lab, http, dns)
}

/// The section `ddns` with a page and two name servers, and what is `more`.
fn ddns(more: Value) -> Value {
    let mut ddns = json!({ "enable": true, "sources": [PAGE, "dns:opendns", "dns:google"] });
    if let (Some(all), Value::Object(more)) = (ddns.as_object_mut(), more) {
        all.extend(more);
    }
    ddns
}

fn config(lab: &Lab, more: Value) -> String {
    json!({ "global": { "action": recorder(lab) }, "ddns": ddns(more) }).to_string()
}

fn start(lab: &Lab, config: &str) -> Proc {
    lab.write("/etc/default/imon-t", config);
    lab.sh("router", "chmod 600 /etc/default/imon-t");
    lab.imon("router").args(["--instance", "t", "--nosyslog"]).spawn()
}

fn stop(imon: &Proc) {
    imon.signal(Signal::SIGTERM);
    imon.wait(SOON);
}

/// Waits until the first lookup since the start is over.
fn wait_known(lab: &Lab, imon: &Proc) -> Value {
    wait_status(lab, imon, "t", "the address is known", |s| {
        s["monitors"]["ddns"]["addresses"][0]["state"] == "known"
    })
}

/// Has it look now, and waits until something came of it.
fn look(lab: &Lab, imon: &Proc) {
    let asked = || {
        let sources = status(lab, "t")["monitors"]["ddns"]["addresses"][0]["sources"].clone();
        sources.as_array().map(|all| all.iter().map(|s| s["asked"].clone()).collect::<Vec<_>>())
    };
    let before = asked();
    imon.signal(Signal::SIGUSR1);
    lab.wait_until("a lookup is over", SOON, || asked() != before);
}

fn argv(lab: &Lab) -> Vec<Vec<String>> {
    calls(lab).into_iter().map(|c| c.argv).collect()
}

fn the_first_address_and_a_change_word_for_word() {
    let (lab, _http, _dns) = world();
    let imon = start(&lab, &config(&lab, json!({})));
    let first = wait_calls(&lab, 1);
    assert_eq!(first[0].argv, ["5", "t", "1", "ddns-ip-update", "203.0.113.1", "unknown"]);
    assert_eq!(first[0].json["address"], "203.0.113.1");
    assert_eq!(first[0].json["family"], "4");
    assert_eq!(first[0].json["old_address"], Value::Null);
    lab.public_address(Wan::One, "203.0.113.77");
    imon.signal(Signal::SIGUSR1);
    let second = wait_calls(&lab, 2);
    assert_eq!(second[1].argv, ["5", "t", "1", "ddns-ip-update", "203.0.113.77", "203.0.113.1"]);
    assert_eq!(second[1].json["old_address"], "203.0.113.1");
    imon.wait_line(|line| line.contains("from 203.0.113.1 to 203.0.113.77"), SOON);
    let lines = said(&imon);
    let wanted = [
        "[t] Start External IP Address tracking",
        "[t] External IP Address changed from unknown to 203.0.113.1",
        "[t] External IP Address changed from 203.0.113.1 to 203.0.113.77",
    ];
    let places: Vec<_> = wanted.iter().map(|w| lines.iter().position(|l| l == w)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{lines:?}");
    wait_status(&lab, &imon, "t", "it is published", |s| {
        let now = &s["monitors"]["ddns"]["addresses"][0];
        now["address"] == "203.0.113.77" && now["published"][0]["address"] == "203.0.113.77"
    });
    stop(&imon);
}

fn b24_ten_restarts_call_nobody() {
    let (lab, _http, _dns) = world();
    let config = config(&lab, json!({}));
    let imon = start(&lab, &config);
    wait_calls(&lab, 1);
    wait_known(&lab, &imon);
    stop(&imon);
    for restart in 0..10 {
        let imon = start(&lab, &config);
        wait_known(&lab, &imon);
        stop(&imon);
        assert_eq!(calls(&lab).len(), 1, "restart {restart}");
        assert!(!said(&imon).iter().any(|l| l.contains("changed")), "{:?}", said(&imon));
    }
}

fn announce_start_calls_at_each_start() {
    let (lab, _http, _dns) = world();
    let config = config(&lab, json!({ "announce": "start" }));
    for started in 1..=3 {
        let imon = start(&lab, &config);
        let calls = wait_calls(&lab, started);
        assert_eq!(calls[started - 1].argv[3..], ["ddns-ip-update", "203.0.113.1", "unknown"]);
        wait_lines(&lab, &imon, "External IP Address changed from unknown to 203.0.113.1", 1);
        stop(&imon);
    }
}

/// Each kind of answer that must not be believed, from the page, while the name servers tell the
/// truth; and then the page's truth while the name servers lie.
fn b22_b23_no_misbehaviour_is_ever_published() {
    let (lab, http, dns) = world();
    let raw = |text: &str| HttpMode::Raw(text.to_owned());
    let imon = start(&lab, &config(&lab, json!({})));
    wait_calls(&lab, 1);
    let look_at_page = |what: &str| {
        // The page has its turn at one of three lookups.
        let before = http.requests().len();
        for _ in 0..4 {
            if http.requests().len() == before {
                look(&lab, &imon);
            }
        }
        assert!(http.requests().len() > before, "the page was not asked: {what}");
    };
    for mode in [
        HttpMode::Error500,
        HttpMode::HeaderOnly,
        HttpMode::Html,
        HttpMode::Empty,
        HttpMode::V6,
        HttpMode::Drop,
        HttpMode::Redirect("http://198.18.0.81/".to_owned()),
        raw("203.0.113.9 203.0.113.8"),
        raw("203.000.113.009"),
        raw("fe80::1%x;touch${IFS}/run/lab/owned"),
        raw("$(touch /run/lab/owned)"),
        raw("10.0.0.1"),
        // A lie by one against two who tell the truth.
        raw("203.0.113.66"),
    ] {
        http.mode(&mode);
        look_at_page(&format!("{mode:?}"));
    }
    http.mode(&HttpMode::Ok);
    for mode in [
        DnsMode::Whoami([203, 0, 113, 66].into()),
        DnsMode::NxDomain,
        DnsMode::Timeout,
        DnsMode::Garbage,
    ] {
        dns.mode(&mode);
        for _ in 0..3 {
            look(&lab, &imon);
        }
    }
    assert_eq!(argv(&lab).len(), 1, "{:?}", argv(&lab));
    assert_eq!(lab.read("/run/lab/owned"), "");
    assert!(!said(&imon).iter().any(|l| l.contains("to 203.0.113.66")), "{:?}", said(&imon));
    stop(&imon);
}

fn b25_an_outage_is_told_once() {
    let (lab, http, dns) = world();
    let imon = start(&lab, &config(&lab, json!({})));
    wait_calls(&lab, 1);
    http.mode(&HttpMode::Html);
    dns.mode(&DnsMode::Refused);
    imon.signal(Signal::SIGUSR1);
    let lost = wait_calls(&lab, 2);
    assert_eq!(lost[1].argv, ["3", "t", "1", "ddns-no-update"]);
    for _ in 0..3 {
        look(&lab, &imon);
    }
    assert_eq!(
        said(&imon).iter().filter(|l| *l == "[t] %% Unable to obtain External IP Address").count(),
        1
    );
    let at = status(&lab, "t")["monitors"]["ddns"]["addresses"][0].clone();
    assert_eq!((&at["state"], &at["address"]), (&"lost".into(), &"203.0.113.1".into()));
    http.mode(&HttpMode::Ok);
    dns.mode(&DnsMode::Normal);
    imon.signal(Signal::SIGUSR1);
    wait_lines(
        &lab,
        &imon,
        "External IP Address is obtained again, after 0 days 0 hours, 0 minutes",
        1,
    );
    assert_eq!(argv(&lab).len(), 2, "the same address is no change");
    stop(&imon);
}

fn failover() -> Value {
    json!({
        "enable": true, "interval": 0.3, "pingcount": 1, "pingwait": 0.2, "prefer-primary": true, "hold-down": 0,
        "primary-if": "wan1", "primary-gw": "192.168.42.1", "standby-if": "wan2", "standby-gw": "192.168.62.1",
    })
}

fn b26_a_lookup_sends_no_ping() {
    let (lab, _http, _dns) = world();
    lab.sh(
        "router",
        "nft 'add table inet pings; add chain inet pings out { type filter hook output priority 0; }; \
         add rule inet pings out icmp type echo-request counter drop'",
    );
    let imon = start(&lab, &config(&lab, json!({ "pingcount": 2, "pingwait": 1 })));
    wait_known(&lab, &imon);
    look(&lab, &imon);
    let counted = || lab.sh("router", "nft list chain inet pings out");
    assert!(counted().contains("packets 0 bytes 0"), "{}", counted());
    stop(&imon);
    // A ping would have been counted.
    let _pings = start(&lab, r#"{"ping": {"enable": true, "monitorip": "1.1.1.1"}}"#);
    lab.wait_until("a ping is counted", SOON, || !counted().contains("packets 0 "));
}

fn b28_with_failover_a_switch_is_confirmed_through_the_new_network() {
    let (lab, _http, dns) = world();
    let config = json!({ "global": { "action": recorder(&lab) }, "ddns": ddns(json!({})), "failover": failover() });
    let imon = start(&lab, &config.to_string());
    let updates = || {
        let all = argv(&lab).into_iter().filter(|a| a[3] == "ddns-ip-update");
        all.map(|a| a[4].clone()).collect::<Vec<_>>()
    };
    lab.wait_until("the address of the primary", SOON, || updates() == ["203.0.113.1"]);
    // Nobody answers by the new way: no change is told.
    dns.mode(&DnsMode::Refused);
    lab.fault(imon_lab::Fault::Carrier(Wan::One));
    wait_lines(&lab, &imon, "Route 'wan2' is active", 1);
    wait_lines(
        &lab,
        &imon,
        "Too few sources tell the external address to believe it, 203.0.113.1 stays: ",
        1,
    );
    assert_eq!(updates(), ["203.0.113.1"]);
    dns.mode(&DnsMode::Normal);
    imon.signal(Signal::SIGUSR1);
    lab.wait_until("the address of the standby", SOON, || {
        updates() == ["203.0.113.1", "198.51.100.1"]
    });
    lab.heal(imon_lab::Fault::Carrier(Wan::One));
    lab.wait_until("the address of the primary again", SOON, || {
        updates().len() == 3 && updates()[2] == "203.0.113.1"
    });
    assert!(argv(&lab).iter().all(|a| a[3] != "ddns-no-update"), "{:?}", said(&imon));
    stop(&imon);
}

fn each_network_has_its_address() {
    let (lab, _http, _dns) = world();
    let config = json!({
        "global": { "action": recorder(&lab) }, "ddns": ddns(json!({ "per-wan": true })), "failover": failover(),
    });
    let imon = start(&lab, &config.to_string());
    let mut updates = Vec::new();
    lab.wait_until("an address of each", SOON, || {
        updates = calls(&lab).into_iter().filter(|c| c.argv[3] == "ddns-ip-update").collect();
        updates.len() >= 2
    });
    let mut told: Vec<_> =
        updates.iter().map(|c| (c.json["wan_interface"].clone(), c.argv[4].clone())).collect();
    told.sort_by_key(|(wan, _)| wan.to_string());
    assert_eq!(
        told,
        [("wan1".into(), "203.0.113.1".to_owned()), ("wan2".into(), "198.51.100.1".to_owned())]
    );
    wait_lines(&lab, &imon, "External IP Address changed from unknown to 198.51.100.1 (wan2)", 1);
    stop(&imon);
}

fn ipv6_beside_ipv4() {
    let (lab, _http, _dns) = world();
    lab.script("/run/lab/env", "#!/bin/sh\necho \"$IMON_FAMILY $4 $5\" >>/run/lab/told\n");
    let sources = json!(["http://six.test/", "http://198.18.0.80/", "dns:opendns", "dns:google"]);
    let config = json!({
        "global": { "action": "/run/lab/env" },
        "ddns": { "enable": true, "families": ["4", "6"], "sources": sources },
    });
    let imon = start(&lab, &config.to_string());
    lab.wait_until("both are told", SOON, || lab.read("/run/lab/told").lines().count() == 2);
    let mut told: Vec<String> = lab.read("/run/lab/told").lines().map(str::to_owned).collect();
    told.sort();
    assert_eq!(told, ["4 203.0.113.1 unknown", "6 2001:db8:42::2 unknown"]);
    stop(&imon);
}

fn hijacked_name_servers_are_left_out() {
    let (lab, http, dns) = world();
    let sources =
        json!(["https://198.18.0.80/", "dns:opendns", "https://198.18.0.81/", "dns:google"]);
    let config = config(&lab, json!({ "sources": sources, "ca-file": "/run/lab/ca.pem" }));
    dns.mode(&DnsMode::Whoami([203, 0, 113, 66].into()));
    let imon = start(&lab, &config);
    let first = wait_calls(&lab, 1);
    assert_eq!(first[0].argv[4], "203.0.113.1");
    wait_lines(
        &lab,
        &imon,
        "says 203.0.113.66, HTTPS has shown 203.0.113.1: somebody on the way answers DNS queries",
        1,
    );
    let at = wait_known(&lab, &imon)["monitors"]["ddns"]["addresses"][0].clone();
    assert_eq!(at["sources"][1]["left_out"], "hijacked");
    // Without DNS one of two pages lies: nothing changes, and it is told who said what.
    http.mode_of("198.18.0.81", &HttpMode::Raw("203.0.113.66".to_owned()));
    dns.mode(&DnsMode::Refused);
    for _ in 0..4 {
        if !said(&imon).iter().any(|l| l.contains("do not agree, 203.0.113.1 stays: ")) {
            look(&lab, &imon);
        }
    }
    wait_lines(&lab, &imon, "do not agree, 203.0.113.1 stays: ", 1);
    assert_eq!(argv(&lab).len(), 1);
    http.certificate(Certificate::Expired);
    stop(&imon);
}

/// The requests of updates that arrived at a server, as path and `Authorization`.
fn updates(http: &Http, server: &str) -> Vec<(String, String)> {
    let requests = http.requests().into_iter().filter(|r| r.server.to_string() == server);
    requests
        .map(|r| {
            let path = r.head[0].split(' ').nth(1).unwrap_or_default().to_owned();
            let user = r
                .head
                .iter()
                .find_map(|l| l.strip_prefix("authorization: "))
                .unwrap_or_default()
                .to_owned();
            (path, user)
        })
        .collect()
}

fn dyndns2(more: Value) -> Value {
    let mut update = json!({
        "type": "dyndns2", "server": "https://198.18.0.82", "hostname": ["a.example.org", "b.example.org"],
        "username": "me", "password-file": "/run/lab/password",
    });
    if let (Some(all), Value::Object(more)) = (update.as_object_mut(), more) {
        all.extend(more);
    }
    json!({ "update": [update], "ca-file": "/run/lab/ca.pem" })
}

fn password(lab: &Lab) {
    lab.write("/run/lab/password", "s3cr:et\n");
    lab.sh("router", "chmod 600 /run/lab/password");
}

fn a_provider_is_updated_without_a_script() {
    let (lab, http, _dns) = world();
    password(&lab);
    http.mode_of("198.18.0.82", &HttpMode::Raw("good 203.0.113.1\n".to_owned()));
    let config = json!({ "ddns": ddns(dyndns2(json!({}))) }).to_string();
    let imon = start(&lab, &config);
    wait_lines(&lab, &imon, "example.org at 198.18.0.82: 203.0.113.1 is published", 2);
    let asked = updates(&http, "198.18.0.82");
    // base64 of me:s3cr:et
    let login = "Basic bWU6czNjcjpldA==".to_owned();
    let path = |host: &str| format!("/nic/update?hostname={host}.example.org&myip=203.0.113.1");
    let mut sorted = asked.clone();
    sorted.sort();
    assert_eq!(sorted, [(path("a"), login.clone()), (path("b"), login)]);
    assert!(
        http.requests().iter().filter(|r| r.server.to_string() == "198.18.0.82").all(|r| r.secure)
    );
    stop(&imon);
    // It is known across restarts.
    let imon = start(&lab, &config);
    wait_known(&lab, &imon);
    stop(&imon);
    assert_eq!(updates(&http, "198.18.0.82").len(), 2);
}

fn each_code_of_dyndns2_is_obeyed() {
    let (lab, http, _dns) = world();
    password(&lab);
    let config =
        json!({ "ddns": ddns(dyndns2(json!({ "hostname": "a.example.org" }))) }).to_string();
    for (body, status, what) in [
        ("good", 200, "is published"),
        ("nochg 203.0.113.1", 200, "is published"),
        ("nochg", 500, "is published"),
        ("badauth", 401, "not tried again until its configuration changes: badauth"),
        ("!donator", 200, "not tried again until its configuration changes: !donator"),
        ("notfqdn", 200, "not tried again until its configuration changes: notfqdn"),
        ("nohost", 200, "not tried again until its configuration changes: nohost"),
        ("numhost", 200, "not tried again until its configuration changes: numhost"),
        ("abuse", 200, "not tried again until its configuration changes: abuse"),
        ("badagent", 200, "not tried again until its configuration changes: badagent"),
        ("!yours", 200, "not tried again until its configuration changes: !yours"),
        ("badsys", 200, "not tried again until its configuration changes: badsys"),
        ("good 127.0.0.1", 200, "not tried again until its configuration changes: good"),
        ("911", 200, "tried again in 30 min: 911"),
        ("dnserr", 200, "tried again in 30 min: dnserr"),
        ("goodbye", 200, "tried again in 1 min: no answer of the protocol"),
        ("", 200, "tried again in 1 min: no answer of the protocol"),
    ] {
        lab.sh("router", "rm -f /var/lib/imon/*");
        http.mode_of("198.18.0.82", &HttpMode::Reply(status, body.to_owned()));
        let before = updates(&http, "198.18.0.82").len();
        let imon = start(&lab, &config);
        wait_lines(&lab, &imon, what, 1);
        stop(&imon);
        // A restart does not shorten any wait, nor does it repeat what is done.
        let imon = start(&lab, &config);
        wait_known(&lab, &imon);
        stop(&imon);
        assert_eq!(updates(&http, "198.18.0.82").len(), before + 1, "{body}");
    }
    // A new password is another configuration.
    lab.sh("router", "rm -f /var/lib/imon/*");
    http.mode_of("198.18.0.82", &HttpMode::Raw("badauth".to_owned()));
    let imon = start(&lab, &config);
    wait_lines(&lab, &imon, "badauth", 1);
    http.mode_of("198.18.0.82", &HttpMode::Raw("good".to_owned()));
    lab.write("/run/lab/password", "the right one\n");
    imon.signal(Signal::SIGHUP);
    wait_lines(&lab, &imon, "is published", 1);
    stop(&imon);
}

fn a_url_is_called_and_its_whole_answer_compared() {
    let (lab, http, _dns) = world();
    let update = json!({
        "type": "url", "url": "https://198.18.0.83/update?domains=x&token={secret}&ip={ip}", "secret": "a&b c",
        "ok": "OK",
    });
    let config =
        json!({ "ddns": ddns(json!({ "update": [update], "ca-file": "/run/lab/ca.pem" })) })
            .to_string();
    http.mode_of("198.18.0.83", &HttpMode::Raw("KO a&b c".to_owned()));
    let imon = start(&lab, &config);
    wait_lines(
        &lab,
        &imon,
        "Update of 198.18.0.83 failed, tried again in 1 min: the answer is not the one that is configured: 'KO ***'",
        1,
    );
    http.mode_of("198.18.0.83", &HttpMode::Raw(" OK\n".to_owned()));
    imon.signal(Signal::SIGUSR1);
    wait_lines(&lab, &imon, "Update of 198.18.0.83: 203.0.113.1 is published", 1);
    let paths: Vec<String> =
        updates(&http, "198.18.0.83").into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/update?domains=x&token=a%26b%20c&ip=203.0.113.1"; 2]);
    stop(&imon);
}

fn no_secret_shows_anywhere() {
    let (lab, http, _dns) = world();
    password(&lab);
    let url = json!({
        "type": "url", "url": "https://198.18.0.83/u?token={secret}&ip={ip}", "secret": "t0ken+x", "ok": "OK",
    });
    let mut update = dyndns2(json!({ "password-file": "/run/lab/password" }))["update"].clone();
    update.as_array_mut().unwrap().push(url);
    // Providers that repeat everything they were told.
    http.mode_of(
        "198.18.0.82",
        &HttpMode::After(
            Duration::from_secs(2),
            Box::new(HttpMode::Raw("s3cr:et is wrong".to_owned())),
        ),
    );
    http.mode_of("198.18.0.83", &HttpMode::Raw("unknown token t0ken+x t0ken%2Bx".to_owned()));
    let config = json!({
        "global": { "action": recorder(&lab) }, "ddns": ddns(json!({ "update": update, "ca-file": "/run/lab/ca.pem" })),
    });
    lab.script("/run/lab/action", "#!/bin/sh\nenv >>/run/lab/env\nps ax >>/run/lab/ps 2>/dev/null\ncat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>/run/lab/ps\n");
    let imon = start(&lab, &config.to_string());
    wait_lines(&lab, &imon, "tried again in 1 min", 3);
    stop(&imon);
    let all = [
        said(&imon).join("\n"),
        lab.read("/run/lab/env"),
        lab.read("/run/lab/ps"),
        lab.sh("router", "cat /var/lib/imon/*"),
    ];
    for secret in ["s3cr:et", "t0ken+x", "t0ken%2Bx", "bWU6czNjcjpldA"] {
        for text in &all {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    assert!(all[0].contains("'secret': '***'"), "{}", all[0]);
}

/// Updates by URL, one for each answer, with this secret; what was said of them, and everything
/// that was written.
fn answered(secret: &str, url: &str, answers: &[HttpMode]) -> (Vec<String>, Vec<String>) {
    let (lab, http, _dns) = world();
    let update = |n: usize| {
        let url = format!("https://198.18.0.83/{n}?{url}&ip={{ip}}");
        if url.contains("{secret}") {
            json!({ "type": "url", "url": url, "secret": secret, "ok": "OK" })
        } else {
            json!({ "type": "url", "url": url, "ok": "OK" })
        }
    };
    let updates: Vec<Value> = (0..answers.len()).map(update).collect();
    http.mode_of("198.18.0.83", &HttpMode::Sequence(answers.to_vec()));
    let config = json!({
        "global": { "action": recorder(&lab), "loglevel": "debug" },
        "ddns": ddns(json!({ "update": updates, "ca-file": "/run/lab/ca.pem" })),
    });
    let imon = start(&lab, &config.to_string());
    let lines = wait_lines(&lab, &imon, "tried again in 1 min", answers.len());
    wait_calls(&lab, 1);
    let printed = lab.imon("router").args(["configure", "--instance", "t", "--print"]).run(SOON);
    let status = wait_known(&lab, &imon).to_string();
    stop(&imon);
    let files = lab.sh("router", "cat /var/lib/imon/* /run/imon/*; cat /run/lab/calls");
    (lines, vec![said(&imon).join("\n"), status, files, printed.stdout() + &printed.stderr()])
}

/// The answer's body, its status line, a header that is none, the target of a redirect, a chunk's
/// length, each with the secret, at the place where a text would be cut as well.
fn s1_a_provider_that_repeats_the_secret_in_any_spelling_shows_none_of_it() {
    let secret = "Kq7+x&Y=2/zM%41\"wV";
    let query = "Kq7%2Bx%26Y%3D2%2FzM%2541%22wV";
    let raw = |text: &str| HttpMode::Raw(text.to_owned());
    let bytes = |text: &str| HttpMode::Bytes(text.to_owned());
    let answers = [
        raw(&format!("{}{secret}", "-".repeat(36))),
        raw(&format!(
            "{{\"unknown token\": \"{}\"}}",
            secret.replace('"', "\\\"").replace('/', "\\/")
        )),
        raw(&query.to_ascii_lowercase()),
        raw(&query.replace('%', "%25")),
        raw(&secret.to_ascii_uppercase()),
        raw("<b>Kq7+x&amp;Y=2/zM%41&quot;wV</b>"),
        raw("S3E3K3gmWT0yL3pNJTQxIndW aW1lOktxNyt4Jlk9Mi96TSU0MSJ3Vg=="),
        raw("4b71372b7826593d322f7a4d253431227756"),
        raw("K q 7 + x & Y = 2 / z M % 4 1"),
        raw(&secret[..13]),
        HttpMode::Reply(403, secret.to_owned()),
        HttpMode::Redirect(format!("https://198.18.0.82/{query}")),
        bytes(&format!("HTTP/1.1 {secret}\r\n\r\n")),
        bytes(&format!("HTTP/1.1 200 OK\r\n{secret}\r\n\r\n")),
        bytes(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n")),
        bytes(&format!("HTTP/1.1 200 OK\r\nContent-Length: {secret}\r\n\r\n")),
    ];
    let (lines, all) = answered(secret, "token={secret}", &answers);
    assert_eq!(lines.iter().filter(|l| l.contains("***")).count(), 11, "{lines:#?}");
    for piece in [
        "Kq7", "kq7", "KQ7", "x&Y", "X&Y", "2/zM", "x%26Y", "x%26y", "S3E3", "LOktx", "4b7137",
        "q 7",
    ] {
        for text in &all {
            assert!(!text.contains(piece), "{piece}: {text}");
        }
    }
    // A token that was written into the URL as it is.
    let (lines, all) = answered("", "id=me&token=abcdefgh", &[raw("no such token: ABCDEFGH")]);
    assert!(lines[0].contains(": 'no such token: ***'"), "{lines:?}");
    assert!(all.iter().all(|text| !text.to_ascii_lowercase().contains("abcdefgh")), "{all:?}");
}

fn s1_a_short_secret_leaves_our_own_words_alone() {
    let raw = |text: &str| HttpMode::Raw(text.to_owned());
    let answers =
        [raw("an answer"), HttpMode::Reply(500, "no".to_owned()), HttpMode::Drop, raw("KO")];
    let (lines, _) = answered("a", "token={secret}", &answers);
    for why in [
        "the answer is not the one that is configured: (not shown: it may contain the secret)",
        "the answer has HTTP status 500: 'no'",
        "the connection was closed without an answer",
        "the answer is not the one that is configured: 'KO'",
    ] {
        assert!(lines.iter().any(|l| l.contains(why)), "{why}: {lines:#?}");
    }
    assert!(lines.iter().all(|l| !l.contains("***")), "{lines:#?}");
}

fn secrets_that_others_may_read_are_refused() {
    let (lab, _http, _dns) = world();
    password(&lab);
    let check = |config: &Value, mode: &str| {
        lab.write("/etc/default/imon-t", &config.to_string());
        lab.sh("router", &format!("chmod {mode} /etc/default/imon-t"));
        lab.imon("router").args(["check-config", "--instance", "t"]).run(SOON)
    };
    let given = json!({ "ddns": ddns(dyndns2(json!({ "password": "x" }))) });
    let mut given = given;
    given["ddns"]["update"][0].as_object_mut().unwrap().remove("password-file");
    let refused = check(&given, "644");
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr().contains("everybody may read it: use 'chmod 600 /etc/default/imon-t'"),
        "{}",
        refused.stderr()
    );
    assert_eq!(check(&given, "600").code(), 0);
    let file = json!({ "ddns": ddns(dyndns2(json!({}))) });
    assert_eq!(check(&file, "644").code(), 0);
    lab.sh("router", "chmod 644 /run/lab/password");
    let refused = check(&file, "644");
    assert!(
        refused.stderr().contains("everybody may read the secret in /run/lab/password"),
        "{}",
        refused.stderr()
    );
    lab.sh("router", "chmod 600 /run/lab/password; : >/run/lab/password");
    assert!(check(&file, "644").stderr().contains("the secret in /run/lab/password is empty"));
    for (more, why) in [
        (json!({ "server": "http://198.18.0.82" }), "use https://, or set insecure to true"),
        (json!({ "password": "x" }), "only one can be given"),
        (json!({ "hostname": "" }), "hostname is missing"),
        (json!({ "type": "dyndns3" }), "type is dyndns2 or url"),
        (json!({ "username": 5 }), "username is not text"),
        (json!({ "wan": "wan1" }), "per-wan is not true"),
    ] {
        let bad = check(&json!({ "ddns": ddns(dyndns2(more.clone())) }), "600");
        assert_eq!(bad.code(), 1, "{more}");
        assert!(bad.stderr().contains(why), "{more}: {}", bad.stderr());
    }
}

/// Killed while a provider thinks, while a script runs, and right after each: whoever was told is
/// not told again, and whoever was not, is.
fn a_killed_imon_loses_and_repeats_nothing() {
    let (lab, http, _dns) = world();
    password(&lab);
    lab.script(
        "/run/lab/slow",
        "#!/bin/sh\necho began >>/run/lab/script\nsleep 2\necho \"$3 $4\" >>/run/lab/script\n",
    );
    let config = json!({
        "global": { "action": "/run/lab/slow" }, "ddns": ddns(dyndns2(json!({ "hostname": "a.example.org" }))),
    });
    let slow = |answer: &str| {
        HttpMode::After(Duration::from_secs(2), Box::new(HttpMode::Raw(answer.to_owned())))
    };
    http.mode_of("198.18.0.82", &slow("good"));
    for milliseconds in [0, 300, 1700, 2300] {
        lab.sh("router", "rm -f /var/lib/imon/* /run/lab/script");
        let before = updates(&http, "198.18.0.82").len();
        let imon = start(&lab, &config.to_string());
        lab.wait_until("both have begun", SOON, || {
            updates(&http, "198.18.0.82").len() == before + 1
                && lab.read("/run/lab/script").contains("began")
        });
        lab.sh("router", &format!("sleep {}", f64::from(milliseconds) / 1000.0));
        imon.signal(Signal::SIGKILL);
        imon.wait(SOON);
        let imon = start(&lab, &config.to_string());
        lab.wait_until("everybody is told", SOON, || {
            let at = status(&lab, "t")["monitors"]["ddns"]["addresses"][0]["published"].clone();
            at.as_array().is_some_and(|all| {
                all.len() == 2 && all.iter().all(|s| s["address"] == "203.0.113.1")
            })
        });
        assert_eq!(
            updates(&http, "198.18.0.82").len(),
            before + 1,
            "killed after {milliseconds} ms"
        );
        assert_eq!(
            lab.read("/run/lab/script"),
            "began\nddns-ip-update 203.0.113.1\n",
            "killed after {milliseconds} ms"
        );
        stop(&imon);
        let left = lab.sh("router", "ls -A /var/lib/imon");
        assert_eq!(left.trim(), "t.ddns.json", "nothing else is left");
    }
}

fn a_damaged_state_is_set_aside() {
    let (lab, _http, _dns) = world();
    let config = config(&lab, json!({}));
    lab.write("/var/lib/imon/t.ddns.json", "{\"schema\":1,\"wri");
    let imon = start(&lab, &config);
    wait_lines(
        &lab,
        &imon,
        "t.ddns.json is not used: it is damaged. It is kept as /var/lib/imon/t.ddns.json.damaged",
        1,
    );
    wait_calls(&lab, 1);
    wait_known(&lab, &imon);
    stop(&imon);
    let text = lab.read("/var/lib/imon/t.ddns.json");
    let mut saved: Value = serde_json::from_str(&text).unwrap();
    saved["written"] = json!(saved["written"].as_i64().unwrap() + 10 * 86_400);
    lab.write("/var/lib/imon/t.ddns.json", &saved.to_string());
    let imon = start(&lab, &config);
    wait_lines(&lab, &imon, "t.ddns.json is not used: it is from the future", 1);
    wait_calls(&lab, 2);
    stop(&imon);
    assert_eq!(lab.sh("router", "stat -c %a /var/lib/imon/t.ddns.json"), "600");
}

fn a_change_of_address_on_the_link_brings_a_lookup_at_once() {
    let (lab, _http, _dns) = world();
    let imon = start(&lab, &config(&lab, json!({ "interval": 3600 })));
    wait_calls(&lab, 1);
    lab.public_address(Wan::One, "203.0.113.78");
    lab.renumber(Wan::One, 3);
    lab.sh("router", "ip route replace default via 192.168.42.1");
    let told = wait_calls(&lab, 2);
    assert_eq!(told[1].argv[4], "203.0.113.78");
    stop(&imon);
}

fn double_nat_and_carrier_grade_nat_are_told() {
    let (lab, _http, _dns) = world();
    let imon = start(&lab, &config(&lab, json!({})));
    wait_lines(
        &lab,
        &imon,
        "This system's address is 192.168.42.2, the internet sees 203.0.113.1: another router translates",
        1,
    );
    assert_eq!(wait_known(&lab, &imon)["monitors"]["ddns"]["addresses"][0]["nat"], "double");
    lab.sh("isp1", "ip addr add 100.64.0.1/24 dev cust");
    lab.sh("router", "ip addr add 100.64.0.2/24 dev wan1; ip route replace default via 100.64.0.1 src 100.64.0.2");
    wait_lines(
        &lab,
        &imon,
        "is 100.64.0.2: the provider translates addresses (carrier-grade NAT)",
        1,
    );
    stop(&imon);
    assert_eq!(said(&imon).iter().filter(|l| l.contains("NAT")).count(), 2, "once per change");
}

/// The daemon's memory, processes and descriptors after twenty lookups are those after one.
fn a_lookup_leaves_nothing_behind() {
    let (lab, _http, _dns) = world();
    let sources = json!(["https://198.18.0.80/", "dns:opendns", "https://198.18.0.81/"]);
    let imon =
        start(&lab, &config(&lab, json!({ "sources": sources, "ca-file": "/run/lab/ca.pem" })));
    wait_calls(&lab, 1);
    wait_known(&lab, &imon);
    let anonymous = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", imon.pid())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap().to_owned();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", imon.pid())).unwrap().count();
    // A lookup is over when its worker, and the writer of the status, have gone.
    let rest = || {
        lab.wait_until("no worker and no writer is left", SOON, || {
            imon_lab::children(imon.pid()).is_empty()
        });
    };
    (0..3).for_each(|_| look(&lab, &imon));
    rest();
    let (memory, open) = (anonymous(), descriptors());
    (0..12).for_each(|_| look(&lab, &imon));
    rest();
    assert!(anonymous() <= memory + 64, "{memory} KiB became {} KiB", anonymous());
    lab.wait_until("no more descriptors are open than before", SOON, || descriptors() <= open);
    stop(&imon);
}

fn a_new_configuration_keeps_what_is_known() {
    let (lab, _http, _dns) = world();
    let imon = start(&lab, &config(&lab, json!({})));
    wait_calls(&lab, 1);
    wait_known(&lab, &imon);
    let reload = |more: Value, times: usize| {
        lab.write("/etc/default/imon-t", &config(&lab, more));
        imon.signal(Signal::SIGHUP);
        wait_lines(&lab, &imon, "Reloaded", times);
        wait_known(&lab, &imon);
    };
    reload(json!({ "sources": ["dns:google", PAGE] }), 1);
    reload(json!({ "interval": 600 }), 2);
    assert_eq!(argv(&lab).len(), 1);
    lab.write(
        "/etc/default/imon-t",
        &json!({ "ddns": { "enable": true, "sources": ["nonsense"] } }).to_string(),
    );
    imon.signal(Signal::SIGHUP);
    wait_lines(&lab, &imon, "is not taken over, the old configuration goes on", 1);
    stop(&imon);
}
