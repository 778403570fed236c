//! Tables in parts: what was interrupted goes on where it ended, also while the table changes.

use std::collections::BTreeSet;

use xlat_control::api::{
    BibPair, BibRow, Changes, Counter, Eam, Pool4Block, Protocol, Translator, Transport4, Transport6,
};
use xlat_control::{Change, ClientError, Marked, path};

use super::{EAMS, Server, wait};

const ENTRIES: u16 = 1500;

async fn part<R: serde::de::DeserializeOwned>(
    server: &Server,
    table: &str,
) -> Result<Vec<Marked<R>>, ClientError> {
    let mut lines = server.client().rows(table).await?;
    let mut rows = Vec::new();
    while let Some(row) = lines.next().await? {
        rows.push(row);
    }
    Ok(rows)
}

fn change(server: &Server, translator: Translator, instance: &str, changes: Vec<Change>) {
    let changes = Changes { translator, instance: instance.to_owned(), changes };
    wait(server.client().change(&changes)).unwrap();
}

fn stateful(server: &Server) {
    let block = Pool4Block {
        mark: 0,
        protocol: Protocol::Udp,
        prefix: "192.0.2.1/32".parse().unwrap(),
        first_port: 1,
        last_port: ENTRIES,
    };
    let entry = |port| {
        Change::BibAdd(BibPair {
            protocol: Protocol::Udp,
            ipv6: Transport6 { address: format!("2001:db8::{port:x}").parse().unwrap(), port },
            ipv4: Transport4 { address: "192.0.2.1".parse().unwrap(), port },
        })
    };
    let add = Change::InstanceAdd {
        framework: Default::default(),
        pool6: "64:ff9b::/96".parse().ok(),
        routes: Vec::new(),
    };
    let pool4 = Change::Pool4Add { block, max_iterations: None, force: true };
    change(
        server,
        Translator::Nat64,
        "n",
        [add, pool4].into_iter().chain((1..=ENTRIES).map(entry)).collect(),
    );
}

#[test]
fn counters_have_the_kernels_share() {
    let server = Server::start("share");
    let rows = wait(part::<Counter>(&server, &path(Translator::Siit, "a/b #%?", "statistics"))).unwrap();
    let value = |name: &str| rows.iter().find(|marked| marked.row.name == name).unwrap().row.value;
    let names = ["received-ipv6", "bytes-ipv6", "received-ipv4", "bytes-ipv4", "translated"];
    assert_eq!(names.map(value), [5, 600, 7, 800, 12]);
    assert_eq!(value("icmpv6-errors-sent"), 0);
}

#[test]
fn state_is_read_in_parts_each_row_once() {
    let server = Server::start("parts");
    stateful(&server);
    let bib = |query: &str| path(Translator::Nat64, "n", &format!("bib?protocol=udp{query}"));
    let whole = wait(part::<BibRow>(&server, &bib(""))).unwrap();
    assert_eq!(whole.len(), usize::from(ENTRIES));
    assert!(whole.iter().any(|row| row.cursor.is_some()), "an interrupted answer can be resumed");
    let (mut seen, mut after, mut parts) = (BTreeSet::new(), String::new(), 0);
    loop {
        let rows = wait(part::<BibRow>(&server, &bib(&format!("&limit=100{after}")))).unwrap();
        assert!(rows.len() <= 100);
        parts += 1;
        for row in &rows {
            assert!(seen.insert(row.row.pair.ipv4.port), "{row:?} twice");
        }
        match rows.last().and_then(|row| row.cursor.clone()) {
            Some(cursor) => after = format!("&after={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), usize::from(ENTRIES));
    assert!(parts >= 15, "{parts} parts");
    assert!(wait(part::<BibRow>(&server, &bib("&limit=0"))).unwrap().is_empty());
    assert_eq!(wait(part::<BibRow>(&server, &bib("&static=true"))).unwrap().len(), usize::from(ENTRIES));
    assert!(wait(part::<BibRow>(&server, &bib("&static=false"))).unwrap().is_empty());

    // What interrupts a whole answer: the rows up to its last cursor, and those behind it, are all.
    let at = whole.iter().rposition(|row| row.cursor.is_some()).unwrap();
    let cursor = whole[at].cursor.as_ref().unwrap();
    let rest = wait(part::<BibRow>(&server, &bib(&format!("&after={cursor}")))).unwrap();
    assert_eq!(at + 1 + rest.len(), usize::from(ENTRIES));

    for (wrong, errno) in [("x", 22), ("1.2", 116), ("g.1", 22), ("1", 22)] {
        match wait(part::<BibRow>(&server, &bib(&format!("&after={wrong}")))) {
            Err(ClientError::Refused(error)) => {
                assert_eq!((error.errno, error.place.as_deref()), (errno, Some("after")))
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
    // The same instance made anew has other tables.
    change(&server, Translator::Nat64, "n", vec![Change::InstanceRemove]);
    stateful(&server);
    let stale = wait(part::<BibRow>(&server, &bib(&format!("&after={cursor}"))));
    assert!(matches!(&stale, Err(ClientError::Refused(error)) if error.errno == 116), "not refused as stale");
}

#[test]
fn a_configured_table_is_read_on_while_it_changes() {
    let server = Server::start("grows");
    let eamt = |query: &str| path(Translator::Siit, "a/b #%?", &format!("eamt{query}"));
    let first = wait(part::<Eam>(&server, &eamt("?limit=3"))).unwrap();
    let cursor = first[2].cursor.clone().unwrap();
    let ipv4 = |number: u32| std::net::Ipv4Addr::from_bits(0x0A00_0000 + number).to_string() + "/32";
    // Two come, which stand before all others.
    let new = |number: u8| Change::EamtAdd {
        ipv6: format!("2001:db8:1::{number}/128").parse().unwrap(),
        ipv4: format!("192.0.2.{number}/32").parse().unwrap(),
        force: false,
    };
    change(&server, Translator::Siit, "a/b #%?", vec![new(1), new(2)]);
    let next = wait(part::<Eam>(&server, &eamt(&format!("?limit=2&after={cursor}")))).unwrap();
    let shown: Vec<_> = next.iter().map(|row| row.row.ipv4.to_string()).collect();
    assert_eq!(shown, [ipv4(EAMS - 4), ipv4(EAMS - 5)]);
    // The row that the cursor stands behind goes.
    let gone = Change::EamtRemove { ipv6: None, ipv4: Some(first[2].row.ipv4) };
    change(&server, Translator::Siit, "a/b #%?", vec![gone]);
    let stale = wait(part::<Eam>(&server, &eamt(&format!("?after={cursor}"))));
    assert!(matches!(&stale, Err(ClientError::Refused(error)) if error.errno == 116), "not refused as stale");
}

#[test]
fn a_configured_table_is_filtered_before_it_is_sent() {
    let server = Server::start("sieve");
    let of = |kind, name, query: &str| path(kind, name, query);
    let eamt = |query: &str| {
        let found = wait(part::<Eam>(&server, &of(Translator::Siit, "a/b #%?", &format!("eamt?{query}"))));
        found.unwrap().into_iter().map(|row| row.row.ipv4.to_string()).collect::<Vec<_>>()
    };
    // A prefix has addresses within, or is within; on either side; in a table of which it is the last part.
    assert_eq!(eamt("within=10.0.0.0/30"), ["10.0.0.3/32", "10.0.0.2/32", "10.0.0.1/32", "10.0.0.0/32"]);
    assert_eq!(eamt("within=10.0.0.7/32"), ["10.0.0.7/32"]);
    assert_eq!(eamt("within=203.0.113.0/24"), [""; 0]);
    let new = Change::EamtAdd {
        ipv6: "2001:db8:77::/120".parse().unwrap(),
        ipv4: "192.0.2.0/24".parse().unwrap(),
        force: false,
    };
    change(&server, Translator::Siit, "a/b #%?", vec![new]);
    assert_eq!(eamt("within=192.0.2.9/32"), ["192.0.2.0/24"]);
    assert_eq!(eamt("within=2001:db8:77::5/128"), ["192.0.2.0/24"]);
    // Limit and cursor count what is wanted.
    let first =
        wait(part::<Eam>(&server, &of(Translator::Siit, "a/b #%?", "eamt?within=10.0.0.0/30&limit=3")));
    let first = first.unwrap();
    assert_eq!(first.len(), 3);
    let cursor = first[2].cursor.clone().unwrap();
    assert_eq!(eamt(&format!("within=10.0.0.0/30&after={cursor}")), ["10.0.0.0/32"]);
}
