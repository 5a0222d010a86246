use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::*;
use crate::base::random::Random;
use crate::monitor::ddns::update::{AnswerReading, UpdateOutcome, outcome};
use crate::sys::clock;

fn of(secret: &str) -> Secrets {
    Secrets::of("https://h.example/u?ip=203.0.113.1", secret)
}

fn each(text: &str, spell: impl Fn(char, &[u8]) -> String) -> String {
    text.chars().map(|c| spell(c, c.encode_utf8(&mut [0; 4]).as_bytes())).collect()
}

fn all_bytes(bytes: &[u8], spell: impl Fn(u8) -> String) -> String {
    bytes.iter().map(|byte| spell(*byte)).collect()
}

/// Every spelling, with the most characters that one byte of the secret takes.
fn spellings(secret: &str) -> Vec<(&'static str, String, usize)> {
    let query = encoded(secret);
    let text = secret.as_bytes();
    vec![
        ("raw", secret.to_owned(), 1),
        ("upper case", secret.to_ascii_uppercase(), 1),
        ("lower case", secret.to_ascii_lowercase(), 1),
        ("percent-encoded", query.clone(), 3),
        ("with small digits", query.to_ascii_lowercase(), 3),
        ("plus for a blank", query.replace("%20", "+"), 3),
        ("each byte percent-encoded", all_bytes(text, |b| format!("%{b:02x}")), 3),
        ("twice", encoded(&query), 5),
        ("three times", encoded(&encoded(&query)), 7),
        ("JSON", each(secret, |c, _| format!("\\u{:04x}", u32::from(c))), 6),
        ("JSON as usual", serde_json::to_string(secret).unwrap().replace('/', "\\/"), 2),
        (
            "JSON in JSON",
            serde_json::to_string(&serde_json::to_string(secret).unwrap()).unwrap(),
            4,
        ),
        ("JavaScript", each(secret, |c, _| format!("\\u{{{:x}}}", u32::from(c))), 6),
        ("escape()", each(secret, |c, _| format!("%u{:04X}", u32::from(c))), 6),
        ("C", all_bytes(text, |b| format!("\\x{b:02x}")), 4),
        (
            "HTML",
            secret
                .replace('&', "&amp;")
                .replace('"', "&quot;")
                .replace('\'', "&#39;")
                .replace('<', "&lt;"),
            6,
        ),
        ("HTML numbers", each(secret, |c, _| format!("&#{};", u32::from(c))), 7),
        ("HTML hexadecimal", each(secret, |c, _| format!("&#x{:X};", u32::from(c))), 7),
        ("HTML of a URL", each(&query, |c, _| format!("&#{};", u32::from(c))), 18),
        ("hexadecimal", all_bytes(text, |b| format!("{b:02x}")), 2),
        ("HEXADECIMAL", all_bytes(text, |b| format!("{b:02X}")), 2),
        ("with colons", all_bytes(text, |b| format!("{b:02x}:")), 3),
        ("base64", STANDARD.encode(secret), 2),
        ("base64 for URLs", URL_SAFE.encode(secret), 2),
        ("base64 without padding", STANDARD_NO_PAD.encode(secret), 2),
        ("base64 for URLs without padding", URL_SAFE_NO_PAD.encode(secret), 2),
        ("base64 in a URL", encoded(&STANDARD.encode(secret)), 6),
        ("Basic", STANDARD.encode(format!("me:{secret}")), 2),
        ("Basic of another", STANDARD.encode(format!("you2:{secret}")), 2),
        ("within base64", URL_SAFE_NO_PAD.encode(format!("abc={secret}&d=e")), 2),
        ("a URL within base64", STANDARD.encode(format!("ab={query}&d=e")), 5),
        ("with blanks", each(secret, |c, _| format!("{c} ")), 2),
        ("with line breaks", each(secret, |c, _| format!("{c}\r\n")), 3),
        ("UTF-16", each(secret, |c, _| format!("{c}\0")), 2),
        ("with zero-width spaces", each(secret, |c, _| format!("{c}\u{200b}")), 4),
        ("cut at the end", secret.chars().take(secret.chars().count() * 3 / 4).collect(), 1),
        ("cut at the start", secret.chars().skip(secret.chars().count() / 4).collect(), 1),
    ]
}

fn json_text(text: &str) -> String {
    serde_json::to_string(text).unwrap().trim_matches('"').to_owned()
}

fn random_text(random: &mut Random, alphabet: &[char], length: usize) -> String {
    (0..length).map(|_| alphabet[random.place(alphabet.len())]).collect()
}

#[test]
fn s1_no_piece_of_a_secret_is_left_in_any_spelling_in_any_text() {
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let token: Vec<char> = letters.iter().copied().chain("-_.~".chars()).collect();
    let all: Vec<char> = (' '..='~').chain("äöüßéçñ".chars()).collect();
    let around: Vec<char> = ('g'..='z').chain("   \n=&:'\"<>/,.".chars()).collect();
    let mut random = Random(0x5eed);
    let mut tried = 0;
    for round in 0..150 {
        let alphabet = [&letters, &token, &all][round % 3];
        let long = random.below(if round % 10 == 0 { 512 } else { 48 });
        let secret = random_text(&mut random, alphabet, 6 + usize::try_from(long).unwrap());
        let secrets = of(&secret);
        for (name, spelled, widest) in spellings(&secret) {
            let [before, after] = [20, 20].map(|n| random_text(&mut random, &around, n));
            let shown = secrets.hide(&format!("{before}{spelled}{after}"));
            let spelled: Vec<char> = spelled.chars().collect();
            for piece in spelled.windows(6 * widest.max(2)) {
                let piece: String = piece.iter().collect();
                assert!(
                    !shown.contains(&piece),
                    "{name} of {secret:?}: {piece:?} is left in {shown:?}"
                );
            }
            assert!(shown.contains(HIDDEN) || shown == WITHHELD, "{name} of {secret:?}: {shown:?}");
            tried += 1;
        }
    }
    println!("{tried} spellings");
}

#[test]
fn s1_raw_pieces_of_six_bytes_are_hidden_wherever_the_provider_cuts() {
    let secret = "Zq7-x&Y=2 kM/pé%41\"w";
    let secrets = of(secret);
    let chars: Vec<char> = secret.chars().collect();
    for from in 0..chars.len() {
        for to in from + 6..=chars.len() {
            let piece: String = chars[from..to].iter().collect();
            // The blank does not count, and an escape hides that what follows belongs to what went
            // before.
            let others =
                if to - from < 9 { vec![] } else { vec![encoded(&piece), json_text(&piece)] };
            for spelled in [vec![piece.clone()], others].concat() {
                let shown = secrets.hide(&format!("no such <{spelled}> here"));
                assert!(
                    shown.contains(HIDDEN) || (piece.contains(' ') && to - from < 7),
                    "{spelled:?}: {shown}"
                );
                let left = shown.replace(HIDDEN, "");
                assert!(left.len() <= "no such <> here".len() + 6, "{spelled:?}: {shown}");
            }
        }
    }
}

#[test]
fn s1_a_text_without_the_secret_stays_as_it_is() {
    let mut random = Random(7);
    let all: Vec<char> = (' '..='~').chain("äöü\u{1}\n".chars()).collect();
    let secrets = of("q3Vx-9LpT_zz81&k");
    for _ in 0..2000 {
        let text = random_text(&mut random, &all, 60);
        assert_eq!(secrets.hide(&text), text);
    }
    for text in [
        "",
        "badauth",
        "<html>100% &amp; more \\o/ %zz &#99999999999; &#xd800; \\u{110000}</html>",
        "&",
        "%",
        "\\",
    ] {
        assert_eq!(secrets.hide(text), text);
        assert_eq!(Secrets::default().hide(text), text);
        assert_eq!(of("").hide(text), text);
    }
}

#[test]
fn s1_a_short_secret_withholds_the_providers_text_and_none_of_our_own_words() {
    let ip: IpAddr = [203, 0, 113, 1].into();
    for secret in ["a", "e", "x", "1", "st", "HT", "ans", "***", " ", "+", "ü", "%", "&"] {
        let secrets = of(secret);
        for said in
            [format!("it is {secret} here"), encoded(&format!("it is {secret}")), secret.to_owned()]
        {
            let said = said.trim();
            let why = match outcome(&AnswerReading::DynDns2, 418, said.as_bytes(), ip, &secrets) {
                UpdateOutcome::Failed(why) => why,
                other => panic!("{other:?}"),
            };
            let wanted = "no answer of the protocol (HTTP status 418)";
            let rest = why.strip_prefix(wanted).unwrap_or_else(|| panic!("{secret:?}: {why}"));
            assert!(rest.is_empty() || rest == format!(": {WITHHELD}"), "{secret:?}: {why}");
        }
        for (code, why) in [
            ("badauth", "badauth: user name or password are wrong"),
            ("abuse", "abuse: the provider has blocked this hostname for abuse"),
        ] {
            assert_eq!(
                outcome(&AnswerReading::DynDns2, 200, code.as_bytes(), ip, &secrets),
                UpdateOutcome::Stop(why.into()),
                "{secret:?}"
            );
        }
    }
    // The status, the code and the address of a request are our words, too.
    let secrets = of("status");
    let UpdateOutcome::Failed(why) =
        outcome(&AnswerReading::DynDns2, 500, b"my status", ip, &secrets)
    else {
        panic!()
    };
    assert_eq!(&*why, "no answer of the protocol (HTTP status 500): 'my ***'");
}

#[test]
fn s1_an_answer_is_masked_before_it_is_cut() {
    let ip: IpAddr = [203, 0, 113, 1].into();
    let secret = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ";
    for before in 0..60 {
        let said = format!("{}{}", "-".repeat(before), encoded(secret));
        let UpdateOutcome::Failed(why) = outcome(
            &AnswerReading::Whole(vec!["OK".to_owned()]),
            200,
            said.as_bytes(),
            ip,
            &of(secret),
        ) else {
            panic!()
        };
        assert!(!why.contains("012") && !why.contains("abc"), "{why}");
    }
    // A secret that looks like an address.
    let secrets = of("deadbeef00112233445566778899aabb");
    let UpdateOutcome::Failed(why) = outcome(
        &AnswerReading::DynDns2,
        200,
        b"good dead:beef:11:2233:4455:6677:8899:aabb",
        ip,
        &secrets,
    ) else {
        panic!()
    };
    assert!(!why.contains("beef") && !why.contains("6677"), "{why}");
}

#[test]
fn s1_a_token_written_into_the_url_is_a_secret_as_well() {
    let url = "https://dyn.example/u/6f9b1c2d3e4a/update?domains=myhome&token=abcdefgh&ip=203.0.113.1&v6=2001%3Adb8%3A%3A1";
    let secrets = Secrets::of(url, "");
    let said = "update of myhome to 203.0.113.1 2001:db8::1 with 6f9b1c2d3e4a and ABCDEFGH";
    assert_eq!(secrets.hide(said), "update of myhome to 203.0.113.1 2001:db8::1 with *** and ***");
}

#[test]
fn s1_the_largest_answer_against_the_longest_secret_takes_no_time() {
    let mut random = Random(99);
    let all: Vec<char> = ('!'..='~').collect();
    let secret = random_text(&mut random, &all, crate::monitor::ddns::update::LONGEST_SECRET);
    let began = clock::monotonic();
    let secrets = of(&secret);
    for said in [
        "%25".repeat(680),
        "&#37;".repeat(409),
        random_text(&mut random, &all, 2048),
        "\\".repeat(2048),
    ] {
        assert!(!secrets.hide(&said).is_empty());
    }
    let took = clock::monotonic().since(began);
    println!("four answers of 2 KiB: {took:?}");
    assert!(took < std::time::Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_secret_of_four_bytes_is_hidden_where_a_shorter_one_takes_the_whole_text_along() {
    assert_eq!(
        Secrets::of("http://x/", "ab1c").hide("you sent ab1c, sorry"),
        format!("you sent {HIDDEN}, sorry")
    );
    assert_eq!(Secrets::of("http://x/", "ab1").hide("you sent ab1, sorry"), WITHHELD);
    // In base64 its last character is another one when something follows.
    for text in ["ab1c", "ab1cXYZ", "abcab1cXYZ", "x:ab1c", "xy:ab1cXYZ"] {
        let code = STANDARD_NO_PAD.encode(text);
        let shown = Secrets::of("http://x/", "ab1c").hide(&format!("Basic {code}."));
        assert_eq!(shown, format!("Basic {HIDDEN}."), "{text}");
    }
}
