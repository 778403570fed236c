//! Jool's tutorials, played with its own commands as they are printed there: nodes, addresses, routes and command lines are the
//! page's, and what the nodes see is looked at. `modprobe` is a name for the daemon's start here. The iptables rules of that variant
//! are left out: routes bring the packets.

use xlat_netlab::{Namespace, Wire, scenes};

use crate::lab::{Daemon, Folder, cable, eventually, forward, nodes, routes, skipped};
use crate::programs::{answers, fetch, hops, ping, serve};

/// T's part of a tutorial: what loads the module, then the commands.
fn play(folder: &Folder, t: &Namespace, commands: &str) -> Daemon {
    forward(t);
    let daemon = folder.daemon(t);
    folder.script(t, commands);
    daemon
}

/// 1. Stock SIIT, in both variants.
#[test]
fn s01_stock_siit() {
    if skipped() {
        return;
    }
    let [a, t, v] = nodes(["A", "T", "V"]);
    cable((&a, "eth0", &["2001:db8::198.51.100.8/120"]), (&t, "eth0", &["2001:db8::198.51.100.1/120"]));
    cable((&v, "eth0", &["192.0.2.16/24"]), (&t, "eth1", &["192.0.2.1/24"]));
    routes(&a, &["2001:db8::192.0.2.0/120 via 2001:db8::198.51.100.1"]);
    routes(&v, &["198.51.100.0/24 via 192.0.2.1"]);
    let (at_a, at_v) = (serve(&a), serve(&v));
    let folder = Folder::new("s01");
    let _daemon = play(&folder, &t, "modprobe jool_siit");
    for variant in ["--netfilter", "--iptables"] {
        let line = format!("jool_siit instance add \"example\" {variant} --pool6 2001:db8::/96");
        folder.script(&t, &line);
        ping(&v, "198.51.100.8", "198.51.100.8", 63);
        ping(&a, "2001:db8::192.0.2.16", "2001:db8::c000:210", 63);
        assert_eq!(fetch(&a, "[2001:db8::192.0.2.16]", &at_v), "198.51.100.8");
        assert_eq!(fetch(&v, "198.51.100.8", &at_a), "2001:db8::c000:210");
        folder.script(&t, "jool_siit instance remove \"example\"\nmodprobe -r jool_siit");
        assert!(!answers(&v, "198.51.100.8") && !answers(&a, "2001:db8::192.0.2.16"));
    }
}

/// 2. Explicit address mappings, then a pool6 for what has none.
#[test]
fn s02_explicit_address_mappings() {
    if skipped() {
        return;
    }
    let [a, t, v] = nodes(["A", "T", "V"]);
    cable((&a, "eth0", &["2001:db8:6::8/96"]), (&t, "eth0", &["2001:db8:6::1/96"]));
    cable((&v, "eth0", &["192.0.2.16/24"]), (&t, "eth1", &["192.0.2.1/24"]));
    routes(&a, &["2001:db8:4::/120 via 2001:db8:6::1", "64:ff9b::/96 via 2001:db8:6::1"]);
    routes(&v, &["198.51.100.0/24 via 192.0.2.1"]);
    let folder = Folder::new("s02");
    let _daemon = play(
        &folder,
        &t,
        r#"modprobe jool_siit
        jool_siit instance add "example" --netfilter
        jool_siit -i "example" eamt add 2001:db8:6::/120 198.51.100.0/24
        jool_siit -i "example" eamt add 2001:db8:4::/120 192.0.2.0/24"#,
    );
    let rows = folder.script(&t, "jool_siit -i \"example\" eamt display --csv --no-headers");
    assert_eq!(rows, "2001:db8:4::/120,192.0.2.0/24\n2001:db8:6::/120,198.51.100.0/24\n");
    ping(&a, "2001:db8:4::10", "2001:db8:4::10", 63);
    ping(&v, "198.51.100.8", "198.51.100.8", 63);
    v.address("eth0", "203.0.113.5/24").unwrap();
    routes(&t, &["203.0.113.0/24 dev eth1"]);
    assert!(!answers(&a, "64:ff9b::203.0.113.5"));
    folder.script(&t, "jool_siit -i \"example\" global update pool6 64:ff9b::/96");
    ping(&a, "64:ff9b::203.0.113.5", "64:ff9b::cb00:7105", 63);
    ping(&a, "2001:db8:4::10", "2001:db8:4::10", 63);
}

/// 3. Stateful NAT64 with an empty pool4: T's own address and the ports from 61001 on. 18. Its log lines.
#[test]
fn s03_stateful_nat64_and_s18_its_log() {
    if skipped() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    let at_v = serve(&v);
    let folder = Folder::new("s03");
    let mut daemon =
        play(&folder, &t, "modprobe jool\njool instance add \"example\" --netfilter --pool6 64:ff9b::/96");
    daemon.says("Jool: Created instance 'example'.");
    if daemon.without_kernel(&t) {
        return;
    }
    ping(&a, "64:ff9b::203.0.113.16", "64:ff9b::cb00:7110", 63);
    let bib = folder.script(&t, "jool -i example bib display --icmp --numeric");
    assert!(bib.lines().count() == 1 && bib.starts_with("[Dynamic ICMP] 203.0.113.1#"), "{bib}");
    let mask: u16 = bib.split(['#', ' ']).nth(3).unwrap().parse().unwrap();
    assert!(mask >= 61001, "{bib}");
    let sessions = folder.script(&t, "jool -i example session display --icmp --numeric");
    assert!(sessions.contains(&format!("\nLocal: 203.0.113.1#{mask}\t64:ff9b::cb00:7110#")), "{sessions}");
    let seen = fetch(&a, "[64:ff9b::203.0.113.16]", &at_v);
    assert_eq!(seen, "203.0.113.1");
    // IPv4 hosts cannot begin: what is not in the BIB is the host's.
    v.run("curl -s -m 2 http://203.0.113.1:61500").unwrap_err();

    folder.script(
        &t,
        "jool -i example global update logging-bib true
        jool -i example global update logging-session true
        jool -i example global update icmp-timeout 1",
    );
    daemon.says("Jool: Deleted instance 'example'.");
    daemon.says("Jool: Replaced instance 'example'.");
    eventually("the first session's end", || {
        folder.script(&t, "jool -i example session display --icmp --csv --no-headers").is_empty()
    });
    ping(&a, "64:ff9b::203.0.113.16", "64:ff9b::cb00:7110", 63);
    daemon.says(" - Added session 2001:db8::8#");
    let mapped = daemon.says(" - Mapped 2001:db8::8#");
    assert!(mapped.contains("example ") && mapped.contains(" to 203.0.113.1#"), "{mapped}");
    assert!(mapped.trim_end().ends_with("(ICMP)") || mapped.trim_end().ends_with("ICMP"), "{mapped}");
    daemon.says(" - Forgot session 2001:db8::8#");
    daemon.says(" - Forgot 2001:db8::8#");

    folder.script(&t, "jool instance remove \"example\"");
    daemon.says("Jool: Deleted instance 'example'.");
    assert!(!answers(&a, "64:ff9b::203.0.113.16"));
}

/// One wire with A, T and V.
fn one_wire(t_addresses: &[&str]) -> (Wire, [Namespace; 3]) {
    let (wire, [a, t, v]) = (Wire::new().unwrap(), nodes(["A", "T", "V"]));
    for node in [&a, &t, &v] {
        wire.attach(node, "eth0").unwrap();
    }
    a.address("eth0", "2001:db8::8/96").unwrap();
    t_addresses.iter().for_each(|address| t.address("eth0", address).unwrap());
    v.address("eth0", "203.0.113.16/24").unwrap();
    routes(&a, &["64:ff9b::/96 via 2001:db8::1"]);
    (wire, [a, t, v])
}

/// 4.1. A single interface, an empty pool4.
#[test]
fn s04_single_interface() {
    if skipped() {
        return;
    }
    let (_wire, [a, t, v]) = one_wire(&["2001:db8::1/96", "203.0.113.1/24"]);
    let at_v = serve(&v);
    let folder = Folder::new("s04a");
    let commands = "modprobe jool\njool instance add --netfilter --pool6 64:ff9b::/96\njool instance status";
    let daemon = play(&folder, &t, commands);
    if daemon.without_kernel(&t) {
        return;
    }
    ping(&a, "64:ff9b::203.0.113.16", "64:ff9b::cb00:7110", 63);
    assert_eq!(fetch(&a, "[64:ff9b::203.0.113.16]", &at_v), "203.0.113.1");
    ping(&v, "203.0.113.1", "203.0.113.1", 64);
}

/// 4.2. The old form: a second address that is the translator's as a whole.
#[test]
fn s04_single_interface_in_its_old_form() {
    if skipped() {
        return;
    }
    let (_wire, [a, t, v]) = one_wire(&["2001:db8::1/96", "203.0.113.1/24", "203.0.113.2/24"]);
    let (at_v, at_t) = (serve(&v), serve(&t));
    forward(&t);
    assert!(!answers(&a, "64:ff9b::203.0.113.16"));
    let folder = Folder::new("s04b");
    let daemon = play(
        &folder,
        &t,
        "modprobe jool
        jool instance add --netfilter --pool6 64:ff9b::/96
        jool pool4 add 203.0.113.2 1-65535 --tcp --force
        jool pool4 add 203.0.113.2 1-65535 --udp --force
        jool pool4 add 203.0.113.2 0-65535 --icmp",
    );
    if daemon.without_kernel(&t) {
        return;
    }
    ping(&a, "64:ff9b::203.0.113.16", "64:ff9b::cb00:7110", 63);
    assert_eq!(fetch(&a, "[64:ff9b::203.0.113.16]", &at_v), "203.0.113.2");
    // T goes on by its own address, and answers for both.
    ping(&v, "203.0.113.1", "203.0.113.1", 64);
    ping(&v, "203.0.113.2", "203.0.113.2", 64);
    // T itself as an IPv4 host, and A itself by a hairpin.
    ping(&a, "64:ff9b::203.0.113.1", "64:ff9b::cb00:7101", 63);
    assert_eq!(fetch(&a, "[64:ff9b::203.0.113.1]", &at_t), "203.0.113.2");
    // A UDP port where nobody listens: T's own error comes back, too.
    let route = a.run("traceroute -n -q 1 -f 2 -m 2 -w 3 64:ff9b::203.0.113.1").unwrap();
    assert!(route.contains(" 2  64:ff9b::cb00:7101  "), "{route}");
    ping(&a, "64:ff9b::203.0.113.2", "64:ff9b::cb00:7102", 63);
    // Hop limits: T is the first router, and big packets come back whole.
    assert_eq!(hops(&a, "64:ff9b::203.0.113.16", 1), "2001:db8::1");
    let large = a.run("ping -n -c 1 -w 3 -s 3000 64:ff9b::203.0.113.16").unwrap();
    assert!(large.contains("3008 bytes from 64:ff9b::cb00:7110"), "{large}");
}

/// 5. DNS64: what a resolver makes of the names of IPv4-only servers crosses the translator, all else does not.
#[test]
fn s05_addresses_from_a_dns64() {
    if skipped() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    v.address("eth0", "2001:db8:5::16/64").unwrap();
    t.address("eth1", "2001:db8:5::1/64").unwrap();
    routes(&a, &["2001:db8:5::/64 via 2001:db8::1"]);
    routes(&v, &["2001:db8::/96 via 2001:db8:5::1"]);
    let at_v = serve(&v);
    let folder = Folder::new("s05");
    let daemon = play(&folder, &t, "modprobe jool\njool instance add --netfilter --pool6 64:ff9b::/96");
    if daemon.without_kernel(&t) {
        return;
    }
    let resolved = |name: &str, address: &str| {
        let words = format!("--resolve {name}:80:[{address}] http://{name}/");
        at_v.peer(|| a.run(&format!("curl -sf -m 5 {words}")).map(drop).unwrap())
    };
    assert_eq!(resolved("four.example", "64:ff9b::cb00:7110"), "203.0.113.1");
    assert_eq!(resolved("both.example", "2001:db8:5::16"), "2001:db8::8");
}

/// 6. 464XLAT.
#[test]
fn s06_464xlat() {
    if skipped() {
        return;
    }
    let [n6, r, plat, n4] = nodes(["n6", "R", "PLAT", "n4"]);
    cable(
        (&n6, "eth0", &["2001:db8:1::8/64", "192.168.0.8/24"]),
        (&r, "eth0", &["192.168.0.1/24", "2001:db8:1::1/64"]),
    );
    cable((&r, "eth1", &["2001:db8:100::1/64"]), (&plat, "eth0", &["2001:db8:100::2/64"]));
    cable((&plat, "eth1", &["203.0.113.1/24", "203.0.113.2/24"]), (&n4, "eth0", &["203.0.113.24/24"]));
    routes(&n6, &["default via 2001:db8:1::1", "default via 192.168.0.1"]);
    routes(&r, &["64:ff9b::/96 via 2001:db8:100::2"]);
    routes(&plat, &["2001:db8:1::/64 via 2001:db8:100::1", "2001:db8:2::/64 via 2001:db8:100::1"]);
    routes(&n4, &["default via 203.0.113.2"]);
    let at_n4 = serve(&n4);
    let folder = Folder::new("s06");
    let _clat = play(
        &folder,
        &r,
        "modprobe jool_siit
        jool_siit instance add --netfilter --pool6 64:ff9b::/96
        jool_siit eamt add 192.168.0.8 2001:db8:2::",
    );
    let daemon = play(
        &folder,
        &plat,
        "modprobe jool
        jool instance add --netfilter --pool6 64:ff9b::/96
        jool pool4 add 203.0.113.2 61001-65535 --tcp
        jool pool4 add 203.0.113.2 61001-65535 --udp
        jool pool4 add 203.0.113.2 61001-65535 --icmp",
    );
    if daemon.without_kernel(&plat) {
        return;
    }
    ping(&n6, "203.0.113.24", "203.0.113.24", 62);
    ping(&n6, "64:ff9b::203.0.113.24", "64:ff9b::cb00:7118", 62);
    assert_eq!(fetch(&n6, "203.0.113.24", &at_n4), "203.0.113.2");
    let clients = folder.script(&plat, "jool session display --csv --no-headers");
    assert!(clients.contains("TCP,2001:db8:2::,"), "{clients}");
    let clients = folder.script(&plat, "jool session display --icmp --csv --no-headers");
    assert!(clients.contains("ICMP,2001:db8:2::,") && clients.contains("ICMP,2001:db8:1::8,"), "{clients}");
}

/// 7. SIIT-DC, and 8. its dual translation.
#[test]
fn s07_siit_dc_and_s08_dual_translation() {
    if skipped() {
        return;
    }
    let [n4, br, s6, er, s4] = nodes(["n4", "BR", "s6", "ER", "s4"]);
    cable((&n4, "eth0", &["203.0.113.50/24"]), (&br, "eth0", &["203.0.113.1/24"]));
    cable((&br, "eth1", &["2001:db8:12:34::ff/64"]), (&s6, "eth0", &["2001:db8:12:34::1/64"]));
    cable((&br, "eth2", &["2001:db8:56::1/64"]), (&er, "eth0", &["2001:db8:56::2/64"]));
    cable((&er, "eth1", &["198.51.100.254/24"]), (&s4, "eth0", &["198.51.100.1/24"]));
    routes(&n4, &["192.0.2.0/24 via 203.0.113.1"]);
    routes(&s6, &["default via 2001:db8:12:34::ff"]);
    routes(&br, &["2001:db8:3333::464:0/120 via 2001:db8:56::2"]);
    routes(&er, &["2001:db8:46::/96 via 2001:db8:56::1"]);
    routes(&s4, &["default via 198.51.100.254"]);
    let (at_s6, at_s4) = (serve(&s6), serve(&s4));
    let folder = Folder::new("s07");
    let _border = play(
        &folder,
        &br,
        "modprobe jool_siit
        jool_siit instance add --netfilter --pool6 2001:db8:46::/96
        jool_siit eamt add 192.0.2.1 2001:db8:12:34::1",
    );
    ping(&n4, "192.0.2.1", "192.0.2.1", 63);
    assert_eq!(fetch(&n4, "192.0.2.1", &at_s6), "2001:db8:46::cb00:7132");
    let _edge = play(
        &folder,
        &er,
        "jool_siit instance add --netfilter --pool6 2001:db8:46::/96
        jool_siit eamt add 198.51.100.0/24 2001:db8:3333::464:0/120",
    );
    folder.script(&br, "jool_siit eamt add 192.0.2.2 2001:db8:3333::464:1");
    ping(&n4, "192.0.2.2", "192.0.2.2", 62);
    assert_eq!(fetch(&n4, "192.0.2.2", &at_s4), "203.0.113.50");
}

/// 9. Node-based translation: the translator in a namespace.
#[test]
fn s09_node_based_translation() {
    if skipped() {
        return;
    }
    let [main, joolns, peer] = nodes(["main", "joolns", "peer"]);
    cable((&main, "eth0", &["2001:db8:1::2/32"]), (&peer, "eth0", &["2001:db8:2::4/32"]));
    cable(
        (&main, "to_jool", &["192.0.2.1/24", "2001:db8:f::1/64"]),
        (&joolns, "to_world", &["192.0.2.2/24", "2001:db8:f::2/64"]),
    );
    forward(&main);
    main.run("sysctl -qw net.ipv6.conf.eth0.proxy_ndp=1").unwrap();
    main.ip("-6 neigh add proxy 2001:db8:1::3 dev eth0").unwrap();
    routes(&main, &["2001:db8:1::3/128 via 2001:db8:f::2 dev to_jool", "default via 192.0.2.2 dev to_jool"]);
    routes(&joolns, &["default via 2001:db8:f::1 dev to_world"]);
    let at_peer = serve(&peer);
    let folder = Folder::new("s09");
    let _daemon = play(
        &folder,
        &joolns,
        "modprobe jool_siit
        jool_siit instance add --netfilter
        jool_siit eamt add 192.0.2.1   2001:db8:1::3
        jool_siit eamt add 203.0.113.2 2001:db8:2::4",
    );
    ping(&main, "203.0.113.2", "203.0.113.2", 62);
    assert_eq!(fetch(&main, "203.0.113.2", &at_peer), "2001:db8:1::3");
}

/// 12. Several NAT64s on one machine, and the list of instances.
#[test]
fn s12_several_nat64s_in_namespaces() {
    if skipped() {
        return;
    }
    let [t, blue, red] = scenes::two_translators().unwrap();
    let folder = Folder::new("s12");
    let in_blue = play(&folder, &blue, "jool instance add --netfilter --pool6 2001:db8:64::/96");
    let _in_red = play(&folder, &red, "jool instance add --netfilter --pool6 2001:db8:46::/96");
    if in_blue.without_kernel(&blue) {
        return;
    }
    ping(&t, "2001:db8:64::192.0.2.8", "2001:db8:64::c000:208", 63);
    ping(&t, "2001:db8:46::203.0.113.8", "2001:db8:46::cb00:7108", 63);
    let globals = folder.script(&blue, "jool global display");
    assert!(globals.contains("  pool6: 2001:db8:64::/96\n"), "{globals}");
    let sessions = folder.script(&blue, "jool session display --icmp --numeric");
    assert!(sessions.contains("Remote: 192.0.2.8#") && sessions.contains("\t2001:db8:1::8#"), "{sessions}");
    assert!(
        sessions.contains("Local: 192.0.2.1#") && sessions.contains("\t2001:db8:64::c000:208#"),
        "{sessions}"
    );

    let _in_t = play(
        &folder,
        &t,
        "jool_siit instance add --iptables
        jool_siit instance add --iptables alpha
        jool_siit instance add --netfilter beta",
    );
    folder.script(&blue, "jool_siit instance add --netfilter alpha");
    let list = |node| folder.script(node, "jool_siit instance display --csv --no-headers | cut -d, -f2-");
    let of_t = "default,iptables\nalpha,iptables\nbeta,netfilter\n";
    assert_eq!((list(&t).as_str(), list(&blue).as_str()), (of_t, "alpha,netfilter\n"));
    folder.script(&t, "jool_siit instance remove alpha");
    assert_eq!(list(&t), "default,iptables\nbeta,netfilter\n");
    folder.script(&t, "jool_siit instance flush");
    assert_eq!((list(&t).as_str(), list(&blue).as_str()), ("", "alpha,netfilter\n"));
}

/// 13. The iptables variant with an explicit pool4 that shares T's address, and ports that stay T's.
#[test]
fn s13_part_of_an_own_address() {
    if skipped() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    let (at_v, at_t) = (serve(&v), serve(&t));
    let folder = Folder::new("s13");
    let daemon = play(
        &folder,
        &t,
        "modprobe jool
        jool instance add alpha --iptables --pool6 64:ff9b::/96
        jool -i alpha pool4 add --tcp 203.0.113.1 61001-65535
        jool -i alpha pool4 add --udp 203.0.113.1 61001-65535
        jool -i alpha pool4 add --icmp 203.0.113.1 0-65535",
    );
    if daemon.without_kernel(&t) {
        return;
    }
    ping(&a, "64:ff9b::203.0.113.16", "64:ff9b::cb00:7110", 63);
    assert_eq!(fetch(&a, "[64:ff9b::203.0.113.16]", &at_v), "203.0.113.1");
    assert_eq!(fetch(&v, "203.0.113.1", &at_t), "203.0.113.16");
    assert_eq!(
        folder.script(&t, "jool instance display --csv | cut -d, -f2-"),
        "Name,Framework\nalpha,iptables\n"
    );
}

/// 14. Marks: clients of two prefixes appear by two addresses, others not at all.
#[test]
fn s14_marks() {
    if skipped() || xlat_netlab::missing_programs(&["nft"]) == ["nft"] {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    for address in ["2001:db8::22/96", "2001:db8::33/96"] {
        a.address("eth0", address).unwrap();
    }
    let at_v = serve(&v);
    let folder = Folder::new("s14");
    routes(&v, &["192.0.2.0/24 via 203.0.113.1"]);
    let mut daemon = play(
        &folder,
        &t,
        "modprobe jool
        nft add table ip6 mangle
        nft add chain ip6 mangle prerouting '{ type filter hook prerouting priority mangle; }'
        nft add rule ip6 mangle prerouting ip6 saddr 2001:db8::22 meta mark set 2
        nft add rule ip6 mangle prerouting ip6 saddr 2001:db8::33 meta mark set 3
        jool instance add --netfilter --pool6 64:ff9b::/96
        jool pool4 add --tcp 192.0.2.1 1-65535 --mark 2 --force
        jool pool4 add --tcp 192.0.2.2 1-65535 --mark 3 --force",
    );
    if daemon.without_kernel(&t) {
        return;
    }
    let from = |source: &str| {
        let line = format!("curl -sf -m 5 --interface {source} http://[64:ff9b::203.0.113.16]");
        at_v.peer(|| a.run(&line).map(drop).unwrap())
    };
    assert_eq!((from("2001:db8::22").as_str(), from("2001:db8::33").as_str()), ("192.0.2.1", "192.0.2.2"));
    a.run("curl -sf -m 2 --interface 2001:db8::8 http://[64:ff9b::203.0.113.16]").unwrap_err();
    a.run("ping -n -c 1 -w 1 -I 2001:db8::22 64:ff9b::203.0.113.16").unwrap_err();
    // Both marks behind one address: ports are shared, each goes to one client at a time.
    folder.script(
        &t,
        "jool pool4 add --tcp 192.0.2.7 1000-1003 --mark 2
        jool pool4 add --tcp 192.0.2.7 1000-1003 --mark 3
        jool pool4 remove --tcp 192.0.2.1 --mark 2
        jool pool4 remove --tcp 192.0.2.2 --mark 3",
    );
    assert_eq!((from("2001:db8::22").as_str(), from("2001:db8::33").as_str()), ("192.0.2.7", "192.0.2.7"));
    let masks = folder.script(&t, "jool bib display --csv --no-headers | cut -d, -f5");
    let mut masks: Vec<&str> = masks.lines().collect();
    let all = masks.len();
    masks.dedup();
    assert!(all == 2 && masks.len() == 2, "{masks:?}");
    daemon.says("Jool: Created instance 'default'.");
}

/// 15. Port forwarding.
#[test]
fn s15_port_forwarding() {
    if skipped() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    a.address("eth0", "2001:db8::3/96").unwrap();
    routes(&v, &["192.0.2.4/32 via 203.0.113.1"]);
    let at_a = serve(&a);
    let folder = Folder::new("s15");
    let _daemon = play(
        &folder,
        &t,
        "modprobe jool
        jool instance add --netfilter --pool6 64:ff9b::/96
        jool pool4 add --tcp 192.0.2.4 80
        jool bib add 192.0.2.4#80 2001:db8::3#80 --tcp",
    );
    assert_eq!(fetch(&v, "192.0.2.4", &at_a), "64:ff9b::cb00:7110");
    let bib = folder.script(&t, "jool bib display --numeric");
    assert_eq!(bib, "[Static TCP] 192.0.2.4#80 - 2001:db8::3#80\n");
    let again = folder.shell(&t, "jool bib add 192.0.2.4#80 2001:db8::4#80 --tcp").output().unwrap();
    assert_eq!(again.status.code(), Some(17));
}

/// 16. Persistence: what the packaged service does, and what its script reads.
#[test]
fn s16_persistence() {
    if skipped() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    let folder = Folder::new("s16");
    std::fs::write(
        folder.path().join("jool.conf"),
        r#"{"instance": "boot", "framework": "netfilter", "global": {"pool6": "64:ff9b::/96"},
            "pool4": [{"comment": "one address", "protocol": "ICMP", "prefix": "192.0.2.1", "port range": "0-65535"}]}"#,
    )
    .unwrap();
    let _daemon = play(&folder, &t, "modprobe jool\njool file handle jool.conf");
    routes(&v, &["192.0.2.0/24 via 203.0.113.1"]);
    let list = folder.script(&t, "jool instance display --csv | cut -d, -f2-");
    assert_eq!(list, "Name,Framework\nboot,netfilter\n");
    assert_eq!(folder.script(&t, "jool -f jool.conf instance status"), "Running\n");
    ping(&a, "64:ff9b::203.0.113.16", "64:ff9b::cb00:7110", 63);
    folder.script(&t, "jool -f jool.conf instance remove");
    assert!(folder.script(&t, "jool -f jool.conf instance status").starts_with("Dead\n"));
    assert!(!answers(&a, "64:ff9b::203.0.113.16"));
}

/// 21. The network of Jool's own packet tests: pool6 of length 40, with T's network in it.
#[test]
fn s21_siit_with_a_short_pool6() {
    if skipped() {
        return;
    }
    let [n6, t, n4] = nodes(["n6", "T", "n4"]);
    cable((&n6, "eth0", &["2001:db8:1c0:2:21::/64"]), (&t, "eth0", &["2001:db8:1c0:2:1::/64"]));
    cable((&n4, "eth0", &["198.51.100.2/24"]), (&t, "eth1", &["198.51.100.1/24"]));
    routes(&t, &["2001:db8:3::/120 via 2001:db8:1c0:2:21::"]);
    routes(&n6, &["2001:db8:1c6:3364::/40 via 2001:db8:1c0:2:1::"]);
    routes(&n4, &["192.0.2.0/24 via 198.51.100.1"]);
    let folder = Folder::new("s21");
    let _daemon = play(&folder, &t, "jool_siit instance add --netfilter -6 2001:db8:100::/40");
    ping(&n6, "2001:db8:1c6:3364:2::", "2001:db8:1c6:3364:2::", 63);
    ping(&n4, "192.0.2.33", "192.0.2.33", 63);
}
