//! The methods of each table: what they do is what the change of the same meaning does, and what is refused changes nothing.

use serde_json::{Value, json};

use super::Server;

/// The instance that is there from the start, and one that the test makes.
const SIIT: &str = "/v1/instances/siit/a%2Fb%20%23%25%3F";
const NAT64: &str = "/v1/instances/nat64/n";

/// Status and body; lines of JSON are a list.
fn ask(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = server.raw(&format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    // Chunks of lines: what is no JSON is their lengths.
    let lines = body
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    match head.contains("x-ndjson") {
        true => (status, lines.collect()),
        false => (status, serde_json::from_str(body).unwrap()),
    }
}

fn done(server: &Server, method: &str, path: &str, body: &Value) {
    assert_eq!(ask(server, method, path, body), (200, json!({})), "{method} {path} {body}");
}

fn get(server: &Server, path: &str) -> Value {
    let (status, body) = ask(server, "GET", path, &Value::Null);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

fn made(test: &str) -> Server {
    let server = Server::start(test);
    done(
        &server,
        "POST",
        "/v1/instances",
        &json!({"translator": "nat64", "name": "n", "pool6": "64:ff9b::/96"}),
    );
    server
}

fn block(prefix: &str, first: u16, last: u16) -> Value {
    json!({"mark": 3, "protocol": "tcp", "prefix": prefix, "first-port": first, "last-port": last})
}

fn pair(client: &str, port: u16) -> Value {
    json!({"protocol": "tcp", "ipv6": {"address": client, "port": port}, "ipv4": {"address": "192.0.2.1", "port": port}})
}

#[test]
fn instances_come_and_go() {
    let server = made("inst");
    let names = |server: &Server| {
        let rows = get(server, "/v1/instances");
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&server), ["a/b #%?", "n"]);
    let framework =
        json!({"translator": "nat64", "name": "m", "pool6": "64:ff9b:1::/96", "framework": "iptables"});
    done(&server, "POST", "/v1/instances", &framework);
    assert_eq!(get(&server, "/v1/instances")[2]["framework"], "iptables");
    done(&server, "DELETE", NAT64, &Value::Null);
    assert_eq!(names(&server), ["a/b #%?", "m"]);
    done(&server, "DELETE", "/v1/instances?translator=nat64", &Value::Null);
    assert_eq!(names(&server), ["a/b #%?"]);
}

#[test]
fn options_are_set_together() {
    let server = made("opts");
    let global = format!("{NAT64}/global");
    done(&server, "PATCH", &global, &json!({"udp-timeout": 600_000, "f-args": 8}));
    let shown = get(&server, &global);
    assert_eq!((&shown["udp-timeout"], &shown["f-args"]), (&json!(600_000), &json!(8)));
    let (status, refused) = ask(&server, "PATCH", &global, &json!({"udp-timeout": 700_000, "f-args": 16}));
    assert_eq!((status, &refused["error"]["where"]), (422, &json!("f-args")));
    assert_eq!(get(&server, &global), shown, "nothing of it");

    done(&server, "PUT", &format!("{SIIT}/pool6"), &json!({"prefix": "2001:db8:64::/96"}));
    assert_eq!(get(&server, &format!("{SIIT}/pool6")), json!({"prefix": "2001:db8:64::/96"}));
    done(&server, "PUT", &format!("{SIIT}/pool6"), &json!({"prefix": null}));
    assert_eq!(get(&server, &format!("{SIIT}/pool6")), json!({"prefix": null}));
    let pool6791 = json!({"ipv4": "198.51.100.0/24", "ipv6": null, "randomize": false});
    done(&server, "PUT", &format!("{SIIT}/pool6791"), &pool6791);
    assert_eq!(get(&server, &format!("{SIIT}/pool6791")), pool6791);
    assert_eq!(ask(&server, "PUT", &format!("{NAT64}/pool6791"), &pool6791).0, 422);
    let scoped = json!({"ipv4": "127.0.0.0/8", "ipv6": null, "randomize": false});
    assert_eq!(ask(&server, "PUT", &format!("{SIIT}/pool6791"), &scoped).0, 422);
    done(&server, "PUT", &format!("{SIIT}/pool6791?force=true"), &scoped);
}

#[test]
fn stateless_tables() {
    let server = Server::start("tables");
    let eamt = format!("{SIIT}/eamt");
    let entry = |number: u8| json!({"ipv6": format!("2001:db8:4::{number:x}/128"), "ipv4": format!("192.0.2.{number}/32")});
    done(&server, "PUT", &eamt, &json!([entry(1), entry(2)]));
    assert_eq!(get(&server, &eamt), json!([entry(2), entry(1)]), "in the place of all others");
    let (status, refused) = ask(&server, "PUT", &eamt, &json!([entry(3), entry(4), entry(3)]));
    assert_eq!((status, &refused["error"]["where"]), (409, &json!("[2]")));
    done(&server, "POST", &eamt, &entry(3));
    let (status, refused) = ask(&server, "POST", &eamt, &entry(3));
    assert_eq!((status, &refused["error"]["where"]), (409, &Value::Null));
    let wide = json!({"ipv6": "2001:db8:4::/120", "ipv4": "192.0.2.0/24"});
    done(&server, "POST", &eamt, &wide);
    assert_eq!(ask(&server, "POST", &eamt, &entry(4)).0, 409, "it overlaps");
    done(&server, "POST", &format!("{eamt}?force=true"), &entry(4));
    done(&server, "DELETE", &format!("{eamt}?ipv4=192.0.2.0/24"), &Value::Null);
    assert_eq!(ask(&server, "DELETE", &format!("{eamt}?ipv6=2001:db8:4::9/128"), &Value::Null).0, 404);
    assert_eq!(get(&server, &eamt), json!([entry(4), entry(3), entry(2), entry(1)]));

    let denylist4 = format!("{SIIT}/denylist4");
    let denied = |prefix: &str| json!({"prefix": prefix});
    done(&server, "PUT", &denylist4, &json!([denied("198.51.100.0/24")]));
    done(&server, "POST", &denylist4, &denied("203.0.113.0/24"));
    assert_eq!(ask(&server, "POST", &denylist4, &denied("127.0.0.0/8")).0, 422);
    done(&server, "POST", &format!("{denylist4}?force=true"), &denied("127.0.0.0/8"));
    done(&server, "DELETE", &format!("{denylist4}?prefix=127.0.0.0/8"), &Value::Null);
    assert_eq!(get(&server, &denylist4), json!([denied("198.51.100.0/24"), denied("203.0.113.0/24")]));

    // Nothing is removed by a query that somebody forgot to fill.
    for table in [&eamt, &denylist4] {
        let (status, refused) = ask(&server, "DELETE", table, &Value::Null);
        assert_eq!(status, 400, "{refused}");
        assert!(refused["error"]["help"].as_str().unwrap().contains("all=true"));
        assert!(!get(&server, table).as_array().unwrap().is_empty());
        done(&server, "DELETE", &format!("{table}?all=true"), &Value::Null);
        assert_eq!(get(&server, table), json!([]));
    }
}

#[test]
fn pool4_and_bib() {
    let server = made("pool4");
    let (pool4, bib) = (format!("{NAT64}/pool4"), format!("{NAT64}/bib"));
    let ports = |server: &Server| {
        let rows = get(server, &pool4);
        let row = |row: &Value| (row["first-port"].as_u64().unwrap(), row["last-port"].as_u64().unwrap());
        rows.as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(ask(&server, "POST", &pool4, &block("192.0.2.1/32", 80, 65535)).0, 422, "ephemeral ports");
    done(&server, "POST", &format!("{pool4}?force=true"), &block("192.0.2.1/32", 80, 65535));
    done(
        &server,
        "DELETE",
        &format!("{pool4}?protocol=tcp&prefix=192.0.2.1/32&first-port=100&mark=3"),
        &Value::Null,
    );
    assert_eq!(ports(&server), [(80, 99)]);
    for client in [80, 90] {
        done(&server, "POST", &bib, &pair(&format!("2001:db8::{client}"), client));
    }
    assert_eq!(ask(&server, "POST", &bib, &pair("2001:db8::100", 100)).0, 422, "not in pool4");
    assert_eq!(ask(&server, "POST", &bib, &pair("2001:db8::1", 80)).0, 409, "another's");
    // What the new pool4 has stays.
    done(&server, "PUT", &pool4, &json!([block("192.0.2.0/24", 85, 99)]));
    assert_eq!(ports(&server).len(), 256);
    let clients = |server: &Server| {
        let rows = get(server, &bib);
        rows.as_array().unwrap().iter().map(|row| row["ipv4"]["port"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(clients(&server), [90]);
    let before = ports(&server);
    let (status, refused) =
        ask(&server, "PUT", &pool4, &json!([block("192.0.2.1/32", 1, 2), block("192.0.2.1/24", 1, 2)]));
    assert_eq!((status, &refused["error"]["where"]), (422, &json!("[1]")));
    assert_eq!((ports(&server), clients(&server)), (before, vec![90]), "nothing of it");

    done(&server, "DELETE", &format!("{bib}?protocol=tcp&ipv4=192.0.2.1&ipv4-port=90"), &Value::Null);
    assert_eq!(ask(&server, "DELETE", &format!("{bib}?ipv6=2001:db8::90&ipv6-port=90"), &Value::Null).0, 404);
    assert!(clients(&server).is_empty());
    done(&server, "DELETE", &format!("{pool4}?all=true"), &Value::Null);
    assert!(ports(&server).is_empty());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let server = made("sense");
    let with = |mut value: Value, field: &str| {
        value[field] = json!(1);
        value
    };
    let (eam, none) = (json!({"ipv6": "2001:db8::/128", "ipv4": "192.0.2.1/32"}), Value::Null);
    for (method, path, body, status, says) in [
        ("POST", "/v1/instances".to_owned(), json!({"translator": "nat64", "name": "x"}), 422, "pool6"),
        (
            "POST",
            "/v1/instances".to_owned(),
            json!({"translator": "siit", "name": "x", "pool4": []}),
            400,
            "pool4",
        ),
        (
            "POST",
            "/v1/instances".to_owned(),
            json!({"translator": "nat64", "name": "n", "pool6": "64:ff9b::/96"}),
            409,
            "n",
        ),
        ("DELETE", "/v1/instances".to_owned(), none.clone(), 400, "translator"),
        ("DELETE", "/v1/instances/siit/n".to_owned(), none.clone(), 404, "instance"),
        ("PATCH", format!("{NAT64}/global"), json!({"colour": "blue"}), 422, "colour"),
        ("PATCH", format!("{NAT64}/global"), json!([]), 400, ""),
        ("PUT", format!("{NAT64}/pool6"), json!({"prefix": "64:ff9b:1::/96"}), 422, "pool6"),
        ("PUT", format!("{SIIT}/pool6"), json!({"prefixes": null}), 400, "unknown field `prefixes`"),
        ("POST", format!("{SIIT}/eamt"), with(eam.clone(), "since"), 400, "unknown field `since`"),
        ("PUT", format!("{SIIT}/eamt"), json!([eam, with(eam.clone(), "since")]), 400, "[1]: unknown field"),
        ("POST", format!("{NAT64}/eamt"), eam.clone(), 404, "has no such table"),
        ("PUT", format!("{SIIT}/pool4"), json!([]), 404, "has no such table"),
        ("PUT", format!("{NAT64}/pool4"), json!({}), 400, ""),
        (
            "POST",
            format!("{NAT64}/pool4"),
            with(block("192.0.2.1/32", 1, 2), "pool"),
            400,
            "unknown field `pool`",
        ),
        ("DELETE", format!("{NAT64}/pool4?prefix=192.0.2.1/32"), none.clone(), 400, "protocol"),
        ("DELETE", format!("{NAT64}/pool4?protocol=tcp"), none.clone(), 400, "prefix"),
        (
            "DELETE",
            format!("{NAT64}/pool4?protocol=tcp&prefix=192.0.2.1/32&all=true"),
            none.clone(),
            400,
            "not both",
        ),
        ("DELETE", format!("{NAT64}/pool4"), none.clone(), 400, "names no entry"),
        ("DELETE", format!("{NAT64}/bib"), none.clone(), 400, "names no entry"),
        ("DELETE", format!("{NAT64}/bib?ipv4=192.0.2.1"), none.clone(), 400, "port"),
        ("DELETE", format!("{NAT64}/sessions"), none.clone(), 405, "has no DELETE"),
    ] {
        let before = get(&server, "/v1/instances");
        let (found, answer) = ask(&server, method, &path, &body);
        assert_eq!(found, status, "{method} {path} {body}: {answer}");
        assert!(answer.to_string().contains(says), "{method} {path} {body}: {answer}");
        assert_eq!(get(&server, "/v1/instances"), before);
    }
}
