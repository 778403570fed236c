//! What a frame shows, at several sizes and with hostile numbers.

use xlat_control::api::{Protocol, Translator};
use xlat_control::live::{FastPath, Flow, Instance, Live, Pool4, Reason, Source, Table, Thread};

use super::*;

/// A busy translator; every number as large as `scale` makes it.
fn busy(scale: u64) -> Live {
    let flow =
        Flow { packets: scale, bytes: scale, packet_rate: scale as f64, bit_rate: scale as f64 * 8000.0 };
    let mut live = Live {
        number: 1,
        version: "0.1.0".to_owned(),
        device: "xlat0".to_owned(),
        ready: true,
        uptime: scale,
        kernel_share: Some(0.9),
        fast_path: Some(FastPath { flows: scale, max_flows: scale, memory: scale }),
        ..Live::default()
    };
    live.kernel.from6 = flow;
    live.daemon.from4 = flow;
    let table = |protocol| Table {
        protocol,
        sessions: scale,
        bib_entries: scale,
        sessions_made: scale,
        set_up_rate: scale as f64,
        pool4_used: scale,
        pool4_total: scale,
    };
    live.instances.push(Instance {
        name: "default".to_owned(),
        translator: Translator::Nat64,
        enabled: true,
        tables: [Protocol::Tcp, Protocol::Udp, Protocol::Icmp].map(table).into(),
    });
    live.pool4.push(Pool4 {
        instance: "default".to_owned(),
        address: "203.0.113.2".parse().unwrap(),
        protocol: Protocol::Tcp,
        used: 60_000,
        total: 65_535,
    });
    live.drops.push(Reason {
        name: "hop-limit".to_owned(),
        explanation: "the hop limit ends here".to_owned(),
        source: String::new(),
        count: scale,
        rate: scale as f64,
    });
    for (host, sessions, bib_entries) in [(8, 9, 1), (9, 5, 4)] {
        let address = format!("2001:db8::{host}").parse().unwrap();
        live.sources.list.push(Source { address, sessions, bib_entries });
    }
    live.threads.push(Thread { name: "xlat-0".to_owned(), worker: true, busy: 1.0, load: 0.25 });
    live
}

fn at(view: &View, width: u16, height: u16) -> String {
    text(view, Rect { x: 0, y: 0, width, height })
}

#[test]
fn everything_is_seen_at_80_by_24() {
    let mut view = View::default();
    view.show(busy(1_234_567));
    let frame = at(&view, 80, 24);
    for part in [
        "translating",
        "9.9 Gbit/s",
        "1.2 Mp/s",
        "90 % in the kernel",
        "1,234,567",
        "default",
        "TCP",
        "ICMP",
        "203.0.113.2",
        "92 %",
        "2001:db8::8",
        "hop-limit",
        "the hop limit ends here",
        "xlat-0",
        "25 %",
        "quit",
    ] {
        assert!(frame.contains(part), "{part} in\n{frame}");
    }
    assert!(frame.lines().count() <= 24);
}

#[test]
fn no_size_and_no_number_is_too_much() {
    for scale in [0, 1, u64::MAX] {
        let mut view = View::default();
        view.show(busy(scale));
        view.help = true;
        for (width, height) in [(1, 1), (10, 3), (20, 10), (79, 23), (300, 100), (500, 1)] {
            at(&view, width, height);
        }
    }
    at(&View::default(), 80, 24);
}

#[test]
fn keys_do_what_they_say() {
    let mut view = View::default();
    view.show(busy(1));
    let press = |view: &mut View, key: char| press(view, KeyEvent::from(KeyCode::Char(key)));
    let first = |view: &View| at(view, 80, 24).find("2001:db8::8") < at(view, 80, 24).find("2001:db8::9");
    assert!(first(&view));
    assert!(!press(&mut view, 's') && !first(&view));
    assert!(!press(&mut view, 'p'));
    view.show(busy(777));
    assert!(at(&view, 80, 24).contains("held still") && !at(&view, 80, 24).contains("777"));
    assert!(!press(&mut view, 'p'));
    view.show(busy(777));
    assert!(at(&view, 80, 24).contains("777"));
    assert!(!press(&mut view, '?') && at(&view, 80, 24).contains("Help"));
    assert!(!press(&mut view, 'x') && !at(&view, 80, 24).contains("Help"));
    view.trouble = Some("the daemon has ended".to_owned());
    assert!(at(&view, 80, 24).contains("no answer: the daemon has ended"));
    assert!(press(&mut view, 'q'));
}
