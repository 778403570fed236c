//! By which name a request may call us. A foreign page can make its own name resolve to this host and then read what is here
//! through the browser of somebody inside (DNS rebinding); what it cannot do is leave its name out of the request. Addresses
//! need no resolving, so they are let through.

use std::net::{Ipv4Addr, Ipv6Addr};

/// True if `authority`, the content of a Host header, is an address, `localhost` or one of `names` (in lower case).
pub(crate) fn is_ours(authority: &str, names: &[String]) -> bool {
    let Some(host) = without_port(authority) else { return false };
    if let Some(inside) = host.strip_prefix('[') {
        return inside.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host.parse::<Ipv4Addr>().is_ok() || host == "localhost" || names.contains(&host)
}

fn without_port(authority: &str) -> Option<&str> {
    let end = authority.find(']').map_or(0, |bracket| bracket + 1);
    match authority.get(end..)?.split_once(':') {
        Some((rest, port)) if port.parse::<u16>().is_ok() => authority.get(..end + rest.len()),
        Some(_) => None,
        None => Some(authority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_resolving_must_be_known() {
        let names = ["t.example.net".to_owned()];
        for good in [
            "127.0.0.1",
            "127.0.0.1:9464",
            "[::1]:9464",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:9464",
            "t.example.net:80",
            "T.Example.Net.",
        ] {
            assert!(is_ours(good, &names), "{good}");
        }
        for bad in [
            "",
            "evil.example.com",
            "evil.example.com:9464",
            "127.0.0.1.evil.example.com",
            "localhost.evil.example.com",
            "127.0.0.1:x",
            "127.0.0.1:9464:1",
            "[::1",
            "[::1]x",
            "::1",
            "user@127.0.0.1",
            "[evil.example.com]",
        ] {
            assert!(!is_ours(bad, &names), "{bad}");
        }
    }
}
