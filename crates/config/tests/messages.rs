//! What a person reads when a file is wrong, message by message. `INSTA_UPDATE=always` accepts changes.

use xlat_config::{Hint, HostFacts, Severity, check_host, load};

/// Every file with the messages it causes.
fn transcript(name: &str, files: &[&str]) -> String {
    let mut transcript = String::new();
    for text in files {
        let messages = match load(name, text, &Hint::default()) {
            Ok(loaded) => loaded.warnings.to_string(),
            Err(diagnostics) => diagnostics.to_string(),
        };
        assert!(!messages.is_empty(), "nothing is wrong with {text}");
        transcript += &format!("{}\n---\n{messages}\n======\n", text.trim());
    }
    transcript
}

/// The head of a short instance, with a line of its own to be wrong.
fn nat64(line: &str) -> String {
    format!("[[instance]]\nname = 'n'\ntype = 'nat64'\n{line}\n[instance.global]\npool6 = '64:ff9b::/96'\n")
}

fn siit(line: &str) -> String {
    format!("[[instance]]\nname = 's'\ntype = 'siit'\n{line}\n[instance.global]\npool6 = '2001:db8::/96'\n")
}

fn global(kind: &str, line: &str) -> String {
    format!("[[instance]]\nname = 'g'\ntype = '{kind}'\nglobal.pool6 = '64:ff9b::/96'\nglobal.{line}\n")
}

fn jool(members: &str) -> String {
    format!("{{ \"instance\": \"j\", \"framework\": \"netfilter\", {members} }}")
}

fn snapshot(name: &str, file: &str, files: &[String]) {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    insta::assert_snapshot!(name, transcript(file, &files));
}

#[test]
fn shape_of_a_toml_file() {
    snapshot(
        "toml_shape",
        "xlat.toml",
        &[
            String::new(),
            "instance = 3".to_owned(),
            "[instance]\nname = 'n'".to_owned(),
            "[[instanze]]\nname = 'n'".to_owned(),
            "[[instance]]\nname = 'n'\ntype = 'nat46'".to_owned(),
            "[[instance]]\ntype = 'siit'".to_owned(),
            "[[instance]]\nname = 'much too long a name'\ntype = 'siit'\neamt = []".to_owned(),
            "[[instance]]\nname = 'n'\n[instance.global]\npool6 = '64:ff9b::/96'".to_owned(),
            "[[instance]]\nname = 'n'\ntype = 'nat64'".to_owned(),
            "[[instance]]\nname = 'n'\ntype = 'siit'".to_owned(),
            "[[instance]]\nname = n\ntype = \"siit\nx y\n".to_owned(),
            "[[instance]]\nname = 'a'\nname = 'b'".to_owned(),
            "[[instance]]\nname = 'a'\ninstance = 'b'\ntype = 'siit'\neamt = []\n'comment' = 1".to_owned(),
            "[device]\nname = 'xlat/0'\nqueues = 0\nproxy-interface = 1\nroutes = ['192.0.2.1/24']\nqueue = 1".to_owned(),
            nat64("pool6 = '64:ff9b::/96'"),
            nat64("eamt = []\nframework = 'netfilter'"),
            siit("pool4 = []\nmax-sessions = 3"),
        ],
    );
}

#[test]
fn options() {
    let mut files: Vec<String> = [
        "tos = 256",
        "tos = 'x'",
        "tos = 1.5",
        "f-args = -1",
        "f_args = 1",
        "manually-enabled = 'true'",
        "manually-enabled = [true]",
        "lowest-ipv6-mtu = 1279",
        "tcp-est-timeout = '1:59:59'",
        "udp-timeout = 300",
        "icmp-timeout = '1 min'",
        "mtu-plateaus = [0]",
        "mtu-plateaus = [70000]",
        "udp-timout = '0:05:00'",
        "amend-udp-checksum-zero = true",
    ]
    .map(|line| global("nat64", line))
    .to_vec();
    files.extend(
        [
            "eam-hairpin-mode = 'simpel'",
            "eam-hairpin-mode = 'none'",
            "rfc6791v4-prefix = '127.0.0.0/8'",
            "rfc6791v4-prefix = '2001:db8::'",
            "rfc6791v6-prefix = '192.0.2.1'",
            "rfc6791v6-prefix = { }",
            "rfc6791v4-prefix = '192.0.2.0/24'\nglobal.rfc6791v4-dummy = true",
            "f-args = 1",
        ]
        .map(|line| global("siit", line)),
    );
    for pool6 in [
        "64:ff9b::1/96",
        "64:ff9b::/95",
        "64:ff9b::/129",
        "2001:db8:0:0:100::/96",
        "64:ff9b::x/96",
        "null",
        "fe80::/64",
    ] {
        files.push(format!("[[instance]]\nname = 'n'\ntype = 'nat64'\nglobal.pool6 = '{pool6}'"));
    }
    snapshot("options", "xlat.toml", &files);
}

#[test]
fn lists() {
    snapshot(
        "lists",
        "xlat.toml",
        &[
            siit("eamt = ['192.0.2.1', '192.0.2.1/24 2001:db8::/120', '192.0.2.0/24 2001:db8::/121', 1, {}]"),
            siit("eamt = ['192.0.2.1 2001:db8::1', '192.0.2.2 2001:db8::1']"),
            siit("eamt = ['192.0.2.1 2001:db8::1', '192.0.2.1 2001:db8::2']"),
            siit("eamt = ['192.0.2.0/24 2001:db8:1::/120', '192.0.2.9 2001:db8::9']"),
            siit("denylist4 = ['127.0.0.1', '192.0.2.0/33', 'x']"),
            siit("denylist4 = ['127.0.0.1']"),
            nat64("pool4 = ['192.0.2.1/24', '224.0.0.0/24', { ports = '1-2' }]"),
            nat64(
                "pool4 = [{ prefix = '192.0.2.1', protocol = 'SCTP', port-range = '1-x', mark = 4294967296 }]",
            ),
            nat64("pool4 = [{ prefix = '192.0.2.1', port-range = 80, max-iterations = 'lots' }]"),
            nat64("pool4 = [{ prefix = '192.0.2.1', port-range = '0', max-iterations = 0 }]"),
            nat64("pool4 = [{ prefix = '192.0.2.1', port-range = '0' }, '10.0.0.0/8']"),
            nat64(
                "bib = [{ protocol = 'TCP', ipv6-address = '2001:db8::1', ipv4-address = '192.0.2.1#65536' }]",
            ),
            nat64(
                "pool4 = ['192.0.2.1']\nbib = [\n\
                 { protocol = 'TCP', ipv6-address = '2001:db8::1#80', ipv4-address = '192.0.2.2#80' },\n\
                 { protocol = 'UDP', ipv6-address = '2001:db8::1#80', ipv4-address = '192.0.2.1#80' },\n\
                 { protocol = 'UDP', ipv6-address = '2001:db8::1#80', ipv4-address = '192.0.2.1#81' },\n\
                 { protocol = 'UDP', ipv6-address = '2001:db8::2#80', ipv4-address = '192.0.2.1#80' },\n\
                 { protocol = 'UDP', ipv6-address = '2001:db8::2#0', ipv4-address = '192.0.2.1#82' },\n]",
            ),
            format!("{}{}", nat64("pool4 = ['192.0.2.1']"), nat64("pool4 = ['192.0.2.0/31']")),
            format!("{}{}", nat64("pool4 = ['192.0.2.1']"), siit("").replace("2001:db8:", "64:ff9b:")),
        ],
    );
}

#[test]
fn jool_files() {
    snapshot(
        "jool",
        "jool.conf",
        &[
            "{".to_owned(),
            "{}".to_owned(),
            "{ 'instance': 1 }".to_owned(),
            "{ \"instance\": \"x\", }".to_owned(),
            "{ \"instance\": \"x\" \"framework\": 1 }".to_owned(),
            "{ \"instance\": 1, \"framework\": \"Netfilter\", \"eamt\": {} }".to_owned(),
            "{ \"instance\": \"a\", \"Instance\": \"b\", \"framework\": \"iptables\", \"eamt\": [] }"
                .to_owned(),
            jool("\"pol4\": [], \"limits\": {}, \"type\": \"siit\""),
            jool(
                "\"eamt\": [], \"global\": { \"rfc6791v4-dummy\": true, \"TOS\": 1, \"tos\": 2, \"manually-enabled\": 1 }",
            ),
            jool("\"pool4\": [ { \"Prefix\": \"192.0.2.1\", \"mark\": -1 }, 7 ], \"eamt\": []"),
            jool(
                "\"pool4\": [ { \"protocol\": \"TCP\", \"prefix\": \"192.0.2.1\", \"port range\": 80, \"mark\": 1.5 } ]",
            ),
            jool("\"pool4\": \"192.0.2.1\", \"global\": null"),
            jool("\"eamt\": [ { \"ipv6 prefix\": \"2001:db8::\" } ]"),
            jool("\"bib\": [ { \"ipv6 address\": null } ]"),
        ],
    );
}

#[test]
fn text_that_is_not_utf8() {
    let error = load("xlat.toml", b"# caf\xe9", &Hint::default()).unwrap_err();
    insta::assert_snapshot!("not_utf8", error.to_string());
}

#[test]
fn the_host() {
    let host = HostFacts {
        interfaces: ["lo", "eth0", "eth1"].map(str::to_owned).to_vec(),
        addresses4: vec!["203.0.113.1/24".parse().unwrap()],
        addresses6: vec!["2001:db8::1/96".parse().unwrap()],
        ephemeral_ports: 32768..=60999,
        no_sharing: Some("this kernel has no eBPF".to_owned()),
    };
    let mut transcript = String::new();
    for text in [
        format!("[fast-path]\ninterfaces = ['eht0']\n{}", nat64("pool4 = ['203.0.113.2']")),
        format!("[device]\nproxy-interface = 'eht0'\n{}", nat64("pool4 = ['203.0.113.2']")),
        nat64(""),
        nat64("pool4 = ['203.0.113.1']"),
        nat64("pool4 = [{ prefix = '203.0.113.1', protocol = 'UDP', port-range = '61001-65535' }]"),
        siit("eamt = ['203.0.113.0/24 2001:db8:1::/120', '198.51.100.0/24 2001:db8::/120']"),
    ] {
        let loaded = load("xlat.toml", &text, &Hint::default()).unwrap_or_else(|error| panic!("{error}"));
        for found in check_host(&loaded.config, &host) {
            transcript += &format!("{}\n", loaded.source.locate(found));
        }
        transcript += "======\n";
    }
    insta::assert_snapshot!("host", transcript);

    let sharing = HostFacts { no_sharing: None, ..host.clone() };
    let shared = load("xlat.toml", nat64("pool4 = ['203.0.113.1']"), &Hint::default()).unwrap();
    let found = check_host(&shared.config, &sharing);
    assert_eq!(found.len(), 1, "the ephemeral ports of TCP and UDP, told once");
    insta::assert_snapshot!("host_sharing", shared.source.locate(found[0].clone()).to_string());
    let apart = load(
        "xlat.toml",
        nat64("pool4 = [{ prefix = '203.0.113.1', port-range = '61001-65535' }]"),
        &Hint::default(),
    );
    assert_eq!(check_host(&apart.unwrap().config, &sharing), []);

    let good = load("xlat.toml", nat64("pool4 = ['203.0.113.2']"), &Hint::default()).unwrap();
    assert_eq!(check_host(&good.config, &host), []);
    assert!(good.warnings.list.iter().all(|warning| warning.severity == Severity::Warning));
}

/// Synchronisation is there, so nothing is said against it.
#[test]
fn session_synchronisation_is_no_warning() {
    let said = load("xlat.toml", global("nat64", "ss-enabled = true"), &Hint::default())
        .map_or_else(|found| found.to_string(), |loaded| loaded.warnings.to_string());
    assert_eq!(said, "");
}
