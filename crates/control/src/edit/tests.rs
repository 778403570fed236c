//! Changes in order, with what each is answered: the contract's sentences, and that a refused batch is refused as a whole.

use serde_json::{Value, json};

use super::*;

/// Makes changes of one instance after each other, each by itself, and gives the error number and text of the last.
fn last(translator: &str, changes: &[Value]) -> (Config, Option<(i32, String)>) {
    let (mut config, mut frameworks, mut error) = (Config::default(), Frameworks::new(), None);
    for change in changes {
        let body = json!({"translator": translator, "instance": "i", "changes": [change]});
        let changes: Changes = serde_json::from_value(body).unwrap();
        let mut edited = config.clone();
        let mut context = Context {
            frameworks: &mut frameworks,
            ephemeral: (32768, 60999),
            files: VecDeque::new(),
            log: Vec::new(),
            place: |at| Some(format!("changes[{at}]")),
        };
        error = match apply(&mut edited, &changes, &mut context) {
            Ok(()) => {
                config = edited;
                None
            }
            Err(error) => Some((error.errno, error.jool.unwrap_or(error.what))),
        };
    }
    (config, error)
}

fn nat64(changes: &[Value]) -> (Nat64, Option<(i32, String)>) {
    let mut all = vec![json!({"change": "instance-add", "pool6": "64:ff9b::/96"})];
    all.extend_from_slice(changes);
    let (config, error) = last("nat64", &all);
    let Kind::Nat64(nat64) = config.instances.into_iter().next().unwrap().kind else { panic!() };
    (*nat64, error)
}

fn siit(changes: &[Value]) -> (Siit, Option<(i32, String)>) {
    let mut all = vec![json!({"change": "instance-add", "pool6": null})];
    all.extend_from_slice(changes);
    let (config, error) = last("siit", &all);
    let Kind::Siit(siit) = config.instances.into_iter().next().unwrap().kind else { panic!() };
    (*siit, error)
}

fn pool4(ports: (u16, u16)) -> Value {
    json!({"change": "pool4-add", "protocol": "tcp", "prefix": "192.0.2.1/32",
           "first-port": ports.0, "last-port": ports.1, "max-iterations": null})
}

fn bib(client: &str, port: u16) -> Value {
    json!({"change": "bib-add", "protocol": "tcp", "ipv6": {"address": client, "port": port},
           "ipv4": {"address": "192.0.2.1", "port": port}})
}

#[test]
fn instances_have_names_of_their_own() {
    let add = json!({"change": "instance-add", "pool6": "64:ff9b::/96"});
    let what = "This namespace already has a Jool instance named 'i'.".to_owned();
    assert_eq!(last("nat64", &[add.clone(), add.clone()]).1, Some((17, what)));
    let removed = last("nat64", &[add.clone(), json!({"change": "instance-remove"}), add.clone()]);
    assert_eq!((removed.0.instances.len(), removed.1), (1, None));
    let what = "The requested instance does not exist.".to_owned();
    assert_eq!(last("nat64", &[json!({"change": "instance-remove"})]).1, Some((3, what)));
    let what = "This namespace lacks an instance named 'i'.".to_owned();
    assert_eq!(last("siit", &[json!({"change": "eamt-flush"})]).1, Some((3, what)));
    assert!(
        last("nat64", &[add.clone(), json!({"change": "eamt-flush"})]).1.is_some(),
        "the other kind's table"
    );
    let mut flushed = vec![add, json!({"change": "instance-flush"})];
    assert_eq!(last("nat64", &flushed).0.instances.len(), 0);
    flushed.push(json!({"change": "instance-flush"}));
    assert_eq!(last("nat64", &flushed).1, None, "none is no error");
}

#[test]
fn ephemeral_ports_need_force() {
    for (ports, refused) in
        [((1, 32767), false), ((61000, 65535), false), ((1, 32768), true), ((60999, 65535), true)]
    {
        assert_eq!(nat64(&[pool4(ports)]).1.is_some(), refused, "{ports:?}");
    }
    let mut forced = pool4((1, 65535));
    forced["force"] = true.into();
    assert_eq!(nat64(&[forced]).1, None);
    let mut icmp = pool4((1, 65535));
    icmp["protocol"] = "icmp".into();
    assert_eq!(nat64(&[icmp]).1, None, "identifiers are nobody's ports");
}

#[test]
fn static_entries_lie_in_pool4_and_leave_with_it() {
    let outside = "Transport address '192.0.2.1#80' does not belong to pool4.\nPlease add it there first.";
    assert_eq!(nat64(&[pool4((81, 90)), bib("2001:db8::1", 80)]).1, Some((22, outside.to_owned())));
    let (made, error) = nat64(&[pool4((80, 90)), bib("2001:db8::1", 80), bib("2001:db8::1", 80)]);
    assert_eq!((made.bib.len(), error), (1, None), "again is no error");
    let (_, error) = nat64(&[pool4((80, 90)), bib("2001:db8::1", 80), bib("2001:db8::2", 80)]);
    let what = "Entry [2001:db8::2#80, 192.0.2.1#80, TCP] collides with [2001:db8::1#80, 192.0.2.1#80, TCP].";
    assert_eq!(error, Some((17, what.to_owned())));
    let remove = json!({"change": "pool4-remove", "protocol": "tcp", "prefix": "192.0.2.0/24",
                        "first-port": 80, "last-port": 80});
    let (rest, error) = nat64(&[pool4((80, 90)), bib("2001:db8::1", 80), bib("2001:db8::2", 81), remove]);
    assert_eq!((error, rest.bib.len(), rest.bib[0].ipv4.1), (None, 1, 81));
    let (rest, _) = nat64(&[pool4((80, 90)), bib("2001:db8::1", 80), json!({"change": "pool4-flush"})]);
    assert!(rest.bib.is_empty() && rest.pool4.is_empty());
    assert_eq!(nat64(&[bib("2001:db8::1", 61001)]).1, None, "an empty pool4 is the host's addresses");
    assert!(nat64(&[bib("2001:db8::1", 61000)]).1.is_some());
}

#[test]
fn an_eam_meets_others() {
    let eam = |ipv6: &str, ipv4: &str, force: bool| json!({"change": "eamt-add", "ipv6": ipv6, "ipv4": ipv4, "force": force});
    let first = eam("2001:db8:4::/120", "192.0.2.0/24", false);
    for (second, errno, what) in [
        (first.clone(), 17, "The requested entry already exists."),
        (
            eam("2001:db8:5::/120", "192.0.2.0/24", true),
            17,
            "Existing EAM [2001:db8:4::/120|192.0.2.0/24] already contains prefix 192.0.2.0/24.",
        ),
        (
            eam("2001:db8:4::5/128", "198.51.100.5/32", false),
            17,
            "Prefix 2001:db8:4::5/128 overlaps with EAM [2001:db8:4::/120|192.0.2.0/24].\n\
             (Use --force to override this validation.)",
        ),
        (
            eam("2001:db8:7::/121", "198.51.100.0/24", false),
            22,
            "The IPv4 suffix length must be smaller or equal than the IPv6 suffix length.",
        ),
    ] {
        assert_eq!(siit(&[first.clone(), second]).1, Some((errno, what.to_owned())));
    }
    let (table, error) = siit(&[first, eam("2001:db8:4::5/128", "198.51.100.5/32", true)]);
    assert_eq!((table.eamt.len(), error), (2, None));
    let remove = json!({"change": "eamt-remove", "ipv6": null, "ipv4": "192.0.2.0/24"});
    assert_eq!(siit(&[remove]).1, Some((3, String::new())));
}

#[test]
fn options_are_typed_and_bounded() {
    let update = |key: &str, value: Value| json!({"change": "global-update", "key": key, "value": value});
    for key in globals::KEYS {
        for wrong in [json!({}), json!(-1), json!("x"), json!([70000])] {
            let translator = key.only.unwrap_or(api::Translator::Siit).word();
            let add = json!({"change": "instance-add", "pool6": "64:ff9b::/96"});
            assert!(last(translator, &[add, update(key.name, wrong)]).1.is_some(), "{}", key.name);
        }
    }
    let what = "Sorry; you can't change a NAT64 instance's pool6 for now.".to_owned();
    assert_eq!(nat64(&[update("pool6", json!("2001:db8::/96"))]).1, Some((22, what)));
    assert_eq!(nat64(&[update("pool6", json!("64:ff9b::/96"))]).1, None);
    assert_eq!(siit(&[update("pool6", json!("64:ff9b::/96")), update("pool6", Value::Null)]).0.pool6, None);
    assert!(siit(&[update("pool6", json!("64:ff9b:0:0:100::/96"))]).1.is_some(), "u octet");
    assert!(nat64(&[update("eam-hairpin-mode", json!("off"))]).1.is_some(), "the other kind's option");
    let (made, _) = nat64(&[update("udp-timeout", json!(600_000))]);
    assert_eq!(made.global.udp_timeout.as_secs(), 600);
    assert!(siit(&[update("rfc6791v4-prefix", json!("127.0.0.0/8"))]).1.is_some());
}

/// What is shown can be set again, and is what it was.
#[test]
fn every_option_there_and_back() {
    for translator in [api::Translator::Siit, api::Translator::Nat64] {
        let pool6 = Some("64:ff9b::/96".parse().unwrap());
        let mut instance = new_instance("i", translator, pool6).unwrap();
        let shown = globals::show(&instance);
        assert_eq!(shown.len(), globals::keys(translator).count());
        for (key, value) in &shown {
            globals::set(&mut instance, key, value, false).unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        assert_eq!(globals::show(&instance), shown);
    }
}

#[test]
fn a_batch_is_refused_as_a_whole_and_says_where() {
    let body = json!({"translator": "nat64", "instance": "i", "changes": [
        {"change": "instance-add", "pool6": "64:ff9b::/96"}, pool4((80, 90)), bib("2001:db8::1", 99)]});
    let changes: Changes = serde_json::from_value(body).unwrap();
    let mut frameworks = Frameworks::new();
    let mut context = Context {
        frameworks: &mut frameworks,
        ephemeral: (32768, 60999),
        files: VecDeque::new(),
        log: Vec::new(),
        place: |at| Some(format!("changes[{at}]")),
    };
    let error = apply(&mut Config::default(), &changes, &mut context).unwrap_err();
    assert_eq!(error.place.as_deref(), Some("changes[2]"));
}

#[test]
fn a_file_replaces_what_is_there() {
    let text = |pool4: &str, pool6: &str, framework: &str| {
        format!(
            "{{\"instance\": \"i\", \"framework\": \"{framework}\", \"global\": {{\"pool6\": \"{pool6}\"}}, \
             \"pool4\": [{{\"protocol\": \"TCP\", \"prefix\": \"192.0.2.1\", \"port range\": \"{pool4}\"}}]}}"
        )
    };
    let load = |content: String, config: &mut Config, frameworks: &mut Frameworks| {
        let changes = vec![Change::File { content, force: false }];
        let changes = Changes { translator: api::Translator::Nat64, instance: String::new(), changes };
        let place: Place = |at| Some(format!("changes[{at}]"));
        let files = read_files(&changes, place)?;
        apply(
            config,
            &changes,
            &mut Context { frameworks, ephemeral: (32768, 60999), files, log: Vec::new(), place },
        )
    };
    let (mut config, mut frameworks) = (Config::default(), Frameworks::new());
    load(text("80-90", "64:ff9b::/96", "iptables"), &mut config, &mut frameworks).unwrap();
    assert_eq!(frameworks.get(&(api::Translator::Nat64, "i".to_owned())), Some(&Framework::Iptables));
    for (content, what) in [
        (text("80-40000", "64:ff9b::/96", "iptables"), "ports 80 to 40000"),
        (text("80", "64:ff9b:1::/96", "iptables"), "the pool6 of a NAT64 instance"),
        (text("80", "64:ff9b::/96", "netfilter"), "the framework of an instance"),
        (text("80", "64:ff9b::/96", "nothing"), "Unknown framework: 'nothing'"),
        ("{".to_owned(), "The JSON parser got confused"),
    ] {
        let error = load(content, &mut config.clone(), &mut frameworks).unwrap_err();
        assert!(error.what.contains(what) && error.errno == 22, "{error:?}");
    }
    // Static entries stay as far as the new pool4 has them, whatever the file says of its own.
    let Kind::Nat64(nat64) = &mut config.instances[0].kind else { panic!() };
    for port in [80, 90] {
        let ipv6 = ("2001:db8::1".parse().unwrap(), port);
        nat64.bib.push(BibEntry {
            protocol: xlat_config::Protocol::Tcp,
            ipv6,
            ipv4: ("192.0.2.1".parse().unwrap(), port),
        });
    }
    load(text("85-95", "64:ff9b::/96", "iptables"), &mut config, &mut frameworks).unwrap();
    let Kind::Nat64(nat64) = &config.instances[0].kind else { panic!() };
    assert_eq!((nat64.bib.len(), nat64.bib[0].ipv4.1, config.instances.len()), (1, 90, 1));
}
