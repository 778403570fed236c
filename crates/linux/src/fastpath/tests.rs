//! The program in a namespace and a BPF file system of the test's own: what outlives the daemon, what is replaced, what is
//! taken off. Without root, or without bpf(2), the tests say so and pass.

#[path = "../../tests/common/mod.rs"]
mod common;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use xlat_fastpath::config::{Instance, Link, SteerPrefix4, SteerPrefix6, config_flag, link_flag};
use xlat_fastpath::count::Counter;
use xlat_fastpath::flow::{Session, protocol};
use xlat_fastpath::stateless::{Eam4, Eam6};
use xlat_fastpath::{LAYOUT, maps};
use zerocopy::FromZeros;

use super::*;
use crate::privileges::{self, Capabilities};
use common::{in_namespace, run};

const SIZES: Sizes = Sizes { max_flows: 1000, max_eam: 10_000 };

/// A directory with a BPF file system that only this test sees.
struct Bpffs(PathBuf);

impl Bpffs {
    /// Enters a mount namespace and mounts it there; none without permission.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("xlat-bpffs-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        let bpffs = Self(path);
        let target = CString::new(bpffs.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: the call takes an integer and changes this thread only; strings end with a zero byte.
        let mounted = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(
                    std::ptr::null(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ) == 0
                && libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), 0, std::ptr::null()) == 0
        };
        if !mounted {
            println!("skipped: cannot mount a BPF file system: {}", std::io::Error::last_os_error());
        }
        mounted.then_some(bpffs)
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // The mount goes with the thread's namespace; this is the directory that others see.
        let target = CString::new(self.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: the string ends with a zero byte.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs `test` with a network namespace and pins of its own.
fn with_pins(test: impl FnOnce(&Path, Pins) + Send + 'static) {
    in_namespace(|| {
        let Some(bpffs) = Bpffs::new() else { return };
        let pins = Pins::find(Some(&bpffs.0)).unwrap();
        match program::open_maps(&pins, SIZES) {
            Err(FastPathError::NoPermission(error)) => println!("skipped: no bpf(2): {error}"),
            opened => {
                drop(opened.unwrap());
                flush(&pins).unwrap();
                test(&bpffs.0, Pins::find(Some(&bpffs.0)).unwrap());
            }
        }
    });
}

fn open(pins: &Pins) -> (FastPath, Opened) {
    FastPath::open(pins, SIZES).unwrap()
}

/// The maps alone: the kernel takes seconds to verify the programs.
fn open_maps(pins: &Pins, max_flows: u32, max_eam: u32) -> Maps {
    program::open_maps(pins, Sizes { max_flows, max_eam }).unwrap().1
}

fn session(number: u32) -> Session {
    let mut client = [0; 16];
    client[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    client[12..].copy_from_slice(&number.to_be_bytes());
    let mut server6 = [0; 16];
    server6[..4].copy_from_slice(&[0, 0x64, 0xff, 0x9b]);
    server6[12..].copy_from_slice(&[192, 0, 2, 1]);
    Session {
        protocol: protocol::UDP,
        instance: 1,
        mark: 7,
        client: (client, 40000),
        mask: ([203, 0, 113, (number >> 16) as u8], number as u16),
        server6,
        server: ([192, 0, 2, 1], 53),
    }
}

#[test]
fn maps_outlive_the_daemon_and_belong_to_one() {
    with_pins(|_, pins| {
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
    with_pins(|_, pins| {
        let opened = || program::open_maps(&pins, SIZES).unwrap().2;
        open_maps(&pins, 1000, 10_000).flows().insert(&[session(1)], 5).unwrap();
        // Another map under the name of one of ours.
        let directory = pins.directory();
        fs::remove_file(directory.join(maps::FLOWS4)).unwrap();
        fs::rename(directory.join(maps::HOST), directory.join(maps::FLOWS4)).unwrap();
        assert_eq!(opened(), Opened::Incompatible { found: vec![format!("v{LAYOUT}-other")] });
        assert_eq!(Maps::open(&pins).unwrap().unwrap().flows().count().unwrap(), 0);
        assert_eq!(opened(), Opened::TakenOver { sizes: SIZES });
        // What another layout left is not read either.
        fs::rename(&directory, pins.root().join("v0")).unwrap();
        fs::create_dir(&directory).unwrap();
        let names = ["v0".to_owned(), format!("v{LAYOUT}-other")];
        let Opened::Incompatible { mut found } = opened() else { panic!("the other layout was taken up") };
        found.sort();
        assert_eq!(found, names);
        Maps::open(&pins).unwrap().unwrap().configure(|config| config.outlive = 1).unwrap();
        let config = bpf::Map::<u32, xlat_fastpath::config::Config>::new(
            bpf::get(&directory.join(maps::CONFIG)).unwrap(),
        );
        let config = config.unwrap();
        let said = config.get(&0).unwrap().unwrap();
        config.set(&0, &xlat_fastpath::config::Config { layout: LAYOUT + 1, ..said }).unwrap();
        assert!(matches!(opened(), Opened::Incompatible { .. }));
    });
}

#[test]
fn flows_come_and_go_in_batches() {
    with_pins(|_, pins| {
        let maps = open_maps(&pins, 20_000, 1);
        let flows = maps.flows();
        let sessions: Vec<Session> = (0..20_000).map(session).collect();
        flows.insert(&sessions[..15_000], 3).unwrap();
        flows.insert(&sessions[..10], 9).unwrap();
        assert_eq!(flows.count().unwrap(), 15_000);
        assert_eq!(flows.last_used(&sessions[9]).unwrap(), Some(9));
        assert_eq!(flows.last_used(&sessions[10]).unwrap(), Some(3));
        assert_eq!(flows.last_used(&sessions[15_000]).unwrap(), None);
        let mut seen = std::collections::HashSet::new();
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
    with_pins(|_, pins| {
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
    with_pins(|_, pins| {
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
    with_pins(|_, pins| {
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
        maps.load_eam(1, entries(50_000)).unwrap();
        println!("50,000 entries in {:?}", before.elapsed());
        maps.load_eam(2, entries(10)).unwrap();
        maps.load_eam(2, [Entry::Deny4 { prefix: [10, 0, 0, 0], len: 8 }]).unwrap();
        assert!(maps.memory().unwrap() > 100_000 * 64);
        maps.drop_table(1).unwrap();
        assert_eq!(pinned_count(&pins, maps::EAM4), 10);
        assert_eq!((pinned_count(&pins, maps::EAM6), pinned_count(&pins, maps::DENY4)), (10, 1));
        maps.drop_tables(|_| true).unwrap();
        assert_eq!((pinned_count(&pins, maps::EAM6), pinned_count(&pins, maps::DENY4)), (0, 0));
    });
}

#[test]
fn links_outlive_the_daemon_and_change_their_program() {
    with_pins(|_, pins| {
        run("ip link add x0 type veth peer name y0");
        run("ip link set x0 up");
        let index = interface("x0");
        let (fast_path, _) = open(&pins);
        let ingress = fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        println!("{ingress:?}");
        let before = fast_path.attached();
        assert!(before.contains(&Attachment { interface: index, hook: Hook::Ingress, how: ingress.tc }));
        assert_eq!(before.len(), if matches!(ingress.xdp, Some(Ok(_))) { 2 } else { 1 });
        drop(fast_path);
        assert_eq!(sorted(attachments(&pins)), sorted(before.clone()));

        let links = link_ids(&pins);
        let (fast_path, _) = open(&pins);
        fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        assert_eq!(sorted(fast_path.attached()), sorted(before));
        let after = link_ids(&pins);
        let ids = |links: &[bpf::LinkInfo]| links.iter().map(|link| link.id).collect::<Vec<_>>();
        assert_eq!(ids(&links), ids(&after));
        assert!(links.iter().zip(&after).all(|(before, after)| before.program != after.program));

        // Without XDP that part goes, and the rest stays.
        fast_path.attach_ingress(index, XdpMode::Off).unwrap();
        assert_eq!(fast_path.attached().len(), 1);
        fast_path.attach_ingress(index, XdpMode::Generic).unwrap().xdp.unwrap().unwrap();
        assert!(run("ip link show x0").contains("xdpgeneric"));
        fast_path.detach(index).unwrap();
        assert_eq!(fast_path.attached(), []);
        assert!(!run("ip link show x0").contains("xdp"));

        // An interface that goes takes its pins along when somebody looks.
        fast_path.attach_ingress(index, XdpMode::Off).unwrap();
        run("ip link del x0");
        assert_eq!(attachments(&pins).len(), 1);
        assert_eq!(fast_path.attached(), []);
        assert_eq!(attachments(&pins), []);
    });
}

#[test]
fn what_an_ended_namespace_left_is_removed() {
    with_pins(|_, pins| {
        run("ip link add x0 type veth peer name y0");
        let (fast_path, _) = open(&pins);
        fast_path.attach_ingress(interface("x0"), XdpMode::Off).unwrap();
        drop(fast_path);
        // As if it were another namespace's.
        let other = pins.root().with_file_name("1-1");
        fs::rename(pins.root(), &other).unwrap();
        let parent = other.parent().unwrap().parent().unwrap();
        let pins = Pins::find(Some(parent)).unwrap();
        attach::remove_abandoned(&pins);
        assert!(other.exists());
        run("ip link del x0");
        let lock = pins.siblings()[0].lock().unwrap();
        attach::remove_abandoned(&pins);
        assert!(other.exists());
        drop(lock);
        attach::remove_abandoned(&pins);
        assert!(!other.exists());
    });
}

#[test]
fn another_version_is_replaced_on_its_links() {
    with_pins(|_, pins| {
        run("ip link add x0 type veth peer name y0");
        let index = interface("x0");
        let (fast_path, _) = open(&pins);
        fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        let links = link_ids(&pins);
        drop(fast_path);
        fs::rename(pins.directory(), pins.root().join("v0")).unwrap();
        fs::create_dir(pins.directory()).unwrap();
        let (fast_path, opened) = open(&pins);
        assert!(matches!(opened, Opened::Incompatible { .. }));
        fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        fast_path.remove_others().unwrap();
        let after = link_ids(&pins);
        assert_eq!(links.len(), after.len());
        assert!(links.iter().zip(&after).all(|(before, after)| before.id == after.id));
    });
}

#[test]
fn older_kernels_get_filters_which_are_taken_off_without_trace() {
    with_pins(|_, pins| {
        run("ip link add x0 type veth peer name y0");
        let index = interface("x0");
        let before = run("tc qdisc show dev x0");
        let (fast_path, _) = open(&pins);
        fast_path.attach_filter(index, Hook::Ingress).unwrap();
        fast_path.attach_filter(index, Hook::Device).unwrap();
        fast_path.attach_filter(index, Hook::Ingress).unwrap();
        for side in ["ingress", "egress"] {
            let filters = run(&format!("tc filter show dev x0 {side}"));
            assert_eq!(filters.matches("direct-action").count(), 1, "{filters}");
        }
        let of = |hook| Attachment { interface: index, hook, how: How::Tc };
        assert_eq!(sorted(fast_path.attached()), sorted(vec![of(Hook::Ingress), of(Hook::Device)]));
        drop(fast_path);
        flush(&pins).unwrap();
        assert_eq!(run("tc qdisc show dev x0"), before);

        // A queueing discipline that was there before stays.
        run("tc qdisc add dev x0 clsact");
        let pins = Pins::find(Some(pins.root().parent().unwrap().parent().unwrap())).unwrap();
        let (fast_path, _) = open(&pins);
        fast_path.attach_filter(index, Hook::Ingress).unwrap();
        fast_path.detach(index).unwrap();
        assert!(run("tc qdisc show dev x0").contains("clsact"));
        assert_eq!(run("tc filter show dev x0 ingress"), "");
        assert_eq!(fast_path.attached(), []);
    });
}

#[test]
fn the_kernel_accepts_every_program() {
    with_pins(|_, pins| {
        let (fast_path, _) = open(&pins);
        let programs = fast_path.programs();
        println!("{programs:#?}");
        assert_eq!(programs.len(), 4);
        assert!(programs.iter().all(|program| program.instructions > 0 && program.machine_code > 0));
    });
}

#[test]
fn two_capabilities_are_enough_once_it_is_loaded() {
    with_pins(|_, pins| {
        run("ip link add x0 type veth peer name y0");
        let index = interface("x0");
        let (fast_path, _) = open(&pins);
        privileges::drop_all_but(Capabilities::NET_ADMIN.or(Capabilities::BPF)).unwrap();
        fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        fast_path.attach_filter(index, Hook::Device).unwrap();
        let flows = fast_path.maps().flows();
        flows.insert(&[session(1)], 5).unwrap();
        assert_eq!((flows.last_used(&session(1)).unwrap(), flows.count().unwrap()), (Some(5), 1));
        flows.clear().unwrap();
        fast_path.maps().heartbeat(1).unwrap();
        fast_path.maps().statistics().unwrap();
        assert!(fast_path.attached().len() >= 2);
        fast_path.detach(index).unwrap();
        assert_eq!(fast_path.attached(), []);
        drop(fast_path);
        flush(&pins).unwrap();
    });
}

fn interface(name: &str) -> u32 {
    fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).map_or_else(
        // /sys shows the interfaces of the namespace it was mounted in.
        |_| {
            let output = Command::new("ip").args(["-o", "link", "show", name]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.split(':').next().unwrap().trim().parse().unwrap()
        },
        |text| text.trim().parse().unwrap(),
    )
}

fn sorted(mut all: Vec<Attachment>) -> Vec<String> {
    all.sort_by_key(|attachment| format!("{attachment:?}"));
    all.into_iter().map(|attachment| format!("{attachment:?}")).collect()
}

/// The links that are pinned, by name.
fn link_ids(pins: &Pins) -> Vec<bpf::LinkInfo> {
    let mut paths: Vec<PathBuf> = pins::entries(&pins.directory());
    paths.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with("XLAT"));
    paths.sort();
    paths.iter().map(|path| bpf::info(&bpf::get(path).unwrap()).unwrap()).collect()
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
