//! What is in the maps: there while nobody looks, replaced, removed, never misread.

use std::collections::HashSet;
use std::fs;
use std::time::Instant;

use xlat_fastpath::config::{Config, Instance, Link, SteerPrefix4, SteerPrefix6, config_flag, link_flag};
use xlat_fastpath::count::{Counter, Traffic};
use xlat_fastpath::flow::Session;
use xlat_fastpath::stateless::{Eam4, Eam6, FILTER_WORDS};
use xlat_fastpath::{LAYOUT, maps};
use zerocopy::{FromZeros, IntoBytes};

use super::super::*;
use super::{SIZES, open, open_maps, session, with_pins};

#[test]
fn maps_outlive_the_daemon_and_belong_to_one() {
    with_pins(|pins| {
        let (first, opened) = open(&pins);
        assert_eq!(opened, Opened::Fresh);
        assert!(matches!(FastPath::open(&pins, SIZES), Err(FastPathError::InUse(_))));
        assert!(matches!(flush(&pins), Err(FastPathError::InUse(_))));
        first.maps().configure(|config| config.outlive = 77).unwrap();
        first.maps().flows().insert(&[session(1)], 5).unwrap();
        first.maps().own_ports().set(3, 1, 61001, true);
        drop(first);

        let watcher = Maps::open(&pins).unwrap().unwrap();
        assert_eq!((watcher.config().layout, watcher.config().outlive), (LAYOUT, 77));
        assert_eq!(watcher.flows().count().unwrap(), 1);

        let (second, opened) = FastPath::open(&pins, Sizes { max_flows: 5, max_eam: 5 }).unwrap();
        assert_eq!(opened, Opened::TakenOver { sizes: SIZES });
        assert_eq!(second.maps().config().outlive, 77);
        let mut found = Vec::new();
        second.maps().flows().for_each(|session, used| found.push((session, used))).unwrap();
        assert_eq!(found, [(session(1), 5)]);
        assert!(second.maps().own_ports().get(3, 1, 61001));
        drop(second);
        flush(&pins).unwrap();
        assert!(Pins::existing(Some(pins.root().parent().unwrap().parent().unwrap())).unwrap().is_none());
    });
}

#[test]
fn pins_that_are_not_what_they_say_are_set_aside() {
    with_pins(|pins| {
        let opened = || program::open_maps(&pins, SIZES).unwrap().2;
        open_maps(&pins, 1000, 10_000).flows().insert(&[session(1)], 5).unwrap();
        // Another map under the name of one of ours.
        let directory = pins.directory();
        fs::remove_file(directory.join(maps::FLOWS4)).unwrap();
        fs::rename(directory.join(maps::HOST), directory.join(maps::FLOWS4)).unwrap();
        assert_eq!(opened(), Opened::Incompatible { found: vec![format!("v{LAYOUT}-other")] });
        assert_eq!(Maps::open(&pins).unwrap().unwrap().flows().count().unwrap(), 0);
        Maps::open(&pins).unwrap().unwrap().configure(|config| config.outlive = 1).unwrap();
        assert_eq!(opened(), Opened::TakenOver { sizes: SIZES });
        // What another layout left is not read either.
        fs::rename(&directory, pins.root().join("v0")).unwrap();
        fs::create_dir(&directory).unwrap();
        let names = ["v0".to_owned(), format!("v{LAYOUT}-other")];
        let Opened::Incompatible { mut found } = opened() else { panic!("the other layout was taken up") };
        found.sort();
        assert_eq!(found, names);
        Maps::open(&pins).unwrap().unwrap().configure(|config| config.outlive = 1).unwrap();
        let config = bpf::Map::<u32, Config>::new(bpf::get(&directory.join(maps::CONFIG)).unwrap());
        let config = config.unwrap();
        let said = config.get(&0).unwrap().unwrap();
        config.set(&0, &Config { layout: LAYOUT + 1, ..said }).unwrap();
        assert!(matches!(opened(), Opened::Incompatible { .. }));
    });
}

#[test]
fn flows_come_and_go_in_batches() {
    with_pins(|pins| {
        let maps = open_maps(&pins, 20_000, 1);
        let flows = maps.flows();
        let sessions: Vec<Session> = (0..20_000).map(session).collect();
        flows.insert(&sessions[..15_000], 3).unwrap();
        flows.insert(&sessions[..10], 9).unwrap();
        assert_eq!(flows.count().unwrap(), 15_000);
        assert_eq!(flows.last_used(&sessions[9]).unwrap(), Some(9));
        assert_eq!(flows.last_used(&sessions[10]).unwrap(), Some(3));
        assert_eq!(flows.last_used(&sessions[15_000]).unwrap(), None);
        let mut seen = HashSet::new();
        flows
            .for_each(|session, used| {
                assert_eq!(used, if session.mask.1 < 10 { 9 } else { 3 });
                assert!(seen.insert(session.key6()));
            })
            .unwrap();
        assert_eq!(seen.len(), 15_000);
        // Those that are not there do not keep the others from being removed.
        flows.remove(&sessions[14_000..16_000]).unwrap();
        flows.remove(&[sessions[14_999], sessions[0], sessions[14_998], sessions[1]]).unwrap();
        assert_eq!(flows.count().unwrap(), 13_998);
        assert!(flows.memory().unwrap() > 13_998 * 128);
        flows.clear().unwrap();
        assert_eq!((flows.count().unwrap(), flows.last_used(&sessions[5]).unwrap()), (0, None));
    });
}

#[test]
fn full_maps_leave_no_half_flows() {
    with_pins(|pins| {
        let maps = open_maps(&pins, 1000, 1);
        let flows = maps.flows();
        let sessions: Vec<Session> = (0..5000).map(session).collect();
        let rejected = flows.insert(&sessions, 3).unwrap_err();
        assert!(rejected.full, "{rejected:?}");
        assert_eq!((rejected.inserted, flows.count().unwrap()), (1000, 1000));
        assert_eq!(flows.last_used(&sessions[999]).unwrap(), Some(3));
        assert_eq!(flows.last_used(&sessions[1000]).unwrap(), None);
        // What is known can be renewed all the same.
        flows.insert(&sessions[..1000], 4).unwrap();
        flows.remove(&sessions[..1]).unwrap();
        flows.insert(&sessions[1000..1001], 4).unwrap();
    });
}

#[test]
fn what_is_steered_and_known_is_replaced() {
    with_pins(|pins| {
        let maps = open_maps(&pins, 1, 1);
        let steer =
            |last: u8| SteerPrefix4 { prefix: [203, 0, 113, last], mask: [255; 4], ..Default::default() };
        let many: Vec<_> = (0..12).map(steer).collect();
        let six = [SteerPrefix6 { prefix: [0x20; 16], mask: [255; 16] }; 1];
        maps.set_steer(&many, &six).unwrap();
        let config = maps.config();
        assert_eq!((config.steer4_count, config.steer6_count), (8, 1));
        assert_eq!(
            config.flags & (config_flag::STEER4_MAP | config_flag::STEER6_MAP),
            config_flag::STEER4_MAP
        );
        assert_eq!(pinned_count(&pins, maps::STEER4), 4);
        maps.set_steer(&many[3..], &six).unwrap();
        assert_eq!(pinned_count(&pins, maps::STEER4), 1);
        maps.set_steer(&[], &[]).unwrap();
        assert_eq!((maps.config().steer4_count, maps.config().flags), (0, 0));
        assert_eq!(pinned_count(&pins, maps::STEER4), 0);

        let instance = Instance { flags: 5, ..Instance::new_zeroed() };
        maps.set_instances(&[instance; 20]).unwrap();
        assert_eq!(maps.config().instances, 16);
        maps.set_instances(&[instance]).unwrap();
        assert_eq!(maps.config().instances, 1);
        let link = Link { mac: [2, 0, 0, 0, 0, 1], flags: link_flag::KNOWN, mtu: 1500 };
        assert!(maps.set_link(4095, link).unwrap() && !maps.set_link(4096, link).unwrap());
        assert_eq!(maps.link(4095).unwrap(), Some(link));
        maps.set_host_filter(&["203.0.113.2".parse().unwrap()], &["2001:db8::1".parse().unwrap()]).unwrap();
        assert_eq!(maps.statistics().unwrap().count(Counter::Passed), 0);
    });
}

#[test]
fn eam_tables_are_loaded_and_dropped_by_number() {
    with_pins(|pins| {
        let maps = open_maps(&pins, 1, 100_000);
        let entries = |count: u32| {
            (0..count).flat_map(|n| {
                let (prefix4, mut prefix6) = ((0xc612_0000 + n).to_be_bytes(), [0x20; 16]);
                prefix6[12..].copy_from_slice(&n.to_be_bytes());
                [
                    Entry::From4 {
                        prefix: prefix4,
                        len: 32,
                        to: Eam4 { prefix: prefix6, len: 128, steer: 1 },
                    },
                    Entry::From6 {
                        prefix: prefix6,
                        len: 128,
                        to: Eam6 { prefix: prefix4, len: 32, steer: 0 },
                    },
                ]
            })
        };
        let before = Instant::now();
        maps.load_eam(1, (24, 64), entries(50_000)).unwrap();
        println!("50,000 entries in {:?}", before.elapsed());
        maps.load_eam(2, (24, 64), entries(10)).unwrap();
        maps.load_eam(2, (24, 64), [Entry::Deny4 { prefix: [10, 0, 0, 0], len: 8 }]).unwrap();
        assert!(maps.memory().unwrap() > 100_000 * 64);
        maps.drop_table(1).unwrap();
        assert_eq!(pinned_count(&pins, maps::EAM4), 10);
        assert_eq!((pinned_count(&pins, maps::EAM6), pinned_count(&pins, maps::DENY4)), (10, 1));
        maps.drop_tables(|_| true).unwrap();
        assert_eq!((pinned_count(&pins, maps::EAM6), pinned_count(&pins, maps::DENY4)), (0, 0));
    });
}

#[test]
fn counts_follow_their_instance() {
    with_pins(|pins| {
        let maps = open_maps(&pins, 1, 1);
        let traffic = bpf::get(&pins.directory().join(maps::TRAFFIC)).unwrap();
        let all = |packets64: u64| {
            let one = Traffic { packets64, ..Traffic::default() };
            let cpus = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
            let last: usize = cpus.trim().rsplit([',', '-']).next().unwrap().parse().unwrap();
            (one.as_bytes().repeat(last + 1), packets64 * (last as u64 + 1))
        };
        for (place, number) in [(0u32, 3), (1, 5), (2, 7)] {
            bpf::update(&traffic, place.as_bytes(), &all(number).0).unwrap();
        }
        let mut from = [None; 16];
        from[..3].copy_from_slice(&[Some(2), None, Some(0)]);
        maps.rearrange_traffic(&from).unwrap();
        let counted = maps.statistics().unwrap().traffic.map(|one| one.packets64);
        assert_eq!(counted[..4], [all(7).1, 0, all(3).1, 0]);
    });
}

#[test]
fn a_prefix_passes_the_filter_until_its_table_is_gone() {
    with_pins(|pins| {
        let maps = open_maps(&pins, 1, 100);
        let entry = |last: u8| {
            let mut prefix = [0x20; 16];
            prefix[7] = last;
            Entry::From6 { prefix, len: 128, to: Eam6 { prefix: [192, 0, 2, last], len: 32, steer: 0 } }
        };
        let bits = || {
            let map = bpf::get(&pins.directory().join(maps::EAM_FILTER)).unwrap();
            let words = bpf::Map::<u32, [u64; FILTER_WORDS]>::new(map).unwrap().get(&0).unwrap().unwrap();
            words.iter().map(|word| word.count_ones()).sum::<u32>()
        };
        maps.load_eam(1, (24, 64), [entry(1), entry(2)]).unwrap();
        maps.load_eam(2, (24, 64), [entry(3)]).unwrap();
        assert_eq!(bits(), 3);
        maps.drop_table(1).unwrap();
        assert_eq!(bits(), 1);
        maps.set_pool4(&["192.0.2.0/24".parse().unwrap(), "198.51.100.1/32".parse().unwrap()]).unwrap();
        assert_ne!(maps.config().flags & config_flag::POOL4_MAP, 0);
        maps.set_pool4(&["192.0.2.0/24".parse().unwrap()]).unwrap();
        let pool4 = bpf::get(&pins.directory().join(maps::POOL4)).unwrap();
        assert_eq!(bpf::Map::<[u8; 8], u32>::new(pool4).unwrap().keys().unwrap().len(), 1);
    });
}

/// How many entries a pinned map has.
fn pinned_count(pins: &Pins, name: &str) -> usize {
    let map = bpf::get(&pins.directory().join(name)).unwrap();
    match name {
        maps::STEER4 => bpf::Map::<[u8; 8], u32>::new(map).unwrap().keys().unwrap().len(),
        maps::EAM6 => bpf::Map::<[u8; 24], Eam6>::new(map).unwrap().keys().unwrap().len(),
        maps::EAM4 => bpf::Map::<[u8; 12], Eam4>::new(map).unwrap().keys().unwrap().len(),
        _ => bpf::Map::<[u8; 12], u32>::new(map).unwrap().keys().unwrap().len(),
    }
}
