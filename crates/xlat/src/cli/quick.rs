//! `xlat nat64` and `xlat siit`: a translator in one command, without a file.

use std::net::IpAddr;

use clap::{ArgGroup, Args};
use ipnet::{Ipv4Net, Ipv6Net};

use super::common::To;
use super::notation;

pub(crate) const NAT64_EXAMPLES: &str = "\
Starts a daemon where none runs. What it makes lasts until the daemon ends; --print gives the file \
that keeps it.

Examples:
  xlat nat64 --pool6 64:ff9b::/96 --pool4 203.0.113.2
  xlat nat64                                   share this host's own addresses
  xlat nat64 --pool4 203.0.113.1:61001-65535 --pool4 203.0.113.8/29
  xlat nat64 --pool4 203.0.113.2 --print > /etc/xlat/xlat.toml";

pub(crate) const SIIT_EXAMPLES: &str = "\
Starts a daemon where none runs. What it makes lasts until the daemon ends; --print gives the file \
that keeps it.

Examples:
  xlat siit --pool6 2001:db8:46::/96
  xlat siit --eam 192.0.2.0/24=2001:db8:4::/120 --eam 198.51.100.8=2001:db8::8
  xlat siit --pool6 2001:db8:46::/96 --denylist4 198.51.100.0/24 --name edge";

/// How it is to run. Which kind of instance is meant is clear already.
#[derive(Debug, Args)]
#[command(mut_arg("siit", |kind| kind.hide(true)), mut_arg("nat64", |kind| kind.hide(true)),
          mut_arg("instance", |name| name.help("Name of the new instance [default: default]")))]
pub(crate) struct Running {
    #[command(flatten)]
    pub(crate) to: To,
    /// The same as --instance
    #[arg(long, value_name = "NAME", conflicts_with = "instance")]
    pub(crate) name: Option<String>,
    /// Translate in this process until told to end, like `xlat run`
    #[arg(long, conflicts_with = "print")]
    pub(crate) foreground: bool,
    /// Print the configuration file that does the same, and do nothing
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Nat64 {
    #[command(flatten)]
    pub(crate) running: Running,
    /// The prefix that stands for the IPv4 Internet (RFC 6052)
    #[arg(short = '6', long, value_name = "PREFIX", default_value = "64:ff9b::/96", value_parser = notation::prefix6)]
    pub(crate) pool6: Ipv6Net,
    /// Address or prefix, also with `:PORTS`, that masks the clients; may be repeated [default: this host's own addresses]
    #[arg(short = '4', long, value_name = "ADDRESS", value_delimiter = ',', value_parser = pool4)]
    pub(crate) pool4: Vec<Pool4>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("mappings").args(["pool6", "eam"]).required(true).multiple(true)))]
pub(crate) struct Siit {
    #[command(flatten)]
    pub(crate) running: Running,
    /// The prefix that stands for the IPv4 Internet (RFC 6052)
    #[arg(short = '6', long, value_name = "PREFIX", value_parser = notation::prefix6)]
    pub(crate) pool6: Option<Ipv6Net>,
    /// A mapping IPV4=IPV6 of addresses or prefixes; may be repeated
    #[arg(short, long, value_name = "IPV4=IPV6", value_delimiter = ',', value_parser = eam)]
    pub(crate) eam: Vec<Eam>,
    /// An IPv4 prefix that pool6 must not translate; may be repeated
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', value_parser = notation::prefix4)]
    pub(crate) denylist4: Vec<Ipv4Net>,
}

/// Addresses with their ports; `None`: as many as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool4 {
    pub(crate) prefix: Ipv4Net,
    pub(crate) ports: Option<(u16, u16)>,
}

/// A mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Eam {
    pub(crate) ipv6: Ipv6Net,
    pub(crate) ipv4: Ipv4Net,
}

fn pool4(word: &str) -> Result<Pool4, String> {
    if word.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
        return Err("pool4 has IPv4 addresses".to_owned());
    }
    let (prefix, ports) = match word.split_once(':') {
        Some((prefix, ports)) => (prefix, Some(notation::ports(ports)?)),
        None => (word, None),
    };
    Ok(Pool4 { prefix: notation::prefix4(prefix)?, ports })
}

fn eam(word: &str) -> Result<Eam, String> {
    let (one, other) = word.split_once('=').ok_or("write IPV4=IPV6, such as 192.0.2.1=2001:db8::1")?;
    let (ipv4, ipv6) = if one.contains(':') { (other, one) } else { (one, other) };
    Ok(Eam { ipv6: notation::prefix6(ipv6)?, ipv4: notation::prefix4(ipv4)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let prefix = "203.0.113.2/32".parse().unwrap();
        assert_eq!(pool4("203.0.113.2"), Ok(Pool4 { prefix, ports: None }));
        assert_eq!(pool4("203.0.113.2:61001-65535"), Ok(Pool4 { prefix, ports: Some((61001, 65535)) }));
        assert_eq!(pool4("203.0.113.2:80").map(|pool4| pool4.ports), Ok(Some((80, 80))));
        for wrong in ["", "203.0.113.2:", "203.0.113.2:65536", "2001:db8::1", "203.0.113.1/24", "x"] {
            assert!(pool4(wrong).is_err(), "{wrong}");
        }
        assert_eq!(eam("192.0.2.1=2001:db8::1"), eam("2001:db8::1=192.0.2.1"));
        for wrong in ["", "=", "192.0.2.1", "192.0.2.1=192.0.2.2", "2001:db8::1="] {
            assert!(eam(wrong).is_err(), "{wrong}");
        }
    }
}
