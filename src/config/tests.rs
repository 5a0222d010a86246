//! Whole files: the README's sample, the faults of V2.99, and many thousand damaged ones.

use super::*;
use crate::monitor::ddns::update::Secret;

const FILE: &str = "/etc/default/imon-main";
const SAMPLE: &str = include_str!("../../tests/data/readme-sample.json");

/// A file with all monitors on, in which any change of a byte matters.
const FULL: &str = r##"# all on
{
    "global": {"action": "/usr/local/bin/imon-action", "action-timeout": 30, "instance": "net 1; $(id)",
        "note": "https://u:hunter2@h/?k=hunter2", "password": "hunter2"},
    "ddns": {"enable": "Y", "interval": "300"},
    # the line
    "updown": {"enable": true, "interval": 10.0, "pingcount": 2, "pingwait": 0.5, "monitorip": "1.1.1.1",
        "addping": "192.168.92.1, 192.168.1.1", "dnsserver": "8.8.8.8", "dnslookup": "microsoft.com", "fall": 2},
    "failover": {"enable": 1, "primary-if": "wan1", "primary-gw": "192.168.42.1", "standby-if": "wan2",
        "standby-gw": "192.168.62.1", "prefer-primary": "yes", "metric": "201"},
    "ping": {"enable": true, "interval": 0.1, "monitorip": ["1.1.1.1", "2606:4700::1111", "one.example"]}
}
"##;

fn parse_text(text: &str) -> ParsedFile {
    parse(FILE, text.as_bytes(), &Overrides::default())
}

/// The settings of a file about which there is nothing to say.
fn good(text: &str) -> Config {
    let parsed = parse_text(text);
    assert_eq!((lines(&parsed.errors), lines(&parsed.warnings)), (vec![], vec![]));
    parsed.config.unwrap()
}

fn errors(text: &str) -> Vec<String> {
    let parsed = parse_text(text);
    assert!(parsed.config.is_none());
    lines(&parsed.errors)
}

/// The warnings about a file that is used.
fn warnings(text: &str) -> Vec<String> {
    let parsed = parse_text(text);
    assert_eq!(lines(&parsed.errors), Vec::<String>::new());
    assert!(parsed.config.is_some());
    lines(&parsed.warnings)
}

/// Without what only the build without TLS says about the external address.
fn lines(problems: &[ConfigProblem]) -> Vec<String> {
    let said = |line: &String| cfg!(feature = "tls") || !line.contains("both can be forged");
    problems.iter().map(ToString::to_string).filter(said).collect()
}

/// An updown section with further keys.
fn updown(keys: &str) -> String {
    format!("{{\"updown\": {{\n\"enable\": true, \"monitorip\": \"1.1.1.1\",\n{keys}}}}}")
}

#[test]
fn the_annotated_sample_of_the_readme_loads_as_printed() {
    let config = good(&SAMPLE.replace("\"dnsserver\": \"1.1.1.1\"", "\"dnsserver\": \"8.8.8.8\""));
    assert_eq!(parse_text(SAMPLE).config.unwrap().monitors(), 1);
    let updown = config.updown.unwrap();
    assert_eq!(
        updown.timing,
        Timing {
            interval: Duration::from_secs(10),
            pingcount: 2,
            pingwait: Duration::from_secs(1)
        }
    );
    assert_eq!(updown.target.to_string(), "1.1.1.1");
    assert_eq!(updown.addping, ["192.168.92.1", "192.168.1.1"].map(|h| Host::parse(h).unwrap()));
    let dns = updown.dns.unwrap();
    assert_eq!((dns.server.to_string().as_str(), dns.name.as_str()), ("8.8.8.8", "google.com"));
    assert_eq!((updown.fall, updown.rise), (1, 1));
    assert_eq!((config.ping, config.ddns, config.failover), (None, None, None));
    let global = config.global;
    assert_eq!(global.datefmt, "%Y-%m-%d %H:%M:%S");
    assert_eq!(
        (global.instance.as_deref(), global.action_timeout),
        (Some("main"), Duration::from_secs(60))
    );
    let action = global.action.unwrap();
    assert_eq!(
        (action.value.as_str(), action.place.to_string().as_str()),
        ("/usr/local/bin/imon-action", "/etc/default/imon-main:4, global.action")
    );
}

#[test]
fn the_echo_is_what_v299_printed() {
    let parsed = parse_text(SAMPLE);
    let text = |section: &Section| {
        let lines = section.lines.iter().map(|(key, value)| format!("    {key:<17} {value}\n"));
        format!("** [{}] ** \n{}", section.name, lines.collect::<String>())
    };
    let echo: String = parsed.echo.iter().map(text).collect();
    let expected = "** [global] ** \n    action            /usr/local/bin/imon-action\n    datefmt           %Y-%m-%d %H:%M:%S\n";
    assert!(echo.starts_with(expected), "{echo}");
    // pingcount 2.0 and pingwait 1.0 were made integers before they were printed.
    let expected = "** [failover] ** \n    enable            False\n    interval          1.0\n    pingcount         2\n    \
                    pingwait          1\n    prefer-primary    True\n    metric            201\n";
    assert!(echo.contains(expected), "{echo}");
    let names: Vec<_> = parsed.echo.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["global", "ddns", "updown", "failover", "ping"]);
}

#[test]
fn a_file_of_the_shortest_kind_gets_all_defaults() {
    let config = good(r#"{"ping": {"enable": true, "monitorip": "1.1.1.1"}}"#);
    let ping = config.ping.unwrap();
    assert_eq!(
        ping.timing,
        Timing {
            interval: Duration::from_secs(10),
            pingcount: 2,
            pingwait: Duration::from_secs(1)
        }
    );
    assert_eq!((config.updown, config.global.action, config.global.instance), (None, None, None));
    assert_eq!(config.global.datefmt, "%Y-%m-%d %H:%M:%S");
}

#[test]
fn b40_each_bad_interval_is_one_clear_error() {
    let allowed = "a number of seconds from 0.1 to 86400 is allowed";
    for (value, message) in [
        ("0", format!("Invalid value 0 for interval: {allowed}")),
        ("\"x\"", format!("Invalid value \"x\" for interval: {allowed}")),
        (
            "null",
            format!(
                "Invalid value null for interval: leave the key out to get its default; {allowed}"
            ),
        ),
        ("-1", format!("Invalid value -1 for interval: {allowed}")),
        ("1e308", format!("Invalid value 1e308 for interval: {allowed}")),
        ("[]", format!("Invalid value [] for interval: {allowed}")),
        ("{}", format!("Invalid value {{}} for interval: {allowed}")),
    ] {
        let expected = format!("{message} (/etc/default/imon-main:3, updown.interval)");
        assert_eq!(errors(&updown(&format!("\"interval\": {value}"))), [expected]);
    }
    assert_eq!(
        errors(&updown("\"interval\": NaN")),
        ["NaN is no number that JSON knows (/etc/default/imon-main:3, updown.interval)"]
    );
}

#[test]
fn b41_a_pingwait_below_a_second_works() {
    let config = good(&updown("\"pingwait\": 0.5"));
    assert_eq!(config.updown.unwrap().timing.pingwait, Duration::from_millis(500));
}

#[test]
fn b42_missing_sections_and_wrong_types_are_said_all_at_once() {
    let seen = errors(
        "{\"global\": [],\n\"ping\": {\"enable\": true,\n\"pingcount\": {}},\n\"updown\": 5}",
    );
    assert_eq!(
        seen,
        [
            "Section global must be an object in braces { } (/etc/default/imon-main:1, global)",
            "ping monitor requires an IP Address to monitor (/etc/default/imon-main:2, ping.monitorip)",
            "Invalid value {} for pingcount: a whole number from 1 to 100 is allowed (/etc/default/imon-main:3, ping.pingcount)",
            "Section updown must be an object in braces { } (/etc/default/imon-main:4, updown)",
        ]
    );
    for text in [
        "",
        "[]",
        "null",
        "\"x\"",
        "5",
        "{",
        "{]",
        "{\"ping\": {\"enable\": true, \"monitorip\": \"1.1.1.1\"}} x",
    ] {
        assert_eq!(errors(text).len(), 1, "{text}");
    }
}

#[test]
fn the_fatal_messages_keep_the_words_of_v299() {
    let first = |text: &str| errors(text)[0].clone();
    assert!(first("{}").starts_with("No monitors are enabled. See documentation"));
    assert!(
        first(&updown("\"monitorip\": \"\""))
            .starts_with("updown monitor requires an IP Address to monitor (")
    );
    let failover =
        r#"{"failover": {"enable": true, "primary-if": "wan1", "standby-gw": "192.168.62.1"}}"#;
    assert_eq!(
        first(failover),
        "Missing settings for failover monitor:  primary-gw standby-if; write \"primary-gw\": \"auto\" where DHCP or PPP \
         tells the gateway (/etc/default/imon-main:1, failover)"
    );
}

#[test]
fn whether_a_monitor_is_enabled_must_be_clear() {
    assert_eq!(
        errors("{\"ping\": {\"enable\": \"maybe\"}}"),
        [
            "Invalid value \"maybe\" for enable: true or false is allowed (/etc/default/imon-main:1, ping.enable)"
        ]
    );
    let seen =
        warnings(&format!("{{\"ping\": {{\"enable\": \"false\"}},{}", &updown("\"rise\": 2")[1..]));
    assert_eq!(seen.len(), 1);
    assert!(
        seen[0].starts_with("\"false\" for enable is false; imon V2.99 took any text for true"),
        "{seen:?}"
    );
}

#[test]
fn a_monitor_that_does_not_run_cannot_stop_the_others() {
    let text = format!(
        "{{\"ping\": {{\"enable\": false, \"interval\": 0, \"monitorip\": []}},{}",
        &updown("\"rise\": 2")[1..]
    );
    assert_eq!(
        warnings(&text),
        [
            "Invalid value 0 for interval: a number of seconds from 0.1 to 86400 is allowed (/etc/default/imon-main:1, \
             ping.interval)"
        ]
    );
}

#[test]
fn what_is_unknown_is_ignored_with_a_hint() {
    let text = format!(
        "{{\"pnig\": {{\"x\": 1}}, \"colours\": 5,\n{}",
        &updown("\"intervall\": 1, \"metric\": 2, \"zz\": 3")[1..]
    );
    assert_eq!(
        warnings(&text),
        [
            "Unknown section pnig is ignored; did you mean ping? (/etc/default/imon-main:1, pnig)",
            "Unknown section colours is ignored (/etc/default/imon-main:1, colours)",
            "Unknown key intervall is ignored; did you mean interval? (/etc/default/imon-main:4, updown.intervall)",
            "Unknown key metric is ignored; it belongs in section failover (/etc/default/imon-main:4, updown.metric)",
            "Unknown key zz is ignored (/etc/default/imon-main:4, updown.zz)",
        ]
    );
}

#[test]
fn of_keys_given_twice_the_last_counts() {
    let text = updown("\"fall\": 2,\n\"fall\": 3");
    assert_eq!(
        warnings(&text),
        ["fall is already on line 3; this one counts (/etc/default/imon-main:4, updown.fall)"]
    );
    assert_eq!(parse_text(&text).config.unwrap().updown.unwrap().fall, 3);
    let text = format!("{{\"updown\": {{}},\n{}", &updown("\"fall\": 2")[1..]);
    assert_eq!(warnings(&text).len(), 1);
}

#[test]
fn debug_and_a_relative_action_are_warned_about() {
    let text = format!(
        "{{\"global\": {{\"debug\": false,\n\"action\": \"imon-action\"}},{}",
        &updown("\"fall\": 2")[1..]
    );
    let seen = warnings(&text);
    assert!(seen[0].starts_with("debug does nothing any more"), "{seen:?}");
    assert!(seen[1].starts_with("action is not a full path"), "{seen:?}");
}

#[test]
fn a_second_opinion_needs_both_its_settings_and_a_server_far_away() {
    let seen = |keys: &str| {
        let text = updown(keys);
        (warnings(&text), parse_text(&text).config.unwrap().updown.unwrap().dns.is_some())
    };
    let (warned, on) = seen("\"dnsserver\": \"8.8.8.8\"");
    assert!(!on && warned[0].starts_with("dnsserver is not used: dnslookup"), "{warned:?}");
    let (warned, on) = seen("\"dnslookup\": \"microsoft.com\"");
    assert!(!on && warned[0].starts_with("dnslookup is not used: dnsserver"), "{warned:?}");
    for server in
        ["192.168.1.1", "10.0.0.1", "127.0.0.1", "169.254.1.1", "fe80::1", "fd00::1", "::1"]
    {
        let (warned, on) =
            seen(&format!("\"dnsserver\": \"{server}\", \"dnslookup\": \"microsoft.com\""));
        assert!(
            on && warned.len() == 1 && warned[0].contains("on the local network"),
            "{server}: {warned:?}"
        );
    }
    // 100.64/10 is the provider's, not the user's.
    for server in ["8.8.8.8", "100.64.0.1", "2001:4860:4860::8888", "dns.google"] {
        good(&updown(&format!("\"dnsserver\": \"{server}\", \"dnslookup\": \"microsoft.com\"")));
    }
}

#[test]
fn the_command_line_replaces_addping() {
    let with =
        |text: &str, addping| parse(FILE, text.as_bytes(), &Overrides { addping: Some(addping) });
    let text = updown("\"addping\": \"192.168.1.1\"");
    let parsed = with(&text, "192.168.16.1,router.lan");
    let hosts: Vec<_> =
        parsed.config.unwrap().updown.unwrap().addping.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["192.168.16.1", "router.lan"]);
    assert!(with(&text, "").config.unwrap().updown.unwrap().addping.is_empty());
    let parsed = with(&text, "1.1.1.256");
    assert!(parsed.config.is_none());
    assert!(
        lines(&parsed.errors)[0].ends_with(" is allowed (--addping)"),
        "{:?}",
        lines(&parsed.errors)
    );
    let parsed = with(r#"{"ping": {"enable": true, "monitorip": "1.1.1.1"}}"#, "1.1.1.1");
    assert!(parsed.config.is_some());
    assert_eq!(
        lines(&parsed.warnings),
        ["--addping does nothing: the updown monitor is not enabled (--addping)"]
    );
}

#[test]
fn settings_that_together_flood_a_network_are_refused() {
    let ping = |targets: usize, keys: &str| {
        let targets = (0..targets).map(|i| format!("h{i}")).collect::<Vec<_>>().join(",");
        format!("{{\"ping\": {{\"enable\": true, \"monitorip\": \"{targets}\",\n{keys}}}}}")
    };
    good(&ping(1000, "\"interval\": 0.1, \"pingcount\": 1"));
    assert_eq!(
        errors(&ping(1000, "\"interval\": 0.1, \"pingcount\": 2")),
        [
            "ping would send 20000 probes a second, at most 10000 are allowed: raise interval, or lower pingcount or the \
             number of addresses (/etc/default/imon-main:2, ping.interval)"
        ]
    );
    good(&ping(1000, "\"interval\": 10, \"pingcount\": 10"));
    assert_eq!(
        errors(&ping(1000, "\"interval\": 10, \"pingcount\": 10, \"pingwait\": 20")),
        [
            "ping would have 30000 probes under way at once, at most 20000 are allowed: raise interval, or lower pingwait, \
             pingcount or the number of addresses (/etc/default/imon-main:2, ping.interval)"
        ]
    );
    // Alone, a target may have the extremes of everything but the interval: updown checks each
    // second while offline.
    good(&updown("\"interval\": 86400, \"pingcount\": 100, \"pingwait\": 60"));
    assert_eq!(errors(&updown("\"interval\": 0.1, \"pingcount\": 100, \"pingwait\": 60")).len(), 1);
}

#[test]
fn b21_shell_characters_and_secrets() {
    let parsed = parse_text(FULL);
    let warned = lines(&parsed.warnings);
    assert_eq!(
        warned,
        ["Unknown key password is ignored (/etc/default/imon-main:4, global.password)"]
    );
    let config = parsed.config.unwrap();
    assert_eq!(config.global.instance.as_deref(), Some("net 1; $(id)"));
    assert_eq!(config.monitors(), 4);
    let echo = format!("{:?}", parsed.echo);
    assert!(!echo.contains("hunter2"), "{echo}");
}

#[test]
fn nothing_about_a_problem_leaves_its_line() {
    for text in [
        "{\"a\\nb\": 1}",
        "{\"pi\\nng\": {}}",
        "{\"ping\": {\"enable\": true, \"x\\u001b\": 1, \"monitorip\": \"\\u202e\\n\"}}",
        "{\"ping\": {\"enable\": true, \"monitorip\": \"a\", \"monitorip\": \"\\u0000\"}}",
    ] {
        let parsed = parse("a\nb", text.as_bytes(), &Overrides { addping: Some("\n") });
        for line in lines(&parsed.errors).iter().chain(&lines(&parsed.warnings)) {
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        }
    }
}

/// xorshift64*, so that a failure can be repeated from its number.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % n.max(1)
    }
}

/// What must hold for any bytes whatever.
fn check(text: &[u8], case: &str) -> bool {
    let parsed = parse(FILE, text, &Overrides::default());
    assert_eq!(parsed.config.is_some(), parsed.errors.is_empty(), "{case}");
    let count = text.iter().filter(|b| **b == b'\n').count() + usize::from(!text.ends_with(b"\n"));
    for problem in parsed.errors.iter().chain(&parsed.warnings) {
        let line = problem.place.line.unwrap();
        assert!((1..=count.max(1)).contains(&line), "{case}: {problem}");
        let shown = problem.to_string();
        assert!(
            shown.contains(&format!("({FILE}:{line}")) && shown.len() < 1500,
            "{case}: {shown}"
        );
        assert!(!shown.contains(char::is_control), "{case}: {shown}");
    }
    let Some(config) = parsed.config else { return false };
    let seconds = |min: f64, max: f64, d: Duration| {
        assert!((min..=max).contains(&d.as_secs_f64()), "{case}: {d:?}")
    };
    let timing = |t: &Timing| {
        seconds(0.1, 86_400.0, t.interval);
        seconds(0.01, 60.0, t.pingwait);
        assert!((1..=100).contains(&t.pingcount), "{case}");
    };
    assert!(config.monitors() > 0, "{case}");
    seconds(1.0, 3600.0, config.global.action_timeout);
    assert!(config.global.datefmt.len() <= 128, "{case}");
    assert!(config.global.instance.is_none_or(|name| instance::check(&name).is_ok()), "{case}");
    assert!(
        config
            .global
            .action
            .is_none_or(|action| !action.value.is_empty() && !action.value.contains('\0')),
        "{case}"
    );
    if let Some(ping) = &config.ping {
        timing(&ping.timing);
        assert!((1..=1000).contains(&ping.targets.len()), "{case}");
    }
    if let Some(updown) = &config.updown {
        timing(&updown.timing);
        assert!(updown.addping.len() <= 16, "{case}");
        assert!((1..=100).contains(&updown.fall) && (1..=100).contains(&updown.rise), "{case}");
    }
    true
}

#[test]
fn damaged_files_never_panic_and_are_never_half_accepted() {
    // Bytes that turn one JSON token into another hit more often than random ones.
    let telling = b"{}[]\",:#\\-+.eEuN0123456789 \n\t\r\0\x7f\x80\xff\xc3\xa9tfn/";
    let mut random = Random(0x1b0a_5eed);
    let mut accepted = 0;
    const CASES: usize = 30_000;
    for case in 0..CASES {
        let seed = random.0;
        let mut text = [SAMPLE, FULL][random.below(2)].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len());
            let end = (at + random.below(40)).min(text.len());
            let byte = telling[random.below(telling.len())];
            match random.below(7) {
                0 => text.insert(at, byte),
                1 if at < text.len() => text[at] = byte,
                2 if at < text.len() => text[at] ^= 1 << random.below(8),
                3 => drop(text.drain(at..end)),
                4 => {
                    let piece = text[at..end].to_vec();
                    let to = random.below(text.len());
                    text.splice(to..to, piece);
                }
                5 if random.below(10) == 0 => text.truncate(at),
                _ => {
                    // A number for a number is how a typo looks.
                    let digit = (at..text.len()).find(|i| text[*i].is_ascii_digit());
                    if let Some(at) = digit {
                        text[at] = b'0' + u8::try_from(random.below(10)).unwrap();
                    }
                }
            }
        }
        accepted += usize::from(check(&text, &format!("case {case}, seed {seed:#x}")));
    }
    // Neither all nor none: else the damage is of no use.
    assert!((CASES / 20..CASES * 19 / 20).contains(&accepted), "{accepted} of {CASES} accepted");
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random(0x00c0_ffee);
    for case in 0..20_000 {
        let seed = random.0;
        let length = random.below(60);
        let telling = b"{}[]\",:#1 \n\\u";
        let text: Vec<u8> = (0..length)
            .map(|_| match random.below(3) {
                0 => u8::try_from(random.below(256)).unwrap(),
                _ => telling[random.below(telling.len())],
            })
            .collect();
        assert!(!check(&text, &format!("case {case}, seed {seed:#x}")));
    }
}

/// A failover section with this in it.
fn failover(more: &str) -> String {
    format!(
        r#"{{"failover": {{"enable": true, "primary-if": "wan1", "primary-gw": "auto", "standby-if": "wan2",
           "standby-gw": "192.168.62.1", {more} "metric": 201}}}}"#
    )
}

#[test]
fn a_failover_section_has_v2_99s_defaults_and_its_own() {
    let config = parse_text(&failover("")).config.unwrap().failover.unwrap();
    assert_eq!(
        config.wans.iter().map(|w| w.gateway).collect::<Vec<_>>(),
        [GatewaySource::Auto, GatewaySource::Fixed([192, 168, 62, 1].into())]
    );
    assert!(
        config
            .wans
            .iter()
            .all(|w| w.targets.is_empty() && w.name.is_empty() && w.postping.is_none())
    );
    assert_eq!((config.prefer_primary, config.metric, config.min_up), (false, 201, 1));
    assert_eq!((config.hold_down, config.idle_interval), (Duration::from_secs(10), None));
    assert_eq!(
        (config.quality, config.flush_conntrack, config.remove_on_exit),
        (Quality::default(), true, false)
    );
}

#[test]
fn each_setting_of_failover_is_read() {
    let all = r#""primary-name": "a", "standby-name": "b", "primary-ping": ["1.1.1.1", "8.8.8.8"], "min-up": 1,
        "standby-ping": ["9.9.9.9", "8.8.4.4"], "standby-postping": "1.0.0.1", "prefer-primary": true, "hold-down": 20,
        "idle-interval": 300, "remind": 3600, "flush-conntrack": false, "on-exit": "remove", "max-loss": 20,
        "return-loss": 20,"#;
    let config = good(&failover(all)).failover.unwrap();
    let [primary, standby] = &config.wans[..] else { panic!("{config:?}") };
    assert_eq!(
        (&*primary.name, &*primary.device, &*standby.name, &*standby.device),
        ("a", "wan1", "b", "wan2")
    );
    assert_eq!((primary.targets.len(), standby.targets.len(), config.min_up), (2, 2, 1));
    assert_eq!(primary.postping, None);
    assert_eq!(standby.postping.as_ref().map(|host| host.to_string()).as_deref(), Some("1.0.0.1"));
    let seconds = Duration::from_secs;
    assert_eq!(
        (config.hold_down, config.idle_interval, config.remind),
        (seconds(20), Some(seconds(300)), Some(seconds(3600)))
    );
    assert_eq!(
        (config.prefer_primary, config.flush_conntrack, config.remove_on_exit),
        (true, false, true)
    );
    // A limit may be good again where it is bad beyond.
    assert_eq!(config.quality, Quality { loss: Some(Limit { most: 0.2, again: 0.2 }), rtt: None });
    // All of the targets may have to answer; never and each second are the least that reminders may
    // be.
    let all = good(&failover(
        r#""primary-ping": ["1.1.1.1", "8.8.8.8"], "standby-ping": ["9.9.9.9", "8.8.4.4"], "min-up": 2,"#,
    ));
    assert_eq!(all.failover.unwrap().min_up, 2);
    let remind = |more: &str| good(&failover(more)).failover.unwrap().remind;
    assert_eq!([remind(r#""remind": 0,"#), remind(r#""remind": 1,"#)], [None, Some(seconds(1))]);
    assert_eq!(errors(&failover(r#""remind": 0.9,"#)).len(), 1);
}

#[test]
fn targets_of_a_wan_are_pinged_asked_or_connected_to() {
    let targets = |json: &str| parse_text(&failover(&format!("\"primary-ping\": {json},")));
    let config =
        targets(r#"["1.1.1.1", "dns:8.8.8.8", "tcp:one.one.one.one:443"]"#).config.unwrap();
    let read: Vec<_> =
        config.failover.unwrap().wans[0].targets.iter().map(|t| (t.to_string(), t.probe)).collect();
    let expected = [
        ("1.1.1.1", ProbeKind::Echo),
        ("dns:8.8.8.8", ProbeKind::Dns),
        ("tcp:one.one.one.one:443", ProbeKind::Tcp(443)),
    ];
    assert_eq!(read, expected.map(|(text, probe)| (text.to_owned(), probe)));
    for (json, why) in [
        (r#""tcp:1.1.1.1""#, "it has no port"),
        (r#""tcp:1.1.1.1:0""#, "its port is not a number"),
        (r#""tcp:1.1.1.1:99999""#, "its port is not a number"),
        (r#""dns:2606:4700::1111""#, "failover switches IPv4"),
        (r#""2606:4700::1111""#, "failover switches IPv4"),
        (r#""dns:""#, "it is empty"),
        (r#""a b""#, "neither an address nor a DNS name"),
    ] {
        let parsed = targets(json);
        assert!(
            parsed.config.is_none() && parsed.errors[0].message.contains(why),
            "{json}: {:?}",
            parsed.errors
        );
    }
}

#[test]
fn failover_settings_that_contradict_each_other_are_told() {
    let first = |more: &str| {
        let parsed = parse_text(&failover(more));
        parsed
            .errors
            .iter()
            .chain(&parsed.warnings)
            .next()
            .map(|p| p.message.clone())
            .unwrap_or_default()
    };
    assert!(
        first(r#""standby-ping": "9.9.9.9", "min-up": 2,"#).contains("all of those must answer")
    );
    assert!(first(r#""return-rtt": 50,"#).contains("max-rtt is not set"));
    assert!(first(r#""max-loss": 20, "return-loss": 30,"#).contains("above max-loss"));
    assert!(first(r#""on-exit": "perhaps","#).contains("keep or remove is allowed"));
    assert!(first(r#""max-loss": 120,"#).contains("a number from 0 to 100, in percent is allowed"));
    assert!(first(r#""primary-postping": "::1","#).contains("IPv6"));
    let twice = failover("").replace("wan2", "wan1");
    assert!(parse_text(&twice).errors[0].message.contains("both wan1"));
}

#[test]
fn a_limit_returns_at_half_of_it_unless_told_otherwise() {
    let quality =
        |more: &str| parse_text(&failover(more)).config.unwrap().failover.unwrap().quality;
    assert_eq!(quality(r#""max-loss": 20,"#).loss, Some(Limit { most: 0.2, again: 0.1 }));
    let ms = Duration::from_millis;
    assert_eq!(
        quality(r#""max-rtt": 300, "return-rtt": 200,"#).rtt,
        Some(Limit { most: ms(300), again: ms(200) })
    );
}

/// The ddns section of a configuration with this in it.
fn ddns(more: &str) -> ParsedFile {
    let text = format!("{{\"ddns\": {{\"enable\": true, {more}}}}}");
    parse("/x", text.as_bytes(), &Overrides::default())
}

#[test]
fn sources_are_texts_or_objects_that_name_the_operator() {
    let more = r#""sources": ["http://ip.example.co.uk/", {"url": "http://198.18.0.80/", "operator": "Lab"}, "dns:google"]"#;
    let parsed = ddns(more);
    let ddns = parsed.config.unwrap().ddns.unwrap();
    let operators: Vec<&str> = ddns.sources.iter().map(|s| &*s.operator).collect();
    assert_eq!(operators, ["example.co.uk", "Lab", "google.com"]);
    for bad in [
        r#""sources": "ftp://x/""#,
        r#""sources": [1]"#,
        r#""sources": [{"url": "http://x.example/"}]"#,
        r#""sources": [{"url": "http://x.example/", "operator": ""}]"#,
        r#""sources": [{"url": "http://x.example/", "operator": "x", "more": 1}]"#,
        r#""sources": {"url": "http://x.example/", "operator": "x"}"#,
        r#""sources": null"#,
        r#""families": []"#,
        r#""families": ["5"]"#,
        r#""families": "four""#,
        r#""announce": "never""#,
        r#""refresh": -1"#,
    ] {
        assert_eq!(self::ddns(bad).errors.len(), 1, "{bad}");
    }
}

#[test]
fn the_defaults_of_ddns_are_good() {
    let parsed = ddns(r#""interval": 10"#);
    let ddns = parsed.config.unwrap().ddns.unwrap();
    assert_eq!(ddns.sources.len(), crate::monitor::ddns::source::DEFAULTS.len());
    assert_eq!(
        (ddns.families, ddns.per_wan, ddns.announce_start, ddns.refresh),
        (vec![Family::V4], false, false, None)
    );
    let refresh = |days: &str| {
        super::tests::ddns(&format!("\"refresh\": {days}")).config.unwrap().ddns.unwrap().refresh
    };
    let hours = |n: u64| Some(Duration::from_secs(n * 3600));
    assert_eq!(
        [refresh("0"), refresh("0.5"), refresh("30")],
        [None, hours(12), hours(720)],
        "in days"
    );
    for both in [r#""families": "6, 4""#, r#""families": [6, 4]"#, r#""families": ["4", "6", "4"]"#]
    {
        assert_eq!(
            self::ddns(both).config.unwrap().ddns.unwrap().families,
            [Family::V4, Family::V6],
            "{both}"
        );
    }
}

#[test]
fn updates_are_read_by_type_and_each_mistake_is_told() {
    let good = ddns(
        r#""update": [{"type": "dyndns2", "server": "http://x.example", "insecure": true, "hostname": "a.example, b.example",
            "username": "me", "password": " p w "},
            {"type": "url", "url": "http://x.example/?t={secret}&ip={ip}", "insecure": true, "secret-file": "/x", "ok": ["OK", "{ip}"]}]"#,
    );
    assert_eq!((lines(&good.errors), lines(&good.warnings)), (vec![], vec![]));
    let updates = good.config.unwrap().ddns.unwrap().updates.value;
    let labels: Vec<String> = updates.iter().map(Update::label).collect();
    assert_eq!(labels, ["a.example at x.example", "b.example at x.example", "x.example"]);
    let base = |more: &str| {
        format!(
            r#""update": [{{"type": "dyndns2", "insecure": true, "server": "http://x.example", {more}}}]"#
        )
    };
    let secret = |more: &str| {
        let parsed = ddns(&base(&format!(r#""hostname": "a.example", "username": "me", {more}"#)));
        parsed.config.unwrap().ddns.unwrap().updates.value[0].secret.clone()
    };
    assert_eq!(secret(r#""password": " p w ""#), Secret::Given(" p w ".to_owned()));
    assert_eq!(secret(r#""password-file": "/etc/x y""#), Secret::File("/etc/x y".to_owned()));
    for name in ["dyndns", "..x", ".x"] {
        assert_eq!(
            secret(&format!(r#""password-credential": "{name}""#)),
            Secret::Credential(name.to_owned())
        );
    }
    for name in ["", ".", "..", "a/b", "/"] {
        let named = format!(
            r#""hostname": "a.example", "username": "me", "password-credential": "{name}""#
        );
        assert!(
            lines(&ddns(&base(&named)).errors)[0].contains("not the name of a credential"),
            "{name}"
        );
    }
    for (more, why) in [
        (
            base(r#""hostname": "a.example", "username": "me""#),
            "password, password-file or password-credential is missing",
        ),
        (base(r#""hostname": "a_b c", "username": "me", "password": "x""#), "hostname"),
        (base(r#""hostname": [], "username": "me", "password": "x""#), "hostname is missing"),
        (
            base(r#""hostname": "a.example", "username": "m:e", "password": "x""#),
            "username has a colon",
        ),
        (
            base(r#""hostname": "a.example", "username": "me", "password": 5"#),
            "password is not text",
        ),
        (
            base(r#""hostname": "a.example", "username": "me", "password-file": "x""#),
            "password-file is not a full path",
        ),
        (
            base(r#""hostname": "a.example", "username": "me", "password-credential": "../x""#),
            "not the name of a credential",
        ),
        (
            r#""update": [{"type": "url", "url": "http://x.example/{ip}"}]"#.to_owned(),
            "set insecure to true",
        ),
        (
            r#""update": [{"type": "url", "insecure": true, "url": "http://x.example/{secret}"}]"#
                .to_owned(),
            "is missing",
        ),
        (
            r#""update": [{"type": "url", "insecure": true, "url": "http://x/", "secret": "x"}]"#
                .to_owned(),
            "no {secret}",
        ),
        (
            r#""update": [{"type": "url", "insecure": 1, "url": "http://x/"}]"#.to_owned(),
            "insecure is true or false",
        ),
        (r#""update": [{}]"#.to_owned(), "type is missing"),
        (r#""update": ["x"]"#.to_owned(), "not in braces"),
        (r#""update": 5"#.to_owned(), "Invalid value 5 for update"),
    ] {
        let errors = lines(&ddns(&more).errors);
        assert!(errors.len() == 1 && errors[0].contains(why), "{more}: {errors:?}");
        assert!(!errors[0].contains("p w"), "{errors:?}");
    }
}

/// Whatever stands in the section, there is an answer.
#[test]
fn random_ddns_sections_never_panic() {
    let pieces = [
        "\"type\":\"url\"",
        "\"type\":\"dyndns2\"",
        "\"url\":\"http://{ip}/{secret}\"",
        "\"secret\":\"\\u0000\"",
        "\"ok\":[1]",
        "\"hostname\":[\"é\",\"\"]",
        "\"server\":\"://\"",
        "\"server\":\"http://[::1]:0/a?b\"",
        "\"username\":\"\"",
        "\"insecure\":true",
        "\"wan\":\"\"",
        "\"password\":null",
        "\"operator\":{}",
    ];
    let mut random = crate::base::random::Random(9);
    for _ in 0..5000 {
        let mut object = Vec::new();
        for _ in 0..random.below(7) {
            object.push(pieces[random.place(pieces.len())]);
        }
        let object = object.join(",");
        let _ = ddns(&format!("\"update\": [{{{object}}}], \"sources\": [{{{object}}}]"));
    }
}

#[test]
fn v11_events_are_named_one_by_one_or_all_and_unknown_ones_are_errors() {
    let read = |events: &str| {
        let text = format!(
            r#"{{"global": {{"events": {events}}}, "ping": {{"enable": true, "monitorip": "1.1.1.1"}}}}"#
        );
        parse("f", text.as_bytes(), &Overrides::default())
    };
    let all = crate::event::ON_REQUEST.to_vec();
    for (events, wanted) in [
        (r#""""#, vec![]),
        ("[]", vec![]),
        (r#""all""#, all.clone()),
        (r#"["failover-remind", "all"]"#, all),
        (r#""failover-remind""#, vec!["failover-remind"]),
        (r#""failover-offline, failover-online""#, vec!["failover-offline", "failover-online"]),
        (r#"["failover-online", "failover-online", "updown-offline"]"#, vec!["failover-online"]),
    ] {
        let parsed = read(events);
        assert!(
            parsed.errors.is_empty() && parsed.warnings.is_empty(),
            "{events}: {:?}",
            parsed.errors
        );
        assert_eq!(parsed.config.unwrap().global.events, wanted, "{events}");
    }
    for (events, why) in [
        (
            r#"["failover-ofline"]"#,
            "events has failover-ofline, which is no event; did you mean failover-offline?",
        ),
        (r#""xyzzy""#, "events has xyzzy, which is no event; known are all, failover-offline, "),
        ("true", "Invalid value true for events: a list of event names, or all is allowed"),
        ("[{}]", "Invalid value […] for events"),
        ("null", "Invalid value null for events"),
    ] {
        let errors = read(events).errors;
        assert!(errors.len() == 1 && errors[0].message.contains(why), "{events}: {errors:?}");
    }
    let text = r#"{"failover": {"enable": true, "primary-if": "a", "primary-gw": "auto", "standby-if": "b",
        "standby-gw": "auto", "remind": 600}}"#;
    let failover = |text: &str| {
        parse("f", text.as_bytes(), &Overrides::default()).config.unwrap().failover.unwrap()
    };
    assert_eq!(failover(text).remind, Some(Duration::from_secs(600)));
    assert_eq!(failover(&text.replace("600", "0")).remind, None);
    assert_eq!(failover(&text.replace("600", "1")).remind, Some(Duration::from_secs(1)));
    let errors = parse("f", text.replace("600", "0.001").as_bytes(), &Overrides::default()).errors;
    assert!(
        errors.len() == 1 && errors[0].message.contains("remind is less than a second"),
        "{errors:?}"
    );
    assert_eq!(failover(&text.replace(", \"remind\": 600", "")).remind, None);
}
