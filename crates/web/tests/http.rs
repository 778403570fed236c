//! The server over real sockets on loopback, with made-up snapshots: what is answered, what is refused, and that nobody can take
//! all of it.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use xlat_control::api::{Protocol, Translator};
use xlat_control::live::{FastPath, Instance, Live, Pool4, Reason, Table, Thread};
use xlat_web::{Exposition, Watched, Web};

#[derive(Clone)]
struct Made {
    live: Arc<Live>,
    alive: bool,
}

impl Watched for Made {
    async fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    async fn counts(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    fn is_alive(&self) -> bool {
        self.alive
    }
}

/// A snapshot with a row of everything.
fn everything() -> Live {
    let table = Table {
        protocol: Protocol::Tcp,
        sessions: 7,
        bib_entries: 5,
        sessions_made: 11,
        set_up_rate: 0.5,
        pool4_used: 5,
        pool4_total: 100,
    };
    let name = r#"a"b\c"#.to_owned();
    let instance =
        Instance { name: name.clone(), translator: Translator::Nat64, enabled: true, tables: vec![table] };
    let reason = |name: &str| Reason {
        name: name.to_owned(),
        explanation: "<b>why</b>".to_owned(),
        source: String::new(),
        count: 3,
        rate: 1.0,
    };
    Live {
        number: 1,
        version: "1.2.3".to_owned(),
        device: "xlat0".to_owned(),
        ready: true,
        instances: vec![instance],
        pool4: vec![Pool4 {
            instance: name,
            address: "192.0.2.1".parse().unwrap(),
            protocol: Protocol::Tcp,
            used: 5,
            total: 100,
        }],
        fast_path: Some(FastPath { flows: 2, max_flows: 1024, memory: 4096 }),
        drops: vec![reason("not-ip")],
        handed_over: vec![reason("up-no-flow")],
        losses: vec![reason("tx_full")],
        threads: vec![Thread { name: "xlat-0".to_owned(), worker: true, busy: 1.5, load: 0.1 }],
        ..Live::default()
    }
}

/// A server on an address of its own, for as long as the test's process lives.
fn start(made: Made) -> SocketAddr {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut web = Web::new(runtime.handle().clone(), made);
        let sockets = web.prepare(&[address]).unwrap();
        assert!(web.prepare(&[address]).is_err(), "taken already");
        web.serve(&[address], &["t.example.net".to_owned()], sockets);
        runtime.block_on(std::future::pending::<()>());
    });
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(Duration::from_millis(10));
    }
    address
}

/// What comes back for these bytes until the server closes.
fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A reset after the answer is an end too.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    raw(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

#[test]
fn what_there_is_is_answered_and_nothing_else() {
    let address = start(Made { live: everything().into(), alive: true });
    for (path, kind, content) in [
        ("/", "text/html", "<!doctype html>"),
        ("/style.css", "text/css", "color-scheme"),
        ("/page.js", "text/javascript", "fetch("),
        ("/live", "application/json", "\"number\":1"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "# TYPE xlat_packets_total counter"),
        ("/health", "text/plain", "alive"),
        ("/ready", "text/plain", "translating"),
    ] {
        let answer = get(address, path);
        let lower = answer.to_ascii_lowercase();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(lower.contains(&format!("content-type: {kind}")), "{path}: {answer}");
        assert!(answer.contains(content), "{path}: {answer}");
        assert!(lower.contains("content-security-policy: default-src 'none'"), "{path}");
        assert!(lower.contains("cache-control: no-store") && !lower.contains("set-cookie"), "{path}");
    }
    for path in ["/nothing", "/../etc/passwd", "/live/", "/v1/status"] {
        assert!(get(address, path).starts_with("HTTP/1.1 404 "), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let request = format!(
            "{method} /live HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert!(raw(address, &request).starts_with("HTTP/1.1 405 "), "{method}");
    }
}

#[test]
fn foreign_names_are_refused() {
    let address = start(Made { live: everything().into(), alive: true });
    let hosts = |hosts: &[&str]| {
        let lines: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        raw(address, &format!("GET /live HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"))
    };
    for good in ["localhost:9464", "t.example.net", "[::1]:1"] {
        assert!(hosts(&[good]).starts_with("HTTP/1.1 200 "), "{good}");
    }
    let port = address.port();
    for bad in ["evil.example.com", &format!("evil.example.com:{port}"), "", "xn--localhost"] {
        let answer = hosts(&[bad]);
        assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("number"), "{bad}: {answer}");
    }
    assert!(!hosts(&["localhost", "evil.example.com"]).starts_with("HTTP/1.1 200 "));
    assert!(!hosts(&[]).starts_with("HTTP/1.1 200 "));
    let absolute = raw(
        address,
        "GET http://evil.example.com/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(absolute.starts_with("HTTP/1.1 421 "), "{absolute}");
}

#[test]
fn many_silent_guests_are_closed_and_leave_room() {
    let address = start(Made { live: everything().into(), alive: true });
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    // Those that have no place are closed at once.
    let closed = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0)) || stream.take_error().ok().flatten().is_some()
    };
    std::thread::sleep(Duration::from_millis(300));
    let kept = silent.iter().filter(|stream| !closed(stream)).count();
    assert!((1..=64).contains(&kept), "{kept}");
    drop(silent);
    std::thread::sleep(Duration::from_millis(300));
    assert!(get(address, "/health").starts_with("HTTP/1.1 200 "));
    // A header without end is not collected for ever.
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert!(!raw(address, &long).starts_with("HTTP/1.1 200 "));
}

#[test]
fn health_and_readiness_differ() {
    let idle = Live { ready: false, ..everything() };
    let address = start(Made { live: idle.into(), alive: true });
    assert!(get(address, "/health").starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/ready").starts_with("HTTP/1.1 503 "));
    let address = start(Made { live: everything().into(), alive: false });
    assert!(get(address, "/health").starts_with("HTTP/1.1 503 "));
    assert!(get(address, "/ready").starts_with("HTTP/1.1 503 "));
}

#[test]
fn metrics_are_well_formed() {
    let text = xlat_web::metrics(&everything(), Exposition::OpenMetrics).unwrap();
    assert!(text.ends_with("# EOF\n"));
    for row in [
        r#"xlat_sessions{translator="a\"b\\c",protocol="TCP"} 7"#,
        r#"xlat_sessions_made_total{translator="a\"b\\c",protocol="TCP"} 11"#,
        r#"xlat_pool4_address_used_ports{translator="a\"b\\c",address="192.0.2.1",protocol="TCP"} 5"#,
        r#"xlat_untranslated_packets_total{reason="not-ip"} 3"#,
        r#"xlat_untranslated_packets_total{reason="fragment-held"} 0"#,
        r#"xlat_handed_over_total{reason="up-no-flow"} 3"#,
        r#"xlat_losses_total{reason="tx_full"} 3"#,
        r#"xlat_packets_total{path="kernel",from="ipv6"} 0"#,
        r#"xlat_thread_busy_seconds_total{thread="xlat-0"} 1.5"#,
        r#"xlat_build_info{version="1.2.3",device="xlat0"} 1"#,
        "xlat_kernel_maps_bytes 4096",
        "xlat_ready 1",
    ] {
        assert!(text.lines().any(|line| line == row), "{row}\n{text}");
    }
    // Each sample belongs to the family that was declared last.
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&family), "{line} in {family}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn both_texts_of_metrics_say_the_same() {
    let address = start(Made { live: everything().into(), alive: true });
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let open = raw(
        address,
        &format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"),
    );
    let classic = get(address, "/metrics");
    let lower = open.to_ascii_lowercase();
    assert!(
        lower.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{open}"
    );
    assert!(lower.contains("vary: accept\r\n") && open.ends_with("# EOF\n"), "{open}");
    let body = |answer: &str| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let samples = |text: &str| {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let (open, classic) = (body(&open), body(&classic));
    assert_eq!(samples(&open), samples(&classic));
    assert!(samples(&classic).len() > 40);
    // In the classic text a family has the name of its samples, and nothing that only OpenMetrics knows.
    let mut family = String::new();
    for line in classic.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# ") {
            assert!(rest.starts_with("HELP "), "{line}");
        } else {
            assert_eq!(line.split(['{', ' ']).next().unwrap(), family, "{line}");
        }
    }
}

/// The names of metrics in a text.
fn names(text: &str) -> std::collections::BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !word(c)).filter(|word| word.starts_with("xlat_"));
    words.map(str::to_owned).collect()
}

#[test]
fn dashboard_and_documentation_name_metrics_that_exist() {
    let text = xlat_web::metrics(&everything(), Exposition::OpenMetrics).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let exist =
        names(&samples.map(|line| line.split(['{', ' ']).next().unwrap()).collect::<Vec<_>>().join(" "));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    let dashboard = std::fs::read_to_string(format!("{root}packaging/grafana/xlat.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let mut expressions = Vec::new();
    expressions_in(&parsed, &mut expressions);
    assert!(expressions.len() > 10);
    let used = names(&expressions.join("\n"));
    let unknown: Vec<_> = used.difference(&exist).collect();
    assert!(unknown.is_empty(), "{unknown:?} in the dashboard");
    let page = std::fs::read_to_string(format!("{root}docs/monitoring.md")).unwrap();
    let unknown: Vec<_> = exist.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(unknown.is_empty(), "docs/monitoring.md lacks {unknown:?}");
}

fn expressions_in(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                match (key.as_str(), member.as_str()) {
                    ("expr" | "query" | "definition", Some(text)) => found.push(text.to_owned()),
                    _other => expressions_in(member, found),
                }
            }
        }
        serde_json::Value::Array(elements) => elements.iter().for_each(|one| expressions_in(one, found)),
        _scalar => {}
    }
}
