//! The options of every operation (cli 3.2 and the section of each mode).

use super::options::Switch;

const fn flag(long: &'static str, short: Option<char>, doc: &'static str) -> Switch {
    Switch { long, short, argument: None, doc }
}

const fn with(long: &'static str, short: Option<char>, argument: &'static str, doc: &'static str) -> Switch {
    Switch { long, short, argument: Some(argument), doc }
}

const CSV: Switch = flag("csv", None, "Print in CSV format");
const NO_HEADERS: Switch = flag("no-headers", None, "Print no headers");
const NUMERIC: Switch = flag("numeric", None, "Do not resolve names");
const TCP: Switch = flag("tcp", Some('t'), "TCP");
const UDP: Switch = flag("udp", Some('u'), "UDP");
const ICMP: Switch = flag("icmp", Some('i'), "ICMP");
const FORCE: Switch = flag("force", Some('f'), "Skip the checks that only warn");
const QUICK: Switch = flag("quick", Some('q'), "Keep static entries that another mark's set still has");
const MARK: Switch = with("mark", None, "NUM", "Only packets with this mark");
const MAX_ITERATIONS: Switch = with("max-iterations", None, "NUM", "Kept for display");
const NETFILTER: Switch = flag("netfilter", None, "Translate all packets (default)");
const IPTABLES: Switch = flag("iptables", None, "The same here; kept for display");
const POOL6: Switch = with("pool6", Some('6'), "PREFIX", "RFC 6052 prefix");
const ALL: Switch = flag("all", Some('a'), "Print counters that are zero, too");
const EXPLAIN: Switch = flag("explain", Some('e'), "Say what each counts");
const VERBOSE: Switch = flag("verbose", Some('v'), "Say how");

const PORT: Switch = with("net.mcast.port", Some('p'), "STR", "UDP port of the group (default: 6400)");
const DEV_IN: Switch =
    with("net.dev.in", Some('i'), "STR", "Interface to hear the group on; IPv4: an address of it");
const DEV_OUT: Switch = with("net.dev.out", Some('o'), "STR", "Interface to send to the group by; likewise");
const TTL: Switch = with("net.ttl", Some('t'), "INT", "Hops that messages may go (default: 1)");
const KEY_FILE: Switch =
    with("net.key-file", Some('k'), "FILE", "Only messages sealed with the key in this file, and seal ours");
const STATS_ADDRESS: Switch =
    with("stats.address", None, "STR", "Give counters out at this address (default: ::)");
const STATS_PORT: Switch = with("stats.port", None, "STR", "Give counters out at this port (default: 6401)");

/// The options of an operation, without the three that every one has.
pub(super) fn of(mode: &str, operation: &str) -> &'static [Switch] {
    match (mode, operation) {
        ("instance", "add") => &[NETFILTER, IPTABLES, POOL6],
        ("stats", _) => &[ALL, EXPLAIN, CSV, NO_HEADERS],
        ("address", _) => &[VERBOSE],
        ("pool4", "display") => &[TCP, UDP, ICMP, CSV, NO_HEADERS],
        ("pool4", "add") => &[TCP, UDP, ICMP, MARK, MAX_ITERATIONS, FORCE],
        ("pool4", "remove") => &[TCP, UDP, ICMP, MARK, QUICK],
        ("pool4", "flush") => &[QUICK],
        ("bib" | "session", "display") => &[TCP, UDP, ICMP, NUMERIC, CSV, NO_HEADERS],
        ("bib", _) => &[TCP, UDP, ICMP],
        ("session", "proxy") => &[PORT, DEV_IN, DEV_OUT, TTL, KEY_FILE, STATS_ADDRESS, STATS_PORT],
        (_, "display") => &[CSV, NO_HEADERS],
        ("eamt" | "denylist4" | "blacklist4", "add") => &[FORCE],
        ("global", _) | ("file", _) => &[FORCE],
        (_, _) => &[],
    }
}
