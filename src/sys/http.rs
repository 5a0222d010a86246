//! One HTTP or HTTPS request for the external address.
//!
//! ureq blocks, and TLS is the largest and most exposed code that is linked: never to be called from the loop, only by
//! a process that does nothing else and ends soon.

use std::net::IpAddr;
use std::time::Duration;

use ureq::Agent;
use ureq::config::IpFamily;

use crate::external::{self, Family, LONGEST};

/// From name lookup to the last byte.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks `url`, over IPv4 or IPv6, for the address it sees us come from. No proxy, no redirect, success (2xx) only.
///
/// # Errors
/// What went wrong, for a person.
pub fn external_address(url: &str, family: Family) -> Result<IpAddr, String> {
    if url.starts_with("https://") {
        // ureq would panic.
        if !cfg!(feature = "tls") {
            return Err("this build of imon has no TLS: use an http:// source, or the full build".to_owned());
        }
    } else if !url.starts_with("http://") {
        return Err("a source begins with https:// or http://".to_owned());
    }
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(LIMIT))
        .ip_family(if family == Family::V4 { IpFamily::Ipv4Only } else { IpFamily::Ipv6Only })
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("imon/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(8 * 1024)
        .input_buffer_size(8 * 1024)
        .output_buffer_size(8 * 1024)
        .build()
        .into();
    let mut response = agent.get(url).call().map_err(|e| e.to_string())?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("the answer has HTTP status {}", status.as_u16()));
    }
    // One byte more than is allowed: the limit itself is an error for ureq.
    let page = response.body_mut().with_config().limit(LONGEST as u64 + 1).read_to_vec();
    let page = match page {
        Ok(page) => page,
        Err(ureq::Error::BodyExceedsLimit(_)) => return Err(external::Refusal::TooLong.to_string()),
        Err(e) => return Err(e.to_string()),
    };
    external::address(&page, family).map_err(|refusal| refusal.to_string())
}
