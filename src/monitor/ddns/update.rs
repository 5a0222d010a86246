//! Updates of a dynamic DNS provider without a script: what is asked, and what the answer means.
//! Nothing here talks to anybody.
//!
//! `dyndns2` is the protocol of Dyn's Remote Access Update API, which most providers speak; its
//! return codes are from there (help.dyn.com, "Return Codes"). `url` is for those that want one URL
//! to be called.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::secret::encoded;
use crate::secret::{Secrets, WITHHELD};

/// The longest answer that is read, in bytes.
pub const LONGEST: usize = 2048;
/// Longest secret, in bytes.
pub const LONGEST_SECRET: usize = 512;
/// After `911` and `dnserr`, as the protocol wants it.
const WAIT: Duration = Duration::from_secs(30 * 60);

/// One update that is configured, for one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// The protocol.
    pub protocol: Protocol,
    /// Where the secret is kept.
    pub secret: Secret,
    /// Only for the address of this WAN (its interface), where there is one for each.
    pub wan: Option<String>,
}

/// How it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// The dyndns2 protocol.
    DynDns2 {
        /// `https://members.dyndns.org/nic/update`.
        url: String,
        /// Which name gets the address.
        hostname: String,
        /// Whose it is.
        username: String,
    },
    /// One URL.
    Url {
        /// With `{ip}` and `{secret}` in it.
        url: String,
        /// What the whole answer must be, any of these; none: every answer with a status of 2xx
        /// will do.
        ok: Vec<String>,
    },
}

/// Where a secret is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// There is none.
    None,
    /// In the configuration.
    Given(String),
    /// In a file.
    File(String),
    /// In a file of this name in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), `LoadCredential=`).
    Credential(String),
}

/// Never shows it.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Given(_) => "Given",
            Self::File(_) => "File",
            Self::Credential(_) => "Credential",
        })
    }
}

/// A request to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// With everything in its place.
    pub url: String,
    /// The user for the header `Authorization: Basic`, whose password is the secret.
    pub user: Option<String>,
    /// What no message may show; may be empty.
    pub secret: String,
    /// How the answer is read.
    pub reading: AnswerReading,
}

/// How an answer is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnswerReading {
    /// By dyndns2's codes.
    DynDns2,
    /// It must be one of these; none: every answer with a status of 2xx will do.
    Whole(Vec<String>),
}

/// What came of an update.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpdateOutcome {
    /// The provider has the address.
    Done,
    /// Not, but it may work later.
    Failed(Rc<str>),
    /// Not, and it is to be tried again after this time.
    Wait(Duration, Rc<str>),
    /// Not, and asking again would be held against the user: not before the configuration changes.
    Stop(Rc<str>),
}

impl Update {
    /// For logs and the status: the protocol, and the host it is about. No secret.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.protocol {
            Protocol::DynDns2 { url, hostname, .. } => format!("{hostname} at {}", host_of(url)),
            Protocol::Url { url, .. } => host_of(url).to_owned(),
        }
    }

    /// The request that publishes `address`.
    #[must_use]
    pub fn request(&self, address: IpAddr, secret: &str) -> Request {
        match &self.protocol {
            Protocol::DynDns2 { url, hostname, username } => Request {
                url: format!(
                    "{url}?hostname={}&myip={}",
                    encoded(hostname),
                    encoded(&address.to_string())
                ),
                user: Some(username.clone()),
                secret: secret.to_owned(),
                reading: AnswerReading::DynDns2,
            },
            Protocol::Url { url, ok } => {
                let ip = address.to_string();
                let url = url.replace("{ip}", &encoded(&ip)).replace("{secret}", &encoded(secret));
                let ok = ok.iter().map(|text| text.replace("{ip}", &ip)).collect();
                Request {
                    url,
                    user: None,
                    secret: secret.to_owned(),
                    reading: AnswerReading::Whole(ok),
                }
            }
        }
    }
}

/// What a provider's answer to a request for `address` means. `status` is that of HTTP. What is
/// shown of it is without `secrets`.
#[must_use]
pub fn outcome(
    reading: &AnswerReading,
    status: u16,
    body: &[u8],
    address: IpAddr,
    secrets: &Secrets,
) -> UpdateOutcome {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    match reading {
        AnswerReading::DynDns2 => dyndns2(status, text, address, secrets),
        AnswerReading::Whole(_) if !(200..300).contains(&status) => UpdateOutcome::Failed(
            format!("the answer has HTTP status {status}{}", quoted(text, secrets)).into(),
        ),
        AnswerReading::Whole(ok) if ok.is_empty() || ok.iter().any(|ok| ok == text) => {
            UpdateOutcome::Done
        }
        AnswerReading::Whole(_) => UpdateOutcome::Failed(
            format!("the answer is not the one that is configured{}", quoted(text, secrets)).into(),
        ),
    }
}

/// The first word of the first line counts, exactly; one host is asked about at a time.
fn dyndns2(status: u16, text: &str, address: IpAddr, secrets: &Secrets) -> UpdateOutcome {
    let line = text.lines().next().unwrap_or_default();
    let mut words = line.split_ascii_whitespace();
    let code = words.next().unwrap_or_default();
    let told = words.next().and_then(|word| word.parse::<IpAddr>().ok());
    let stop = |why: &str| UpdateOutcome::Stop(format!("{code}: {why}").into());
    match code {
        "good" if told.is_some_and(|told| told.is_loopback()) && !address.is_loopback() => {
            stop("the provider has blocked this updater (it answers good 127.0.0.1)")
        }
        "good" | "nochg" => match told {
            Some(told) if told != address => {
                // A secret may look like an address.
                let told = secrets.hide(&told.to_string());
                UpdateOutcome::Failed(
                    format!("{code}: the provider has {told} instead of {address}").into(),
                )
            }
            _ => UpdateOutcome::Done,
        },
        "badauth" => stop("user name or password are wrong"),
        "!donator" => stop("this is only for paying users"),
        "notfqdn" => stop("hostname is no full domain name"),
        "nohost" => stop("there is no such hostname in this account"),
        "numhost" => stop("too many hostnames"),
        "abuse" => stop("the provider has blocked this hostname for abuse"),
        "badagent" => stop("the provider has blocked this updater"),
        "!yours" => stop("the hostname belongs to another account"),
        "badsys" => stop("the provider does not know this kind of update"),
        "911" | "dnserr" => {
            UpdateOutcome::Wait(WAIT, format!("{code}: the provider has a problem").into())
        }
        _ => UpdateOutcome::Failed(
            format!("no answer of the protocol (HTTP status {status}){}", quoted(text, secrets))
                .into(),
        ),
    }
}

/// The beginning of an answer for a person. Secrets go first: of what is cut, half a secret could
/// be left.
fn quoted(text: &str, secrets: &Secrets) -> String {
    const SHOWN: usize = 40;
    let text = secrets.hide(text);
    if text == WITHHELD {
        return format!(": {text}");
    }
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return String::new();
    }
    let cut: String = line.chars().take(SHOWN).collect();
    format!(
        ": '{}{}'",
        crate::base::text::Clean(&cut),
        if cut.len() < line.len() { "…" } else { "" }
    )
}

/// The host of a URL, for logs.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));

    fn answer(body: &str) -> UpdateOutcome {
        outcome(&AnswerReading::DynDns2, 200, body.as_bytes(), IP, &Secrets::default())
    }

    #[test]
    fn what_is_printed_of_a_secret_is_where_it_is_kept() {
        let words = |secret: Secret| format!("{secret:?}");
        assert_eq!(words(Secret::None), "None");
        assert_eq!(words(Secret::Given("hunter2".to_owned())), "Given");
        assert_eq!(words(Secret::File("/hunter2".to_owned())), "File");
        assert_eq!(words(Secret::Credential("hunter2".to_owned())), "Credential");
    }

    #[test]
    fn each_code_of_dyndns2_means_what_the_protocol_says() {
        for body in [
            "good",
            "good 203.0.113.1",
            "nochg",
            "nochg 203.0.113.1\r\n",
            "good\n",
            "nochg 203.0.113.1 extra",
        ] {
            assert_eq!(answer(body), UpdateOutcome::Done, "{body}");
        }
        for code in [
            "badauth", "!donator", "notfqdn", "nohost", "numhost", "abuse", "badagent", "!yours",
            "badsys",
        ] {
            assert!(
                matches!(answer(code), UpdateOutcome::Stop(why) if why.starts_with(code)),
                "{code}"
            );
        }
        for code in ["911", "dnserr"] {
            assert!(
                matches!(answer(code), UpdateOutcome::Wait(for_so_long, _) if for_so_long == WAIT),
                "{code}"
            );
        }
        assert!(matches!(answer("good 127.0.0.1"), UpdateOutcome::Stop(_)));
        assert!(matches!(answer("good 198.51.100.9"), UpdateOutcome::Failed(_)));
        for body in [
            "",
            "goodness",
            "GOOD",
            "ok",
            "<html>good</html>",
            "badauthx",
            "good203.0.113.1",
            "\u{0}good",
        ] {
            assert!(matches!(answer(body), UpdateOutcome::Failed(_)), "{body:?}");
        }
        assert_eq!(
            outcome(&AnswerReading::DynDns2, 401, b"badauth", IP, &Secrets::default()),
            answer("badauth"),
            "whatever the status"
        );
        assert_eq!(
            outcome(&AnswerReading::DynDns2, 500, b"good", IP, &Secrets::default()),
            UpdateOutcome::Done,
            "whatever the status"
        );
    }

    #[test]
    fn a_url_is_done_when_its_whole_answer_is_the_configured_one() {
        let whole = |ok: &[&str], status, body: &str| {
            let reading = AnswerReading::Whole(ok.iter().map(|s| (*s).to_owned()).collect());
            outcome(&reading, status, body.as_bytes(), IP, &Secrets::default())
                == UpdateOutcome::Done
        };
        assert!(whole(&["OK"], 200, " OK\r\n"));
        assert!(
            !whole(&["OK"], 200, "KO")
                && !whole(&["OK"], 200, "OK then")
                && !whole(&["OK"], 200, "NOT OK")
        );
        assert!(!whole(&["OK"], 500, "OK") && !whole(&["OK"], 302, "OK"));
        assert!(whole(&[], 204, "") && !whole(&[], 404, ""));
        assert!(whole(&["a", "b"], 200, "b"));
    }

    #[test]
    fn what_is_put_into_a_url_stays_in_its_place() {
        let protocol = Protocol::Url {
            url: "https://www.duckdns.org/update?domains=x&token={secret}&ip={ip}".to_owned(),
            ok: vec!["good {ip}".to_owned()],
        };
        let update = Update { protocol, secret: Secret::Given("a&b=c/ü".to_owned()), wan: None };
        let request = update.request("2001:db8::1".parse().unwrap(), "a&b=c/ü");
        assert_eq!(
            request.url,
            "https://www.duckdns.org/update?domains=x&token=a%26b%3Dc%2F%C3%BC&ip=2001%3Adb8%3A%3A1"
        );
        assert_eq!(request.reading, AnswerReading::Whole(vec!["good 2001:db8::1".to_owned()]));
        assert_eq!(update.label(), "www.duckdns.org");
        assert!(!format!("{update:?}").contains("a&b"));
    }

    #[test]
    fn dyndns2_asks_about_one_host() {
        let protocol = Protocol::DynDns2 {
            url: "https://members.dyndns.org/nic/update".to_owned(),
            hostname: "home.example.org".to_owned(),
            username: "me".to_owned(),
        };
        let update = Update { protocol, secret: Secret::File("/x".to_owned()), wan: None };
        let request = update.request(IP, "pw");
        assert_eq!(
            request.url,
            "https://members.dyndns.org/nic/update?hostname=home.example.org&myip=203.0.113.1"
        );
        assert_eq!((request.user.as_deref(), request.secret.as_str()), (Some("me"), "pw"));
        assert_eq!(update.label(), "home.example.org at members.dyndns.org");
    }

    #[test]
    fn an_answer_is_shown_cut_and_clean() {
        let UpdateOutcome::Failed(why) = answer(&format!("\u{1b}[31m{}\nsecond", "x".repeat(100)))
        else {
            panic!()
        };
        assert!(
            !why.contains('\u{1b}')
                && !why.contains("second")
                && why.contains('…')
                && why.len() < 140,
            "{why}"
        );
    }
}
